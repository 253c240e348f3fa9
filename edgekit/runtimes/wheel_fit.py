"""Tells which wheels fit a board, before anything is copied: Python, glibc, architecture.

The rules are those of the wheel format (PEP 427 names, PEP 425 tags, PEP 600 manylinux): a wheel
fits when one of its tags is among those the board's interpreter accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.runtimes.platforms import ARCHITECTURE, platforms

if TYPE_CHECKING:
    from packaging.tags import Tag


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether one wheel fits a board; `reasons` says what is in the way, or is empty.

    `tried` is True where the wheel was imported on the board's emulated CPU, which is what
    settles its instruction set; tags say nothing of that.
    """

    wheel: str
    fits: bool
    reasons: tuple[str, ...]
    tried: bool = False


def accepted_tags(python: str, glibc: str) -> frozenset[Tag]:
    """Return every wheel tag that CPython `python` ("3.11") on a board with `glibc` accepts."""
    from packaging.tags import compatible_tags, cpython_tags

    major, minor = (int(part) for part in python.split(".")[:2])
    names = platforms(glibc)
    interpreter = f"cp{major}{minor}"
    return frozenset(
        [
            *cpython_tags((major, minor), [interpreter], names),
            *compatible_tags((major, minor), interpreter, names),
        ]
    )


def fit(wheel: str, python: str, glibc: str) -> Fit:
    """Return whether the wheel of this file name fits CPython `python` with `glibc` on aarch64.

    A name that is no wheel's is told as a reason, not raised: a list of files is judged whole.
    """
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(wheel)[3]
    except InvalidWheelFilename:
        return Fit(wheel=wheel, fits=False, reasons=("not a wheel's file name",))
    if tags & accepted_tags(python, glibc):
        return Fit(wheel=wheel, fits=True, reasons=())
    reasons: list[str] = []
    if not any(tag.platform == "any" or tag.platform.endswith(ARCHITECTURE) for tag in tags):
        built = sorted({tag.platform for tag in tags})
        reasons.append(f"built for {', '.join(built)}; the board is {ARCHITECTURE} Linux")
    else:
        reasons += _glibc_reason([tag.platform for tag in tags], glibc)
    reasons += _python_reason(tags, python)
    return Fit(
        wheel=wheel,
        fits=False,
        reasons=tuple(reasons) or ("none of its tags is one the board accepts",),
    )


def _glibc_reason(names: Sequence[str], glibc: str) -> list[str]:
    """Return why none of these platform tags is met by the board's C library, if so."""
    if any(name == "any" or name in platforms(glibc) for name in names):
        return []
    if any(name.startswith("musllinux") for name in names):
        return [f"built for musl (Alpine); the board has glibc {glibc}"]
    needed = [
        int(name.split("_")[2])
        for name in names
        if name.startswith("manylinux_2_") and name.endswith(ARCHITECTURE)
    ]
    return [f"needs glibc 2.{min(needed)}; the board has {glibc}"] if needed else []


def _python_reason(tags: frozenset[Tag], python: str) -> list[str]:
    """Return why none of these tags is met by the board's interpreter, if so."""
    accepted = {(tag.interpreter, tag.abi) for tag in accepted_tags(python, "2.99")}
    if any((tag.interpreter, tag.abi) in accepted for tag in tags):
        return []
    built = sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags})
    return [f"built for {', '.join(built)}; the board has Python {python}"]
