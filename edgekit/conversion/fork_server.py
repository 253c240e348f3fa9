"""Starts the steps of a conversion as forks of one Python that has imported PyTorch once.

Every step needs PyTorch, and importing it takes longer than most of what a step does with it. The
server imports it once and does nothing else, so it has one thread and no state when it forks. A
step is still a process of its own, in a group of its own.

    convert ── fork server ─┬─ supervisor ── export step
                            └─ supervisor ── build step: onnx …

The supervisor waits for its step, reports how it ended, and keeps its process number taken until
that was heard, so that nobody ends another process by mistake.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from edgekit.conversion import step_process
from edgekit.leash import die_with
from edgekit.scratch import leashed

TORCH = ("torch", "torch._dynamo", "torch.export.pt2_archive", "torch._functorch.aot_autograd")
"""What every step of a PyTorch model imports to read an exported program and to work on it."""

# One thread, for two steps run side by side. PyTorch reads it when it is imported.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

_LARGEST_REQUEST = 4096


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A step to start: its module, and what it imports while it waits for what it works on.

    `title` is what a person calls it.
    """

    module: str
    ahead: tuple[str, ...] = ()
    title: str = ""


class Step:
    """A step that runs: its process number, and its exit code once it has ended."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        first = status.recv(32)
        self.pid = int(first) if first else 0
        self.returncode: int | None = None if first else -signal.SIGKILL

    def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal, as of `subprocess`."""
        if self.returncode is None:
            last = self._status.recv(32)
            self.returncode = int(last) if last else -signal.SIGKILL  # its supervisor is gone
        return self.returncode

    def kill(self) -> None:
        """End it with its group, if it still runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except ProcessLookupError:  # it was forked just now, and has no group yet
                    os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """End it, if it still runs, and let go of its process number."""
        self.kill()
        self.wait()
        self.pid = 0
        self._status.close()


class ForkServer:
    """The process that steps are forked from. It ends when it is closed, or with this process."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                leashed([sys.executable, "-m", "edgekit.conversion.fork_server", *preload]),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Steps run side by side: a thread that waits for another must leave its core to
                # whoever works, unless the user wants it otherwise.
                env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | ENVIRONMENT,
                start_new_session=True,
            )

    def start(self, wanted: Wanted, talk: int, log: int) -> Step:
        """Start a step that reads and writes the socket `talk`, and has `log` for its errors."""
        step = ask(self._requests, wanted, talk, log)
        if not step.pid:
            step.returncode = self._process.wait()
        return step

    def kill(self) -> None:
        """End the server, and with it every step that still runs."""
        self._process.kill()

    def close(self) -> None:
        """End the server and let go of it."""
        self.kill()
        self._process.wait()
        self._requests.close()


def ask(requests: socket.socket, wanted: Wanted, talk: int, log: int) -> Step:
    """Ask the server at the other end for a step; one that has ended where the server is gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps(asdict(wanted)).encode()
    with theirs, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        socket.send_fds(requests, [request], [talk, log, theirs.fileno()])
    return Step(ours)


def main() -> None:
    """Import what the command line names, then fork a step for every request."""
    requests = socket.socket(fileno=os.dup(0))
    preload(sys.argv[1:])
    serve(requests)


def serve(requests: socket.socket) -> None:
    """Fork a step for every request, until whoever asks is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are nobody's to wait for
    server = os.getpid()
    while True:
        request, handles, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 3)
        if not request:
            return
        if os.fork() == 0:
            try:
                requests.close()
                _supervise(Wanted(**json.loads(request)), handles, server)
            finally:  # whatever happens, it is no second server
                os._exit(1)
        for handle in handles:
            os.close(handle)


def _supervise(wanted: Wanted, handles: list[int], server: int) -> None:
    """Fork the step, tell its number and how it ended, and leave when both were heard."""
    die_with(server)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    talk, log, told = handles
    supervisor, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(told)
        os.setsid()
        die_with(supervisor)
        _become(wanted, talk, log)
    for handle in (0, talk, log):
        os.close(handle)
    status = socket.socket(fileno=told)
    with contextlib.suppress(OSError):  # whoever asked is gone, and its step with it
        status.send(str(pid).encode())
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        status.send(str(code).encode())
        status.recv(1)


def _become(wanted: Wanted, talk: int, log: int) -> None:
    """Be the step: what it would be in a fresh Python."""
    for number, handle in enumerate((talk, talk, log)):
        os.dup2(handle, number)
    os.close(talk)
    os.close(log)
    preload(wanted.ahead)
    step_process.main(wanted.module)


def preload(modules: Iterable[str]) -> None:
    """Import modules that may be missing or broken: the step that needs one says so itself.

    What they make, a million objects, stays in use. Python does not look through it for garbage:
    that took a tenth of a conversion.
    """
    gc.disable()
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    main()
