"""The device `virtual`: a board's own programs on an emulated CPU, behind the Device protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from edgekit.devices._protocol import Completed, WorkFolder
from edgekit.devices.emulator import guest
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.sysroot import Sysroot, installed
from edgekit.runtimes.table import Environment

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

    def run(
        self, arguments: Sequence[str], *, timeout: float, environment: Environment = "main"
    ) -> Completed:
        """Run the board's Python with `arguments`; whatever it started is gone at the end.

        What killed a program (an illegal instruction, the board's memory) is told in one line at
        the end of `stderr`. Raises DeviceTimeout after `timeout` seconds.
        """
        self.ended = ended = guest.run(
            self.sysroot,
            arguments,
            self.path,
            timeout=timeout,
            environment=environment,
            options=self.options,
        )
        told = f"\n{guest.why_it_died(ended)}\n".encode() if ended.exit_code < 0 else b""
        return Completed(
            exit_code=ended.exit_code,
            stdout=ended.stdout,
            stderr=ended.stderr + told,
            seconds=ended.seconds,
        )


def open_device(address: str, target: Target) -> VirtualDevice:
    """Return the target's virtual board.

    Raises DeviceError with the command that installs it, BadTarget for a target that is no board.
    """
    return VirtualDevice(installed(board_of(target)))
