"""Runs programs on the board: a process group each, ended at its time limit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from edgekit.onboard.receiver import Refused

_LOOK_S = 0.5
"""How often to look whether the host is still there."""


def run(
    command: list[str], folder: Path, timeout: float, scratch: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` in `folder` and return its output; its caches and the like go to `scratch`.

    Raises Refused where it cannot be started, after `timeout` seconds, or where the host has gone
    meanwhile (the lock must not outlive it for long); nothing of the program is left.
    """
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch)}
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused(f"{command[0]} cannot be run ({error.strerror}): give --python") from None
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                out, err = process.communicate(timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise Refused(f"{command[0]} took more than {timeout:g} s: ended") from None
                if _host_has_gone():
                    raise Refused("the host has gone") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _host_has_gone() -> bool:
    """Tell whether the other end of our standard input is closed, whatever is still to be read."""
    asked = select.poll()
    asked.register(0, select.POLLRDHUP)
    return any(event & (select.POLLHUP | select.POLLRDHUP) for _, event in asked.poll(0))


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line a program wrote to standard error, or how it ended."""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    if said:
        return said[-1][:300]
    code = done.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"
