"""A runner's job on this machine as a fork of a Python that has imported what runners work with.

NumPy, Pillow, a runtime, and compiling the runner, are most of what a job of the suite takes. The
process has the runner's own file to run, and the words, folder, environment, output and exit code
that `python runner.py JOB.json` would have.

Commands with an environment of their own, the wheel's tests and boards start `python runner.py`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, Any, cast

import forked
import nursery

import edgekit.devices.local
from edgekit.conversion.fork_server import preload
from edgekit.paths import ONBOARD

PLACE = "EDGEKIT_TESTS_RUNNER_SERVER"
"""The variable that tells the processes of a run where it listens."""
RUNNER = "runner.py"
_AHEAD = (
    "numpy", "PIL.ImageOps", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
    "base64", "platform", "runpy", "zipfile",
    "onnxruntime", "ai_edge_litert.interpreter", "openvino", "ncnn",
)  # fmt: skip
_started = edgekit.devices.local.start_python


def open_runner_server() -> contextlib.AbstractContextManager[None]:
    """Have a runner server, which ends with this process."""
    return nursery.listening(__file__, PLACE, forked.KIND)


def lend() -> None:
    """Let the local device of this process have its runners forked."""
    edgekit.devices.local.start_python = start


def start(
    arguments: Sequence[str], folder: Path, out: IO[bytes], err: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start Python as the local device does, or fork it where that comes to the same."""
    own = any(map(os.environ.get, forked.READ_AT_START))
    if own or PLACE not in os.environ or arguments[0] != RUNNER:
        return _started(arguments, folder, out, err)
    place = os.environ[PLACE]
    process = forked.start(place, list(arguments), folder, out.fileno(), err.fileno())
    return cast("subprocess.Popen[bytes]", process)


def _become(asked: dict[str, Any]) -> None:
    """Be `python runner.py ...`: the file in this folder is what runs."""
    file = Path.cwd() / RUNNER
    source = file.read_bytes()
    code = _compiled if source == _source else compile(source, file, "exec")
    main = ModuleType("__main__")
    vars(main)["__file__"] = str(file)
    sys.modules["__main__"] = main
    exec(code, vars(main))


if __name__ == "__main__":
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]  # as the runner does
    preload(_AHEAD)
    _source = (ONBOARD / RUNNER).read_bytes()
    _compiled: CodeType = compile(_source, RUNNER, "exec")
    forked.serve(_become)
