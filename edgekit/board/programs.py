"""Runs programs on the board: a process group each, ended at its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from edgekit.board import Refused


def run(command: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Run `command` in `folder` and return its output.

    Raises Refused where it cannot be started, or after `timeout` seconds; nothing of it is left.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused(f"{command[0]} cannot be run ({error.strerror}): give --python") from None
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} took more than {timeout:g} s: ended") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line a program wrote to standard error, or how it ended."""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    if said:
        return said[-1][:300]
    code = done.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"
