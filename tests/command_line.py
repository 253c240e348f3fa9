"""The `edgekit` command as a user runs it, and the one line it answers a mistake with."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import command_server
import nursery

Cli = Callable[..., subprocess.CompletedProcess[str]]


def run_cli(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the `edgekit` command in a process of its own.

    It is forked, and a conversion imports nothing again, unless it has an environment of its own
    (command_server.py, nursery.py).
    """
    words = [str(argument) for argument in arguments]
    if command_server.serves(environment):
        warm = words[:1] == ["convert"] and nursery.PLACE in os.environ
        return command_server.run(words, cwd, warm=warm, timeout=300)
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=300,
    )


def one_line_error(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the error of a failed command: one line, no traceback, the exit code as agreed."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgekit: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the command prints where it believes to write to a terminal."""
    ours, theirs = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "CI"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=kept | {"TERM": "xterm-256color", "COLUMNS": "120"} | environment,
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not block:
            break
        printed += block
    os.close(ours)
    assert process.wait() == 0
    return printed.decode()


def commands_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something with its whole name, those of groups too."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from commands_of(inner, (*path, name))
        else:
            yield " ".join((*path, name)), inner
