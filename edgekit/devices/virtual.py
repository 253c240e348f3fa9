"""The device `virtual`: a board's own programs on an emulated CPU, behind the Device protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from edgekit.devices._protocol import Completed, WorkFolder
from edgekit.devices.emulator import guest
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.sysroot import Sysroot, installed
from edgekit.runtimes.locks import Place

if TYPE_CHECKING:
    from edgekit.targets import Target


class VirtualDevice(WorkFolder):
    """An installed virtual board with a work folder of its own, removed by `close`.

    Real ARM binaries give real answers here, and no real times. `options` go to QEMU; `ended` is
    all that is known of the last program: its peak memory, and what it died of.
    """

    provenance: Literal["measured", "emulated"] = "emulated"

    def __init__(self, sysroot: Sysroot) -> None:
        self.name = f"virtual:{sysroot.board.name}"
        super().__init__(self.name)
        self.sysroot = sysroot
        self.options: Sequence[str] = ()
        self.ended: guest.Ended | None = None

    def run(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        """Run the board's Python with `arguments`; whatever it started is gone at the end.

        What killed a program (an illegal instruction, the board's memory) is told in one line at
        the end of `stderr`. Raises DeviceTimeout after `timeout` seconds.
        """
        self.ended = ended = guest.run(
            self.sysroot,
            arguments,
            self.path,
            timeout=timeout,
            place=self._place(arguments),
            options=self.options,
        )
        told = f"\n{guest.why_it_died(ended)}\n".encode() if ended.exit_code < 0 else b""
        return Completed(ended.exit_code, ended.stdout, ended.stderr + told, ended.seconds)

    def _place(self, arguments: Sequence[str]) -> Place:
        """Return which site-packages a job needs.

        On a board tflite-runtime lives in a virtual environment of its own, since it needs
        NumPy 1; here the job says by its runtime which of the two is searched first.
        """
        for name in arguments:
            job = self.path / name
            if job.suffix == ".json" and job.is_file():
                runtime = json.loads(job.read_text()).get("runtime")
                return "numpy1" if runtime in guest.NUMPY1_RUNTIMES else "main"
        return "main"


def open_device(address: str, target: Target) -> VirtualDevice:
    """Return the target's virtual board.

    Raises DeviceError with the command that installs it, BadTarget for a target that is no board.
    """
    return VirtualDevice(installed(board_of(target)))
