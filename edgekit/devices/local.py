"""The device `local`: this machine and this Python, in a process group of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from edgekit.devices._protocol import Completed, WorkFolder
from edgekit.errors import DeviceError, DeviceTimeout
from edgekit.runtimes.table import Environment
from edgekit.scratch import leashed

if TYPE_CHECKING:
    from edgekit.targets import Target

MAX_OUTPUT_BYTES = 64 << 20
"""More than this is no answer of ours."""


class LocalDevice(WorkFolder):
    """This machine; `close`, from any thread, ends what runs and removes the work folder."""

    name = "local"
    provenance: Literal["measured", "emulated"] = "measured"

    def __init__(self) -> None:
        super().__init__(self.name)
        self._running: subprocess.Popen[bytes] | None = None

    def run(
        self, arguments: Sequence[str], *, timeout: float, environment: Environment = "main"
    ) -> Completed:
        """Run this Python with `arguments`; its process group is gone when this returns.

        There is one environment here, this Python's own.
        """
        # Files, not pipes: a child that outlives the program would hold a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.perf_counter()
            process = self._running = start_python(arguments, self.path, out, err)
            try:
                exit_code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise DeviceTimeout(
                    f"{self.name}: {shlex.join(arguments)!r} took more than {timeout:g} s "
                    "and was ended"
                ) from None
            finally:
                # Not only after a time limit: Ctrl-C, or a child that outlived its parent.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self._running = None
            seconds = time.perf_counter() - start
            for file in (out, err):
                if os.fstat(file.fileno()).st_size > MAX_OUTPUT_BYTES:
                    raise DeviceError(
                        f"{self.name}: a program printed more than {MAX_OUTPUT_BYTES >> 20} MiB"
                    )
            out.seek(0)
            err.seek(0)
            return Completed(
                exit_code=exit_code, stdout=out.read(), stderr=err.read(), seconds=seconds
            )

    def close(self) -> None:
        """End the program that runs, if one does, and remove the work folder."""
        if self._running is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
        super().close()


def start_python(
    arguments: Sequence[str], folder: Path, out: IO[bytes], err: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start this Python in `folder`, in a process group of its own that ends with this process."""
    return subprocess.Popen(
        leashed([sys.executable, *arguments]),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )


def open_device(address: str, target: Target) -> LocalDevice:
    """Return this machine, whatever the target: what it reports is compared before measuring."""
    return LocalDevice()
