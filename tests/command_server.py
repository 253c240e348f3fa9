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
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import nursery
import typer.main

from edgekit.conversion.fork_server import preload
from edgekit.leash import die_with

PLACE = "EDGEKIT_TESTS_COMMAND_SERVER"
"""The variable that tells the processes of a run where it listens."""
_READ_AT_START = ("PYTHONPATH", "PYTHONWARNINGS", "FORCE_COLOR", "NO_COLOR", "LD_PRELOAD")
"""Variables that Python, or what was imported, has read when a command is forked."""
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
    return nursery.listening(__file__, PLACE, socket.SOCK_STREAM)


def serves(environment: dict[str, str]) -> bool:
    """Tell whether a command may be forked: nothing is asked for that is read at the start."""
    return PLACE in os.environ and not environment and not any(map(os.environ.get, _READ_AT_START))


def run(
    arguments: list[str], cwd: Path | None, *, warm: bool, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `edgekit` and return what it said; with `warm` its conversions import nothing again.

    Raises TimeoutExpired after `timeout` seconds; the command is ended then.
    """
    asked = {
        "arguments": arguments,
        "folder": str(cwd or Path.cwd()),
        "environment": dict(os.environ),
        "warm": warm,
    }
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.settimeout(timeout)
        server.connect(os.environ[PLACE])
        socket.send_fds(server, [b"!"], [out.fileno(), err.fileno()])
        server.sendall(json.dumps(asked).encode())
        server.shutdown(socket.SHUT_WR)
        try:
            code = server.recv(16)
        except TimeoutError:
            raise subprocess.TimeoutExpired(arguments, timeout) from None
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n"))
    assert code, f"the command server is gone: {said}"
    return subprocess.CompletedProcess(arguments, int(code), *said)


def serve() -> NoReturn:
    """Fork a supervisor for every command."""
    preload(_AHEAD)
    _keep_parser()
    listener = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = os.getpid()
    while True:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                die_with(server)
                listener.close()
                _supervise(connection)


def _keep_parser() -> None:
    """Let Typer make the parser of all commands once: that is a third of a short command."""
    from edgekit.cli import app

    kept = cache(typer.main.get_command)
    vars(typer.main)["get_command"] = kept
    kept(app)


def _supervise(connection: socket.socket) -> NoReturn:
    """Become the command in a child; wait for it, or end it where who asked has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, (out, err), _, _ = socket.recv_fds(connection, 1, 2)
    asked = json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
    supervisor = os.getpid()
    command = os.fork()
    if command == 0:
        die_with(supervisor)
        connection.close()
        for ours, theirs in ((1, out), (2, err)):
            os.dup2(theirs, ours)
            os.close(theirs)
        _become(asked)
    ends = select.poll()
    ends.register(os.pidfd_open(command), select.POLLIN)
    ends.register(connection, 0)  # who asked has gone
    ends.poll()
    with contextlib.suppress(ProcessLookupError):
        os.kill(command, signal.SIGKILL)  # one that has ended already keeps its exit code
    _, status = os.waitpid(command, 0)
    with contextlib.suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(asked: dict[str, Any]) -> NoReturn:
    """Be `python -m edgekit` with these words, in this folder and environment."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    sys.argv[1:] = asked["arguments"]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    random.seed()
    if asked["warm"]:
        nursery.lend()
    runpy.run_module("edgekit", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    serve()
