"""The Python a board has, and whether the CPU under it is real."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edgekit.devices.ssh_link.connection import Connection
from edgekit.errors import DeviceError

OLDEST = (3, 9)
LOOK_S = 60.0

# For any Python 3, since it is to say that one is too old.
_LOOK = """\
import json, os, platform, struct, sys
def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
def parent():
    try:
        return os.readlink("/proc/%d/exe" % os.getppid())
    except OSError:
        return ""
print(json.dumps({
    "version": platform.python_version(),
    "machine": platform.machine(),
    "bits": 8 * struct.calcsize("P"),
    "glibc": platform.libc_ver()[1],
    "kernel": read("/proc/sys/kernel/arch"),
    "modalias": read("/sys/devices/system/cpu/modalias")[:64],
    "parent": parent(),
}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """What a Python on a board says of itself and of the kernel it runs on.

    `kernel` is the architecture in the kernel's own word (Linux 6.1 and newer), `modalias` how it
    names the CPU's type, `parent` the program file of the process that started Python. An emulator
    of single programs (qemu-user, also behind a container's binfmt) answers for the program's own
    /proc files and for uname, not for these.
    """

    version: str
    machine: str
    bits: int
    glibc: str
    kernel: str
    modalias: str
    parent: str

    @property
    def minor(self) -> str:
        """`3.11`, as wheels are built for."""
        return ".".join(self.version.split(".")[:2])

    @property
    def emulated(self) -> bool:
        """Whether its programs run on another CPU than they were built for: it has no times."""
        modalias = self.modalias.removeprefix("cpu:type:").partition(",")[0].partition(":")[0]
        kernels = {_family(word) for word in (self.kernel, modalias) if word}
        return (
            "qemu" in self.parent.rpartition("/")[2] or kernels - {_family(self.machine)} != set()
        )


def interpreter(connection: Connection, python: str = "python3") -> Interpreter:
    """Return what the board's `python` says. Raises DeviceError where there is none of use."""
    import msgspec

    done = connection.run([python, "-I", "-c", _LOOK], timeout=LOOK_S)
    if done.exit_code == 127:
        raise DeviceError(
            f"{connection.address} has no {python}: sudo apt install python3 python3-venv there"
        )
    try:
        found = msgspec.convert(json.loads(done.stdout), Interpreter)
        version = tuple(int(part) for part in found.version.split(".")[:2])
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DeviceError(
            f"{connection.address}: {python} does not work there ({''.join(said)})"
        ) from None
    if version < OLDEST:
        raise DeviceError(
            f"{connection.address} has Python {found.version}: edgekit needs 3.9 or newer there"
        )
    return found


def _family(machine: str) -> str:
    """Return one word for CPUs that run each other's programs: arm and aarch64, i686 and x86."""
    for family, starts in {"arm": ("arm", "aarch64"), "x86": ("x86", "i386", "i686")}.items():
        if machine.startswith(starts):
            return family
    return machine
