"""The platform tags of wheels that a board accepts (PEP 600)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


ARCHITECTURE = "aarch64"


# PEP 600's older names, by the glibc they stand for, and the glibc each architecture began with.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


_FIRST = {"aarch64": 17, "x86_64": 5}


ARCHITECTURES = tuple(_FIRST)
"""What the runtimes have wheels for."""


def platforms(glibc: str, architecture: str = ARCHITECTURE) -> tuple[str, ...]:
    """Return the platform tags a board with this glibc accepts, the most specific first.

    `architecture` is aarch64 or x86_64.
    """
    minor = int(glibc.split(".")[1])
    tags = []
    for version in range(minor, _FIRST[architecture] - 1, -1):
        tags.append(f"manylinux_2_{version}_{architecture}")
        if version in _LEGACY:
            tags.append(f"{_LEGACY[version]}_{architecture}")
    return (*tags, f"linux_{architecture}")
