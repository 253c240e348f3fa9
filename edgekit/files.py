"""Writes files whole or not at all: aside first, flushed, then renamed into place."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgekit.errors import OutputExists

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` to `path`; a reader sees the old file or the new one, never a part.

    Raises OSError (a full disk, say) with the old file untouched and nothing left aside.
    """
    with file_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def file_whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, which becomes `path` when the block ends well; see write_whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def folder_whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` that becomes `path` when the block ends well.

    An existing, non-empty `path` raises OutputExists before the block, unless `force`, and also
    at the end where another run has filled it meanwhile. With `force` the old folder stands
    until the new one is complete, and the two change places in one instant. When the block raises,
    `path` is as it was. What an earlier, killed run left aside is removed, or put back where it
    was killed between two renames.
    """
    _clean_up(path)
    if path.exists() and not path.is_dir():
        raise OutputExists(f"{path} is a file, not a folder: choose another output folder")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise OutputExists(
            f"{path} exists and is kept: add --force to replace it, or choose another"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.partial-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        _put_in_place(aside, path, force=force)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clean_up(path: Path) -> None:
    """Undo what a killed run left half done beside `path`."""
    name = glob.escape(path.name)
    for old in sorted(path.parent.glob(f".{name}.old-*")):
        if _running(old.name.rpartition("-")[2]):
            continue
        with suppress(OSError):  # the only whole folder there is: it goes back
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    for stale in path.parent.glob(f".{name}.partial-*"):
        if not _running(stale.name.rpartition("-")[2]):
            shutil.rmtree(stale, ignore_errors=True)


def _put_in_place(aside: Path, path: Path, *, force: bool) -> None:
    """Let the whole folder `aside` become `path`; what stood there is in `aside` then, or gone."""
    try:
        aside.rename(path)  # replaces nothing but an empty folder
        return
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
    if not force or not path.is_dir():
        raise OutputExists(
            f"{path} was filled by another run meanwhile and is kept: choose another folder, or "
            "add --force to replace it"
        )
    if _exchange(aside, path):
        return
    # A file system that cannot exchange two names. What is killed here is put back by _clean_up.
    old = path.parent / f".{path.name}.old-{os.getpid()}"
    path.rename(old)
    aside.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one instant; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def full_disk(*folders: Path) -> Path | None:
    """Return the first of `folders` whose disk has less than 1 MiB left, or None."""
    return next((folder for folder in folders if shutil.disk_usage(folder).free < 2**20), None)


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below `folder`; one that goes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def _running(pid: str) -> bool:
    """Tell whether a process of that number is alive here."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
