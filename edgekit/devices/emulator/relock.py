"""Writes a system's lock anew: the user's own (`edgekit device relock`), or for maintainers ours.

    python -m edgekit.devices.emulator.relock [SYSTEM ...]

A system is one of `targets/systems/`: its lock serves every board that has it.

Each name below is there because the runner imports it, or because what it imports does:
tried by importing every runtime in a sysroot with nothing else in it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgekit.errors import BadTarget
from edgekit.files import write_whole
from edgekit.runtimes.locks import Lock, shipped_lock_path
from edgekit.runtimes.table import SUPPORT, requirements
from edgekit.runtimes.wheels import resolve
from edgekit.targets import Software, load_system, system_names

PACKAGES = (
    "base-files",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgomp1",
    "liblzma5",
    "libncursesw6",
    "libpython{python}-minimal",
    "libpython{python}-stdlib",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libtinfo6",
    "libuuid1",
    "python{python}-minimal",
    "zlib1g",
)
CHANGED = {"trixie": {"libreadline8": ("libreadline8t64",), "libssl3": ("libssl3t64", "libzstd1")}}
"""What a release has instead of some of them."""


def relock(system: Software, path: Path) -> Lock:
    """Resolve a system's wheels as of today and write their names and hashes to `path`.

    pip fetches them from the user's own index, each once; from then on the lock holds every
    install to these bytes. Raises BadTarget for a system that does not say what it is, DeviceError
    where pip finds none that fits.
    """
    import msgspec

    if not (system.debian and system.python and system.glibc and system.runtimes):
        raise BadTarget("the board's system lacks its debian, python, glibc or runtimes")
    debian, python, glibc = system.debian.value, system.python.value, system.glibc.value
    with tempfile.TemporaryDirectory() as folder:
        wheels = [
            wheel
            for environment in SUPPORT
            if (wanted := requirements(environment, system.runtimes.value))
            for wheel in resolve(wanted, environment, python, glibc, Path(folder) / environment)
        ]
    changed = CHANGED.get(debian, {})
    packages = sorted(
        actual.format(python=python)
        for package in PACKAGES
        for actual in changed.get(package, (package,))
    )
    lock = Lock(
        debian=debian, python=python, glibc=glibc, packages=tuple(packages), wheels=tuple(wheels)
    )
    write_whole(path, msgspec.json.format(msgspec.json.encode(lock), indent=1) + b"\n")
    return lock


if __name__ == "__main__":
    for system_name in sys.argv[1:] or system_names():
        place = shipped_lock_path(system_name)
        relock(load_system(system_name), place)
        print(place)
