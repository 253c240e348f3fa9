"""What a virtual board's system is made of: `targets/locks/<system>.json`, for all its boards.

Wheels are locked to the byte, so that an instruction count today is one tomorrow. Debian's
packages are locked by release and name only: a release's archive keeps its newest versions, which
its signed lists vouch for; what was installed is written down in the sysroot (sysroot.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BadTarget
from edgekit.json_files import Damaged, read_json
from edgekit.paths import cache_folder, shelf
from edgekit.runtimes.table import Environment

# 1: the first.
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel, to the byte, and the runtime it is there for (`numpy`, `pillow`: all).

    `place` is the environment it is unpacked into.
    """

    name: str
    version: str
    file: str
    sha256: str
    bytes: int
    place: Environment = "main"

    @property
    def requirement(self) -> str:
        """Its line among pip's requirements: this wheel, to the byte."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Everything a board's sysroot holds but the board's own /proc and /sys."""

    debian: str
    python: str
    glibc: str
    packages: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """The identity of this lock: SHA-256 of its canonical JSON, in hexadecimal."""
        import msgspec

        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def lock_path(debian: str) -> Path:
    """Return the lock of a Debian release (`bookworm`): the user's own (relock), or ours."""
    own = own_lock_path(debian)
    return own if own.is_file() else shipped_lock_path(debian)


def own_lock_path(debian: str) -> Path:
    """Return where the user's own lock of a release is kept."""
    return cache_folder() / "locks" / f"{debian}.json"


def shipped_lock_path(debian: str) -> Path:
    """Return where the lock of a release is shipped."""
    return shelf("targets") / "locks" / f"{debian}.json"


def known_locks() -> tuple[Lock, ...]:
    """Return the lock in use of every release that edgekit ships one for, by the release's name."""
    shipped = sorted((shelf("targets") / "locks").glob("*.json"))
    return tuple(read_lock(lock_path(path.stem)) for path in shipped)


def read_lock(path: Path) -> Lock:
    """Return the lock at `path`; raises BadTarget in one line where it is missing or damaged."""
    if not path.is_file():
        raise BadTarget(
            f"no lock at {path}, which says what a board of that system has: make one with "
            "edgekit device relock BOARD"
        )
    try:
        lock = read_json(path, Lock)
    except Damaged as error:
        raise BadTarget(f"{path} is damaged ({error}): restore it") from None
    if lock.schema != SCHEMA:
        raise BadTarget(f"{path} has schema {lock.schema}, not {SCHEMA}: update edgekit")
    return lock
