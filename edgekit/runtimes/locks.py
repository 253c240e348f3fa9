"""What a virtual board's system is made of: `targets/locks/<board>.json`.

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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


def lock_path(board: str) -> Path:
    """Return a board's lock: the user's own, where `edgekit device relock` made one, or ours."""
    own = own_lock_path(board)
    return own if own.is_file() else shipped_lock_path(board)


def own_lock_path(board: str) -> Path:
    """Return where the user's own lock of a board is kept."""
    return cache_folder() / "locks" / f"{board}.json"


def shipped_lock_path(board: str) -> Path:
    """Return where a board's lock is shipped."""
    return shelf("targets") / "locks" / f"{board}.json"


def read_lock(path: Path) -> Lock:
    """Return the lock at `path`; raises BadTarget in one line where it is missing or damaged."""
    if not path.is_file():
        raise BadTarget(
            f"no lock at {path}: make one with edgekit device relock {path.stem} "
            "(of your own target file: its path)"
        )
    try:
        lock = read_json(path, Lock)
    except Damaged as error:
        raise BadTarget(f"{path} is damaged ({error}): restore it") from None
    if lock.schema != SCHEMA:
        raise BadTarget(f"{path} has schema {lock.schema}, not {SCHEMA}: update edgekit")
    return lock
