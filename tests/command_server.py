"""The `edgekit` command as a fork of a Python that has imported the command line already.

Importing it, what most commands work with and what they print with, takes longer than most of the
suite's commands take then. A converter, a runtime or PyTorch a command imports itself, as ever. It
is a process of its own, with the words, folder, environment, output and exit code that
`python -m edgekit` would have.

    pytest ── command server ── supervisor ── edgekit WORD ...

The documents, the tests of starting, of Ctrl-C and of plug-ins run `python -m edgekit` itself.
"""

from __future__ import annotations

import contextlib
import gc
import os
import runpy
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import forked
import nursery
import runner_server
import typer.main

from edgekit.conversion.fork_server import preload

PLACE = "EDGEKIT_TESTS_COMMAND_SERVER"
"""The variable that tells the processes of a run where it listens."""
_WARM = "--warm"
"""The first word where the command's conversions import nothing again."""
_AHEAD = (
    "edgekit.cli", "numpy", "rich.console", "rich.table", "rich.progress",
    "typer._adapters",  # a newer Typer imports it, and pydantic, when its first command runs
    "edgekit.api", "edgekit.report", "edgekit.recommend", "edgekit.onboard.runner",
    "edgekit.cli.output", "edgekit.cli.layout", "edgekit.deployment.bundle",
    "edgekit.deployment.deploy", "PIL.ImageOps", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
    "asyncssh",
)  # fmt: skip


def open_command_server() -> contextlib.AbstractContextManager[None]:
    """Have a command server, which ends with this process."""
    return nursery.listening(__file__, PLACE, forked.KIND)


def serves(environment: dict[str, str]) -> bool:
    """Tell whether a command may be forked: nothing is asked for that is read at the start."""
    own = environment or any(map(os.environ.get, forked.READ_AT_START))
    return PLACE in os.environ and not own


def run(
    arguments: list[str], cwd: Path | None, *, warm: bool, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `edgekit` and return what it said; with `warm` its conversions import nothing again.

    Raises TimeoutExpired after `timeout` seconds; the command is ended then.
    """
    words = [_WARM if warm else "", *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        place, folder = os.environ[PLACE], cwd or Path.cwd()
        command = forked.start(place, words, folder, out.fileno(), err.fileno())
        try:
            code = command.wait(timeout)
        finally:
            command.end()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(arguments, code, *said)


def _keep_parser() -> None:
    """Let Typer make the parser of all commands once: that is a third of a short command."""
    from edgekit.cli import app

    kept = cache(typer.main.get_command)
    vars(typer.main)["get_command"] = kept
    kept(app)


def _become(asked: dict[str, Any]) -> None:
    """Be `python -m edgekit` with these words."""
    if sys.argv[0] == _WARM:
        nursery.lend()
    runner_server.lend()
    runpy.run_module("edgekit", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    preload(_AHEAD)
    _keep_parser()
    gc.set_threshold(20_000)  # a command of a second leaves little garbage
    forked.serve(_become)
