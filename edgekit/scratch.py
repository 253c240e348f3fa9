"""Temporary folders and child processes that do not outlive this process, however it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from edgekit import leash

PREFIX = "edgekit-scratch-"
YOUNG_S = 60.0
"""A folder this young may be one that another process has made and not yet locked."""


class Scratch:
    """A temporary folder; what a killed process left of its own is removed when the next is made.

    The folder is locked as long as this process lives. The system lets go of the lock however the
    process ends, so that an unlocked one belongs to nobody.
    """

    def __init__(self) -> None:
        _sweep_once()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._closing = threading.Lock()
        self._held = os.open(self.path, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: then nothing is swept there either
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove the folder; two threads may ask for it at once, as after Ctrl-C."""
        shutil.rmtree(self.path, ignore_errors=True)
        with self._closing:
            held, self._held = self._held, -1
        if held >= 0:
            os.close(held)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder that is removed when the block ends."""
    scratch = Scratch()
    try:
        yield scratch.path
    finally:
        scratch.close()


def sweep(folder: Path, young: float = YOUNG_S) -> list[Path]:
    """Remove the scratch folders in `folder` that no process holds any more, and return them."""
    swept = []
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime >= young and _unheld(path):
                shutil.rmtree(path, ignore_errors=True)
                swept.append(path)
    return swept


@cache
def _sweep_once() -> None:
    sweep(Path(tempfile.gettempdir()))


def _unheld(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def leashed(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` so that it ends when this process does.

    Even by kill -9: Linux then kills the child, which has asked for it (PR_SET_PDEATHSIG) and then
    became the program itself, with the same process number. It is killed too when the thread that
    started it ends, so that thread has to wait for it. Elsewhere than on Linux nothing is asked.
    """
    return [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]


def run_leashed(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run another program to its end, with nothing to read; its errors go into its output."""
    return subprocess.run(
        leashed(command),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
