"""What a board's kernel says of its hardware, as files that stand in for the host's.

The runtimes choose their kernels by these files. Without them they read the x86 host's, and
onnxruntime and LiteRT crash at start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadTarget

if TYPE_CHECKING:
    from edgekit.targets import Target

SITE = "opt/edgekit/board"
# The emulator passes a program's questions about its cores on to the host's kernel.
_SITECUSTOMIZE = """\
import os

_cores = frozenset(range({cores}))
os.sched_getaffinity = lambda pid: set(_cores)
os.cpu_count = lambda: len(_cores)
"""


@dataclass(frozen=True, kw_only=True)
class Board:
    """The facts of a target that an emulated board is made from.

    `qemu_cpu` is QEMU's name of the core; `implementer` to `midr` and `features` are what its
    Linux prints in /proc/cpuinfo and sysfs, as hexadecimal text.
    """

    name: str
    title: str
    qemu_cpu: str
    implementer: str
    part: str
    variant: str
    revision: str
    midr: str
    features: tuple[str, ...]
    cores: int
    clock_mhz: int
    memory_megabytes: int
    debian: str
    python: str
    glibc: str

    @property
    def memory_bytes(self) -> int:
        """The board's memory; what a program needs above this, the board's kernel ends."""
        return self.memory_megabytes * 1024 * 1024


def board_of(target: Target) -> Board:
    """Return what a target's profile says of its board.

    Raises BadTarget for a profile without `[emulation]`, or without a fact an emulation needs.
    """
    emulation, hardware, software = target.emulation, target.hardware, target.software
    if emulation is None:
        raise BadTarget(
            f"{target.name} has no [emulation] in its profile, so no virtual board: "
            "use --device local or ssh://"
        )
    facts = {
        "cores": hardware.cores,
        "clock_mhz": hardware.clock_mhz,
        "memory_megabytes": hardware.memory_megabytes,
        "debian": software.debian,
        "python": software.python,
        "glibc": software.glibc,
    }
    known: dict[str, Any] = {name: fact.value for name, fact in facts.items() if fact}
    if missing := [name for name in facts if name not in known]:
        raise BadTarget(f"{target.name} has no {missing[0]} in its profile: an emulation needs it")
    return Board(
        name=target.name,
        title=target.title,
        qemu_cpu=emulation.qemu_cpu,
        implementer=emulation.implementer,
        part=emulation.part,
        variant=emulation.variant,
        revision=emulation.revision,
        midr=emulation.midr,
        features=emulation.features,
        **known,
    )


def system_files(board: Board) -> dict[str, str]:
    """Return the content of the files that make a sysroot this board, by path from the root.

    What would be untrue of an emulated board (its clock now, its temperature) is an empty file:
    without one the emulator would let the host's shine through.
    """
    cpuinfo = "".join(
        f"processor\t: {core}\n"
        # The generic timer's 54 MHz, twice: what a Pi's kernel prints. Nothing computes with it.
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {' '.join(board.features)}\n"
        f"CPU implementer\t: {board.implementer}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {board.variant}\n"
        f"CPU part\t: {board.part}\n"
        f"CPU revision\t: {board.revision}\n\n"
        for core in range(board.cores)
    )
    kilobytes = board.memory_megabytes * 1024
    last = board.cores - 1
    everyone = {"mask": f"{(1 << board.cores) - 1:x}\n", "list": f"0-{last}\n"}
    files = {
        "proc/cpuinfo": f"{cpuinfo}Model\t\t: {board.title}\n",
        "proc/meminfo": f"MemTotal: {kilobytes:14} kB\nMemFree: {kilobytes:15} kB\n"
        f"MemAvailable: {kilobytes:10} kB\n",
        # The emulator's own memory counts in the host's file: nothing is better than untrue.
        "proc/self/status": "",
        "proc/device-tree/model": f"{board.title}\0",
        f"{SITE}/sitecustomize.py": _SITECUSTOMIZE.format(cores=board.cores),
        "sys/class/thermal/thermal_zone0/temp": "",
        "sys/devices/system/cpu/kernel_max": "255\n",
        **{
            f"sys/devices/system/cpu/{name}": everyone["list"]
            for name in ("possible", "present", "online")
        },
    }
    for core in range(board.cores):
        cpu = f"sys/devices/system/cpu/cpu{core}"
        files[f"{cpu}/regs/identification/midr_el1"] = f"0x{int(board.midr, 16):016x}\n"
        files[f"{cpu}/cpufreq/cpuinfo_max_freq"] = f"{board.clock_mhz * 1000}\n"
        files[f"{cpu}/cpufreq/scaling_cur_freq"] = ""
        files[f"{cpu}/cpufreq/scaling_governor"] = ""
        files[f"{cpu}/topology/core_id"] = f"{core}\n"
        files[f"{cpu}/topology/physical_package_id"] = "0\n"
        files[f"{cpu}/topology/cluster_id"] = "0\n"
        for group in ("core_siblings", "package_cpus", "cluster_cpus"):
            files[f"{cpu}/topology/{group}"] = everyone["mask"]
            files[f"{cpu}/topology/{group}_list"] = everyone["list"]
        for group in ("thread_siblings", "core_cpus"):
            files[f"{cpu}/topology/{group}"] = f"{1 << core:x}\n"
            files[f"{cpu}/topology/{group}_list"] = f"{core}\n"
    return files


def write_system_files(board: Board, root: Path) -> None:
    """Write the board's files under `root`; a file already there is replaced, never written into.

    (A sysroot may share its files with another board's: the old file must stay as it is.)
    """
    for name, content in system_files(board).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(content)
