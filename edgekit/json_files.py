"""The one way to read a JSON file that may come from outside: bounded, and every fault one line.

Manifests, saved results, locks, coefficients and baselines are read here, into dataclasses.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

MAX_BYTES = 256 * 2**20
"""A sustained run of an hour keeps under 100 MB of samples."""

T = TypeVar("T")


class Damaged(Exception):
    """A file is not what it should be; the message is why, in one line, without the file's name."""


def read_json(path: Path, shape: type[T], max_bytes: int = MAX_BYTES) -> T:
    """Return the file's content as `shape`, a dataclass or a list of such.

    Raises Damaged for what is no regular file, larger than `max_bytes`, no JSON, nested beyond
    reason, or has a field missing or wrong; OSError where it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise Damaged("it is no regular file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise Damaged(f"it is larger than {max_bytes:,} bytes")
    return decode_json(content, shape)


def decode_json(content: bytes, shape: type[T]) -> T:
    """Return JSON's content as `shape`. Raises Damaged as read_json."""
    import msgspec

    try:
        return msgspec.json.decode(content, type=shape)
    except RecursionError:
        raise Damaged("it is nested too deep") from None
    except (ValueError, OverflowError, ArithmeticError) as error:  # msgspec's own are ValueErrors
        raise Damaged(" ".join(str(error).split())[:300] or type(error).__name__) from None
