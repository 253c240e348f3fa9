"""Writes a board's lock anew: the user's own (`edgekit device relock`), or for maintainers ours.

    python -m edgekit.devices.emulator.relock [BOARD ...]

Each name below is there because the runner imports it, or because what it imports does:
tried by importing every runtime in a sysroot with nothing else in it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgekit.devices.emulator.profile import Board, board_of
from edgekit.files import write_whole
from edgekit.paths import shelf
from edgekit.runtimes.locks import Lock, shipped_lock_path
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


def relock(board: Board, path: Path) -> Lock:
    """Resolve a board's wheels as of today and write their names and hashes to `path`.

    pip fetches them from the user's own index, each once; from then on the lock holds every
    install to these bytes. Raises DeviceError where pip finds none that fits.
    """
    import msgspec

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
    write_whole(path, msgspec.json.format(msgspec.json.encode(lock), indent=1) + b"\n")
    return lock


if __name__ == "__main__":
    boards = sys.argv[1:] or sorted(path.stem for path in (shelf("targets") / "locks").glob("*"))
    for board_name in boards:
        place = shipped_lock_path(board_name)
        relock(board_of(load_target(board_name)), place)
        print(place)
