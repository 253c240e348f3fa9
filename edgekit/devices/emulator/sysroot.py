"""Virtual boards in the user's cache: where they are, what they are made of.

    CACHE/virtual/debs, wheels, apt      what was fetched; kept, so that a second board is quick
    CACHE/virtual/qemu                   the emulator, where the host has none that serves
    CACHE/virtual/boards/<name>-<hash>   a sysroot: Debian's tree, two site-packages, /proc, /sys

The hash is that of the lock, the board's facts and this layout: a sysroot of another version is
never taken for this one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.emulator import qemu as emulator
from edgekit.devices.emulator.profile import SITE, Board, system_files
from edgekit.devices.emulator.qemu import Qemu
from edgekit.errors import BadTarget, DeviceError
from edgekit.paths import cache_folder
from edgekit.runtimes.locks import Lock, lock_path, read_lock
from edgekit.runtimes.table import Environment

# 1: the first.
LAYOUT = 1
RECORD_FILE = "edgekit.json"
SITES: dict[Environment, str] = {"main": "opt/edgekit/main", "numpy1": "opt/edgekit/numpy1"}

Progress = Callable[[str, int, int], None]
"""Called with a step's name, the steps done and the steps in all."""

STEPS = ("emulator", "packages", "wheels", "unpack", "try out")


@dataclass(frozen=True)
class Tried:
    """What importing one runtime on the emulated CPU gave: its version, or why it died."""

    runtime: str
    version: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a sysroot was made of: written into it last, so that one without it is not whole."""

    board: Board
    lock: str
    packages: tuple[str, ...]
    runtimes: tuple[Tried, ...]
    bytes: int
    layout: int = LAYOUT


@dataclass(frozen=True, kw_only=True)
class Sysroot:
    """An installed virtual board."""

    folder: Path
    record: Record
    lock: Lock
    qemu: Qemu

    @property
    def board(self) -> Board:
        """The board this is."""
        return self.record.board

    @property
    def python(self) -> Path:
        """The board's interpreter."""
        return self.folder / "usr/bin" / f"python{self.board.python}"

    def search_path(self, environment: Environment) -> str:
        """Return PYTHONPATH for an environment; the other one comes second."""
        order = sorted(SITES, key=lambda name: name != environment)
        return ":".join(str(self.folder / name) for name in (SITE, *(SITES[o] for o in order)))


def home() -> Path:
    """Return the folder of everything virtual in the user's cache."""
    return cache_folder() / "virtual"


def installed(board: Board, lock: Lock | None = None) -> Sysroot:
    """Return the board's sysroot; raises DeviceError with the command that installs it."""
    locked = lock or lock_of(board)
    folder = sysroot_folder(board, locked)
    record, qemu = read_record(folder), find_qemu()
    if record is None or qemu is None:
        why = "was built from another lock" if of_board(board.name) else "is not installed"
        raise DeviceError(
            f"the virtual {board.name} {why}: run `edgekit device install {board.name}`"
        )
    return Sysroot(folder=folder, record=record, lock=locked, qemu=qemu)


def lock_of(board: Board) -> Lock:
    """Return the lock of a board's system; raises BadTarget where it is another system's."""
    lock = read_lock(lock_path(board.debian))
    for name in ("python", "glibc"):
        claimed, locked = getattr(board, name), getattr(lock, name)
        if claimed != locked:
            raise BadTarget(f"{board.name} has {name} {claimed}, but {board.debian} has {locked}")
    return lock


def list_installed() -> tuple[tuple[Path, Record], ...]:
    """Return the sysroots in the cache, each with its record, by name."""
    folders = sorted(path for path in (home() / "boards").glob("[!.]*") if path.is_dir())
    records = ((folder, read_record(folder)) for folder in folders)
    return tuple((folder, record) for folder, record in records if record is not None)


def sysroot_folder(board: Board, lock: Lock) -> Path:
    """Return where a board's sysroot of this lock and layout is, or would be."""
    import msgspec

    facts = msgspec.json.encode((LAYOUT, lock, board, system_files(board)))
    return home() / "boards" / f"{board.name}-{hashlib.sha256(facts).hexdigest()[:12]}"


def of_board(name: str) -> list[Path]:
    """Return every folder of a board's sysroots, whole or not."""
    digits = "[0-9a-f]" * 12
    return sorted((home() / "boards").glob(f"{name}-{digits}"))


def read_record(folder: Path) -> Record | None:
    """Return the record of a whole sysroot, or None: what cannot be read is built anew."""
    import msgspec

    try:
        return msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def find_qemu() -> Qemu | None:
    """Return the host's emulator, or the fetched one, or None."""
    return emulator.host_qemu() or emulator.fetched_qemu(home() / "qemu")
