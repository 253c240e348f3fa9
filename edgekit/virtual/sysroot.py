"""Virtual boards in the user's cache: install, list, remove.

    CACHE/virtual/debs, wheels, apt      what was fetched; kept, so that a second board is quick
    CACHE/virtual/qemu                   the emulator, where the host has none that serves
    CACHE/virtual/boards/<name>-<hash>   a sysroot: Debian's tree, two site-packages, /proc, /sys

The hash is that of the lock, the board's facts and this layout: a sysroot of another version is
never taken for this one. An install appears by a rename when it is whole; one that was killed
goes on with what it had fetched.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DeviceError, EdgekitError
from edgekit.files import bytes_in, folder_whole, write_whole
from edgekit.shelf import cache_folder
from edgekit.virtual import apt, wheels
from edgekit.virtual import qemu as emulator
from edgekit.virtual.board import SITE, Board, system_files, write_system_files
from edgekit.virtual.locks import Lock, Place, lock_path, read_lock
from edgekit.virtual.qemu import Qemu

# 1: the first.
LAYOUT = 1
_RECORD = "edgekit.json"
_SITE: dict[Place, str] = {"main": "opt/edgekit/main", "numpy1": "opt/edgekit/numpy1"}

Progress = Callable[[str, int, int], None]
"""Called with a step's name, the steps done and the steps in all."""

STEPS = ("emulator", "packages", "wheels", "unpack", "try out")


@dataclass(frozen=True)
class Tried:
    """What importing one runtime on the emulated CPU gave: its version, or why it died."""

    runtime: str
    version: str
    error: str


@dataclass(frozen=True)
class Record:
    """What a sysroot was made of: written into it last, so that one without it is not whole."""

    board: Board
    lock: str
    packages: tuple[str, ...]
    runtimes: tuple[Tried, ...]
    bytes: int
    layout: int = LAYOUT


@dataclass(frozen=True)
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

    def search_path(self, place: Place) -> str:
        """Return PYTHONPATH for runtimes of that place; the other place comes second."""
        order = sorted(_SITE, key=lambda name: name != place)
        return ":".join(str(self.folder / name) for name in (SITE, *(_SITE[o] for o in order)))


def home() -> Path:
    """Return the folder of everything virtual in the user's cache."""
    return cache_folder() / "virtual"


def install(
    board: Board, lock: Lock | None = None, *, progress: Progress = lambda step, done, total: None
) -> Sysroot:
    """Return the board's sysroot, building it first where it is not there; nothing needs root.

    Raises DeviceError in one line: no apt, no network, a full disk, a wheel of another hash.
    """
    locked = lock or read_lock(lock_path(board.name))
    with _alone(), _disk_said():
        progress(STEPS[0], 0, len(STEPS))
        qemu = _qemu() or emulator.fetch(home() / "qemu", home() / "apt/host", home() / "debs")
        folder = _folder(board, locked)
        record = _read_record(folder)
        if record is None:
            record = _build(folder, board, locked, qemu, progress)
        for stale in _of_board(board.name):
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
        progress("done", len(STEPS), len(STEPS))
    return Sysroot(folder, record, locked, qemu)


def installed(board: Board, lock: Lock | None = None) -> Sysroot:
    """Return the board's sysroot; raises DeviceError with the command that installs it."""
    locked = lock or read_lock(lock_path(board.name))
    folder = _folder(board, locked)
    record, qemu = _read_record(folder), _qemu()
    if record is None or qemu is None:
        why = "was built from another lock" if _of_board(board.name) else "is not installed"
        raise DeviceError(
            f"the virtual {board.name} {why}: run `edgekit device install {board.name}`"
        )
    return Sysroot(folder, record, locked, qemu)


def list_installed() -> tuple[tuple[Path, Record], ...]:
    """Return the sysroots in the cache, each with its record, by name."""
    folders = sorted(path for path in (home() / "boards").glob("[!.]*") if path.is_dir())
    records = ((folder, _read_record(folder)) for folder in folders)
    return tuple((folder, record) for folder, record in records if record is not None)


def remove(name: str) -> int:
    """Remove a board's sysroots and return how many there were.

    With the last board what was fetched goes too: debs, wheels, apt's lists and QEMU.
    """
    with _alone():
        folders = _of_board(name)
        for folder in folders:
            shutil.rmtree(folder)
        if folders and not list_installed():
            for kept in ("debs", "wheels", "apt", "qemu"):
                shutil.rmtree(home() / kept, ignore_errors=True)
    return len(folders)


def _build(folder: Path, board: Board, lock: Lock, qemu: Qemu, progress: Progress) -> Record:
    """Build a sysroot at `folder`, whole or not at all, and return its record."""
    twin = _twin(lock)
    with folder_whole(folder, force=True) as aside:
        if twin:
            progress("unpack", 3, len(STEPS))
            # Another board of the same lock: its files are shared, not copied.
            shutil.copytree(
                twin[0], aside, copy_function=os.link, symlinks=True, dirs_exist_ok=True
            )
            (aside / _RECORD).unlink()
            packages = twin[1].packages
        else:
            packages = _fetch_and_unpack(aside, lock, progress)
        write_system_files(board, aside)
        progress("try out", 4, len(STEPS))
        size = bytes_in(aside)
        draft = Record(board, lock.digest, packages, (), size)
        tried = _try_out(Sysroot(aside, draft, lock, qemu))
        record = Record(board, lock.digest, packages, tried, size)
        import msgspec

        write_whole(aside / _RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1))
    return record


def _fetch_and_unpack(folder: Path, lock: Lock, progress: Progress) -> tuple[str, ...]:
    """Fetch packages and wheels at once, unpack them, and return the package files' names."""
    debian = apt.Apt(home() / "apt/board", lock.debian, "arm64")
    with ThreadPoolExecutor(max_workers=1) as pool:
        progress("packages", 1, len(STEPS))
        fetching = pool.submit(wheels.fetch, lock, home() / "wheels")
        debian.update()
        packages = debian.fetch(lock.packages, home() / "debs")
        progress("wheels", 2, len(STEPS))
        fetching.result()
    progress("unpack", 3, len(STEPS))
    for package in packages:
        apt.unpack(package, folder)
    for wheel in lock.wheels:
        wheels.unpack(home() / "wheels" / wheel.file, folder / _SITE[wheel.place])
    return tuple(package.name for package in packages)


def _try_out(sysroot: Sysroot) -> tuple[Tried, ...]:
    """Import every runtime on the board's emulated CPU, two at a time.

    The one moment a sysroot may be written to: Python leaves its compiled modules there, and
    every later start is quicker for it.
    """
    from edgekit.virtual.guest import try_runtime

    names = [wheel.name for wheel in sysroot.lock.wheels if wheel.name not in {"numpy", "pillow"}]
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = list(pool.map(lambda name: try_runtime(sysroot, name), names))
    versions = {wheel.name: wheel.version for wheel in sysroot.lock.wheels}
    return tuple(
        Tried(name, versions[name], error) for name, error in zip(names, answers, strict=True)
    )


def _twin(lock: Lock) -> tuple[Path, Record] | None:
    """Return another board's whole sysroot of the same lock and layout."""
    same = ((f, r) for f, r in list_installed() if (r.lock, r.layout) == (lock.digest, LAYOUT))
    return next(same, None)


def _folder(board: Board, lock: Lock) -> Path:
    import msgspec

    facts = msgspec.json.encode((LAYOUT, lock, board, system_files(board)))
    return home() / "boards" / f"{board.name}-{hashlib.sha256(facts).hexdigest()[:12]}"


def _of_board(name: str) -> list[Path]:
    """Return every folder of a board's sysroots, whole or not."""
    digits = "[0-9a-f]" * 12
    return sorted((home() / "boards").glob(f"{name}-{digits}"))


def _read_record(folder: Path) -> Record | None:
    """Return the record of a whole sysroot, or None: what cannot be read is built anew."""
    import msgspec

    try:
        return msgspec.json.decode((folder / _RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def _qemu() -> Qemu | None:
    return emulator.host_qemu() or emulator.fetched_qemu(home() / "qemu")


@contextmanager
def _alone() -> Iterator[None]:
    """Let one install or removal work in the cache at a time; the next waits."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_said() -> Iterator[None]:
    """Turn a full disk, however a tool put it, into one line that says so."""
    try:
        yield
    except (OSError, EdgekitError) as error:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or "No space left" in str(error) or shutil.disk_usage(home()).free < apt.FULL_BYTES:
            raise DeviceError(
                f"no space left on the disk of {home()}: a first board needs about 1.2 GB; "
                "free some, or set XDG_CACHE_HOME to another disk"
            ) from None
        if isinstance(error, OSError):
            raise DeviceError(f"{home()} cannot be written: {error.strerror or error}") from None
        raise
