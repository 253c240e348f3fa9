"""Processes of tests that are forks of a Python which has imported what they work with.

    who asks ── server ── supervisor ── the process

Each has its own output, folder and environment, and ends with who asked for it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from edgekit.leash import die_with

KIND = socket.SOCK_SEQPACKET
READ_AT_START = ("PYTHONPATH", "PYTHONWARNINGS", "FORCE_COLOR", "NO_COLOR", "LD_PRELOAD")
"""Variables that Python, or what was imported, has read when a process is forked."""
_LARGEST = 200_000


class Forked:
    """A process that a server has forked: of `subprocess.Popen` what we use."""

    def __init__(self, connection: socket.socket, arguments: list[str]) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._connection = connection
        self.pid = int(self._told())

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal; raises TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._told())
            except TimeoutError:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self._connection.close()
        return self.returncode

    def end(self) -> None:
        """Let the process be killed, if it still runs."""
        self._connection.close()

    def _told(self) -> bytes:
        told = self._connection.recv(16)
        assert told, "the server of forked processes is gone"
        return told


def start(place: str, arguments: list[str], folder: Path, out: int, err: int) -> Forked:
    """Have the server at `place` fork a process that writes to the files `out` and `err`."""
    asked = {"arguments": arguments, "folder": str(folder), "environment": dict(os.environ)}
    connection = socket.socket(socket.AF_UNIX, KIND)
    try:
        connection.connect(place)
        socket.send_fds(connection, [json.dumps(asked).encode()], [out, err])
        return Forked(connection, arguments)
    except BaseException:
        connection.close()
        raise


def serve(become: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Fork a supervisor for everyone who connects to standard input; `become` is the process."""
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
                _supervise(connection, become)


def _supervise(connection: socket.socket, become: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Fork the process; wait for it, or end it where who asked has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, (out, err), _, _ = socket.recv_fds(connection, _LARGEST, 2)
    supervisor, pid = os.getpid(), os.fork()
    if pid == 0:
        os.setsid()
        die_with(supervisor)
        connection.close()
        for ours, theirs in ((1, out), (2, err)):
            os.dup2(theirs, ours)
            os.close(theirs)
        _be(json.loads(request), become)
    with contextlib.suppress(OSError):
        connection.send(str(pid).encode())
    ends = select.poll()
    ends.register(os.pidfd_open(pid), select.POLLIN)
    ends.register(connection, 0)  # who asked has gone
    ends.poll()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # one that has ended already keeps its exit code
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _be(asked: dict[str, Any], become: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Be a process of these words, in this folder and environment, to its end."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    sys.argv[:] = asked["arguments"]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    random.seed()
    code = 0
    try:
        become(asked)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    # Python itself would first take apart all that was imported.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)
