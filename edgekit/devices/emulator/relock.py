"""Writes the boards' locks anew, for maintainers.

    python -m edgekit.devices.emulator.relock [BOARD ...]

Each name below is there because the runner imports it, or because what it imports does:
tried by importing every runtime in a sysroot with nothing else in it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgekit.devices.emulator.profile import board_of
from edgekit.files import write_whole
from edgekit.paths import shelf
from edgekit.runtimes.locks import Lock, lock_path
from edgekit.runtimes.table import SUPPORT, requirements
from edgekit.runtimes.wheels import resolve
from edgekit.targets import load_target

PACKAGES = (
    "base-files",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgomp1",
    "liblzma5",
    "libncursesw6",
    "libpython{python}-minimal",
    "libpython{python}-stdlib",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libtinfo6",
    "libuuid1",
    "python{python}-minimal",
    "zlib1g",
)


def relock(name: str) -> Path:
    """Resolve a board's wheels as of today and write its lock; returns the lock's path."""
    import msgspec

    board = board_of(load_target(name))
    with tempfile.TemporaryDirectory() as folder:
        wheels = [
            wheel
            for environment in SUPPORT
            for wheel in resolve(
                requirements(environment),
                environment,
                board.python,
                board.glibc,
                Path(folder) / environment,
            )
        ]
    packages = tuple(package.format(python=board.python) for package in PACKAGES)
    lock = Lock(board.debian, board.python, board.glibc, packages, tuple(wheels))
    write_whole(lock_path(name), msgspec.json.format(msgspec.json.encode(lock), indent=1) + b"\n")
    return lock_path(name)


if __name__ == "__main__":
    boards = sys.argv[1:] or sorted(path.stem for path in (shelf("targets") / "locks").glob("*"))
    for board_name in boards:
        print(relock(board_name))
