"""Installs and removes virtual boards.

An install appears by a rename when it is whole; one that was killed goes on with what it had
fetched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from edgekit.devices.emulator import apt
from edgekit.devices.emulator import qemu as emulator
from edgekit.devices.emulator.profile import Board, write_system_files
from edgekit.devices.emulator.qemu import Qemu
from edgekit.devices.emulator.sysroot import (
    LAYOUT,
    RECORD_FILE,
    SITES,
    STEPS,
    Progress,
    Record,
    Sysroot,
    Tried,
    find_qemu,
    home,
    list_installed,
    lock_of,
    of_board,
    read_record,
    sysroot_folder,
)
from edgekit.errors import DeviceError, EdgekitError
from edgekit.files import bytes_in, folder_whole, write_whole
from edgekit.runtimes import wheels
from edgekit.runtimes.locks import Lock
from edgekit.runtimes.table import Environment, deployed


def install(
    board: Board, lock: Lock | None = None, *, progress: Progress = lambda step, done, total: None
) -> Sysroot:
    """Return the board's sysroot, building it first where it is not there; nothing needs root.

    Raises DeviceError in one line: no apt, no network, a full disk, a wheel of another hash.
    """
    locked = lock or lock_of(board)
    with _alone(), _disk_said():
        progress(STEPS[0], 0, len(STEPS))
        qemu = find_qemu() or emulator.fetch(home() / "qemu", home() / "apt/host", home() / "debs")
        folder = sysroot_folder(board, locked)
        record = read_record(folder)
        if record is None:
            record = _build(folder, board, locked, qemu, progress)
        for stale in of_board(board.name):
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
        progress("done", len(STEPS), len(STEPS))
    return Sysroot(folder=folder, record=record, lock=locked, qemu=qemu)


def remove(name: str) -> int:
    """Remove a board's sysroots and return how many there were.

    With the last board what was fetched goes too: debs, wheels, apt's lists and QEMU.
    """
    with _alone():
        folders = of_board(name)
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
            (aside / RECORD_FILE).unlink()
            packages = twin[1].packages
        else:
            packages = _fetch_and_unpack(aside, lock, progress)
        write_system_files(board, aside)
        progress("try out", 4, len(STEPS))
        size = bytes_in(aside)
        draft = Record(board=board, lock=lock.digest, packages=packages, runtimes=(), bytes=size)
        tried = _try_out(Sysroot(folder=aside, record=draft, lock=lock, qemu=qemu))
        record = Record(
            board=board, lock=lock.digest, packages=packages, runtimes=tried, bytes=size
        )
        import msgspec

        write_whole(aside / RECORD_FILE, msgspec.json.format(msgspec.json.encode(record), indent=1))
    return record


def _fetch_and_unpack(folder: Path, lock: Lock, progress: Progress) -> tuple[str, ...]:
    """Fetch packages and wheels at once, unpack them, and return the package files' names."""
    debian = apt.Apt(home() / "apt" / lock.debian, lock.debian, "arm64")
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
        wheels.unpack(home() / "wheels" / wheel.file, folder / SITES[wheel.place])
    return tuple(package.name for package in packages)


def _try_out(sysroot: Sysroot) -> tuple[Tried, ...]:
    """Import every runtime on the board's emulated CPU, both environments at once.

    The one moment a sysroot may be written to: Python leaves its compiled modules there, and
    every later start is quicker for it.
    """
    from edgekit.devices.emulator.guest import try_runtimes

    versions = {wheel.name: wheel.version for wheel in sysroot.lock.wheels}
    locked = [runtime for runtime in deployed() if runtime.distribution in versions]

    def answers(environment: Environment) -> list[tuple[str, str]]:
        tried = [runtime for runtime in locked if runtime.environment == environment]
        names = [runtime.distribution for runtime in tried]
        why = try_runtimes(sysroot, environment, tried) if tried else []
        return list(zip(names, why, strict=True))

    with ThreadPoolExecutor(max_workers=len(SITES)) as pool:
        errors = dict(chain.from_iterable(pool.map(answers, SITES)))
    return tuple(
        Tried(name, versions[name], errors[name])
        for name in (runtime.distribution for runtime in locked)
    )


def _twin(lock: Lock) -> tuple[Path, Record] | None:
    """Return another board's whole sysroot of the same lock and layout."""
    same = ((f, r) for f, r in list_installed() if (r.lock, r.layout) == (lock.digest, LAYOUT))
    return next(same, None)


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
