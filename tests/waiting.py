"""Waiting for what other processes do: a file that comes, a process that ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ASLEEP = (
    "import os, pathlib, time\n"
    "pathlib.Path('new').write_text(str(os.getpid()))\n"
    "pathlib.Path('new').rename('pid')\n"
    "time.sleep(60)\n"
)
"""A program that writes its number to `pid` in its folder, and sleeps."""


def ends_with_who_asked(code: str, folder: Path) -> bool:
    """Tell whether ASLEEP, which Python code of the tests has run in a folder, ends with that."""
    found = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    asked = subprocess.Popen([sys.executable, "-c", found + code], cwd=folder, env=dict(os.environ))
    appears(folder / "pid")
    asked.kill()
    asked.wait()
    return wait_gone(int((folder / "pid").read_text()))


def wait_gone(pid: int, seconds: float = 5) -> bool:
    """Tell whether a process ends in that time; one that is dead but unreaped has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def appears(path: Path, pattern: str = "") -> None:
    """Wait until a file is there, or one of the pattern in a folder."""
    end = time.monotonic() + 60
    while not (any(path.glob(pattern)) if pattern else path.exists()):
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.01)


def until(condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Look for a file or port that another process makes; fail where it does not come."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "it never came"
        assert process is None or process.poll() is None, "the process ended before"
        time.sleep(0.02)


def in_the_background(*steps: Callable[[], object]) -> threading.Thread:
    """Begin to do one step after the other, while the caller goes on."""

    def run() -> None:
        for step in steps:
            step()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
