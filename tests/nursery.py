"""Conversions of tests are forked from a Python that has imported PyTorch and a converter once.

`edgekit convert` imports PyTorch for itself, and each build its converter: four seconds of a core
in each of a hundred tests. For them a nursery holds fork servers ready, one for the whole run:

    pytest ── nursery (PyTorch) ─┬─ fork server of a conversion ── supervisor ── export step
                                 └─ ward (PyTorch, onnx …) ── fork server ── supervisor ── build

Only where the fork server comes from is another. It has the conversion's own environment, folder
and path, and ends with the conversion. Converters stay apart: each has a ward of its own.

    python nursery.py            is the nursery
    python nursery.py WORD ...   is `python -m edgekit WORD ...` that uses it (and runner_server.py)
    python nursery.py SCRIPT.py  is `python SCRIPT.py` that does
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

from edgekit.conversion import fork_server, steps
from edgekit.conversion.fork_server import ENVIRONMENT, TORCH, ForkServer, Step, Wanted
from edgekit.leash import die_with
from edgekit.scratch import leashed

PLACE = "EDGEKIT_TESTS_NURSERY"
"""The variable that tells the processes of a run where their nursery listens."""
_KIND = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
_LARGEST = 200_000
_READY = (
    *TORCH, "torch._inductor.ir", "torch._inductor.sizevars", "torch._inductor.compiler_bisector",
    "torch.export._trace", "torch.export._unlift", "torch.fx.experimental.validator",
    "edgekit.conversion.export", "edgekit.conversion.build", "edgekit.zoo.checkpoint",
)  # fmt: skip
_LATE = {
    "edgekit.backends.onnx": (
        "torch.onnx._internal.exporter._compat", "torch.onnx._internal.exporter._torchlib.ops",
        "onnxscript.function_libs.torch_lib.ops", "onnxruntime.quantization",
    ),
    "edgekit.backends.tflite": (
        "scipy.sparse", "scipy.cluster.hierarchy", "jaxlib.mlir.dialects.mhlo",
    ),
    "edgekit.backends.openvino": (
        "openvino.frontend.pytorch.fx_decoder", "nncf.torch", "onnx", "scipy.sparse.csgraph",
        "nncf.openvino.quantization.quantize_model",
        "nncf.quantization.algorithms.accuracy_control.algorithm",
    ),
}  # fmt: skip
"""What a converter imports only as it goes on, by its backend's module."""


class Borrowed:
    """What a conversion has for its fork server: one of the nursery's for each converter."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, ...], socket.socket] = {}
        self._lock = threading.Lock()
        self._killed = False

    def start(self, wanted: Wanted, talk: int, log: int) -> Step:
        """Start a step whose modules are imported already."""
        server = self._servers.get(wanted.ahead)
        if server is None:
            server = socket.socket(*_KIND)
            server.connect(os.environ[PLACE])
            asked = {
                "ahead": wanted.ahead,
                "environment": dict(os.environ),
                "path": sys.path,
                "folder": str(Path.cwd()),
            }
            with self._lock:  # another thread may end all of them now
                self._servers[wanted.ahead] = server
                if self._killed:
                    server.shutdown(socket.SHUT_RDWR)
                else:
                    server.send(json.dumps(asked).encode())
        return fork_server.ask(server, wanted, talk, log)

    def kill(self) -> None:
        """End the servers, and with them every step that still runs."""
        with self._lock:
            self._killed = True
            for server in self._servers.values():
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the servers and let go of them."""
        self.kill()
        for server in self._servers.values():
            server.close()


def borrowed(preload: tuple[str, ...]) -> Borrowed | ForkServer:
    """Return a conversion's fork server; one without PyTorch is quick to start by itself."""
    return Borrowed() if preload == TORCH else ForkServer(preload)


@contextlib.contextmanager
def listening(program: str, variable: str, kind: int, **environment: str) -> Iterator[None]:
    """Have a program that listens at the socket which is its standard input.

    `variable` tells the processes of a run where. The program ends with this process.
    """
    with tempfile.TemporaryDirectory(prefix=f"{Path(program).stem}-") as folder:
        place, log = f"{folder}/socket", Path(folder) / "log"
        with socket.socket(socket.AF_UNIX, kind) as listener, log.open("w") as errors:
            listener.bind(place)
            listener.listen(64)
            process = subprocess.Popen(
                leashed([sys.executable, program]),
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | environment,
                start_new_session=True,
            )
        os.environ[variable] = place
        yield
        del os.environ[variable]
        if process.poll() is not None:
            print(f"{program} ended early:\n{log.read_text()}")
        process.kill()
        process.wait()


def open_nursery() -> contextlib.AbstractContextManager[None]:
    """Have a nursery, which ends with this process. It imports nothing before it is asked."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | ENVIRONMENT
    return listening(__file__, PLACE, socket.SOCK_SEQPACKET, **environment)


def nursery() -> NoReturn:
    """Give every conversion that connects a fork server, and every converter its ward."""
    listener = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    wards: dict[tuple[str, ...], socket.socket] = {}
    while True:
        connection, _ = listener.accept()
        fork_server.preload(_READY)
        with connection:
            try:
                _take(connection, wards)
            except (
                OSError,
                ValueError,
            ):  # one that was ended before it had asked, a ward that died
                traceback.print_exc()


def _take(connection: socket.socket, wards: dict[tuple[str, ...], socket.socket]) -> None:
    """Give one conversion what it asks for."""
    request = connection.recv(_LARGEST)
    ahead = tuple(json.loads(request)["ahead"])
    if not ahead:
        _give(request, connection)
        return
    if ahead not in wards:
        wards[ahead], theirs = socket.socketpair(*_KIND)
        with theirs:
            parent = os.getpid()
            if os.fork() == 0:
                try:
                    die_with(parent)
                    connection.close()
                    _ward(ahead, theirs)
                finally:
                    os._exit(1)
    try:
        socket.send_fds(wards[ahead], [request], [connection.fileno()])
    except OSError:  # the next one that asks has a new ward
        wards.pop(ahead).close()
        raise


def _ward(ahead: tuple[str, ...], connections: socket.socket) -> NoReturn:
    fork_server.preload((*ahead, *_LATE.get(ahead[0], ())))
    _keep_composites()
    if "onnxscript" in ahead:
        _keep_registry()
    while True:
        request, (handle,), _, _ = socket.recv_fds(connections, _LARGEST, 1)
        with socket.socket(fileno=handle) as connection:
            _give(request, connection)


def _keep_composites() -> None:
    """Let PyTorch look once through all operators for those that it takes apart.

    It does so two to six times in an export to ONNX or TFLite, a fifth of a small network's time.
    """
    from torch._export import utils

    kept = cache(utils._collect_all_valid_cia_ops_for_namespace)
    vars(utils)["_collect_all_valid_cia_ops_for_namespace"] = kept
    utils._collect_all_valid_cia_ops()


def _keep_registry() -> None:
    """Let PyTorch's ONNX exporter make its table of operators once.

    It reads the source of five hundred functions for it in every export, half of what a small
    network's takes; the table is the same each time.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    from edgekit.backends.onnx import OPSET

    kept = cache(ONNXRegistry.from_torchlib)
    type.__setattr__(ONNXRegistry, "from_torchlib", staticmethod(kept))
    kept(opset_version=OPSET)


def _give(request: bytes, connection: socket.socket) -> None:
    """Fork a fork server: it is what it would be, had the conversion started it."""
    parent = os.getpid()
    if os.fork():
        return
    try:
        die_with(parent)
        os.setsid()
        asked = json.loads(request)
        os.environ.clear()
        os.environ.update({"OMP_WAIT_POLICY": "PASSIVE"} | asked["environment"] | ENVIRONMENT)
        os.chdir(asked["folder"])
        sys.path[:] = asked["path"]
        importlib.invalidate_caches()
        tempfile.tempdir = None
        random.seed()
        fork_server.serve(connection)
    finally:
        os._exit(0)


def lend() -> None:
    """Let the conversions of this process have what the nursery lends."""
    vars(steps)["ForkServer"] = borrowed


if __name__ == "__main__":
    if not sys.argv[1:]:
        nursery()
    import runner_server

    lend()
    runner_server.lend()
    if sys.argv[1].endswith(".py"):
        del sys.argv[0]
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.path[0] = str(Path.cwd())
        runpy.run_module("edgekit", run_name="__main__", alter_sys=True)
