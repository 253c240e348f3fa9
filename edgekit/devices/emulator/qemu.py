"""The emulator: QEMU's user mode for aarch64, the host's own or fetched without root.

Only the line of Debian 12 (7.2, up to 8.1) is used. It loads plugins and takes /proc/cpuinfo from
the sysroot. From 8.2 on QEMU answers that file itself, with the host's number of cores, and
Debian 13's package is linked statically and has no plugins: there Debian 12's is fetched, with its
own C library, so that it runs on any host.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.emulator import apt
from edgekit.errors import DeviceError
from edgekit.files import folder_whole

_OLDEST, _NEWEST = (7, 2), (8, 1)
RELEASE = "bookworm"


@dataclass(frozen=True)
class Qemu:
    """A QEMU that runs aarch64 programs: the command that starts it, and what it can do."""

    command: tuple[str, ...]
    version: str
    plugins: bool


def host_qemu() -> Qemu | None:
    """Return the host's own qemu-aarch64, if it is there and of a line that serves."""
    path = shutil.which("qemu-aarch64")
    found = _examine((path,)) if path else None
    if found is None:
        return None
    version = tuple(int(part) for part in found.version.split(".")[:2])
    return found if _OLDEST <= version <= _NEWEST and found.plugins else None


def fetched_qemu(folder: Path) -> Qemu | None:
    """Return the QEMU that `fetch` put into `folder`, if it is there and starts."""
    program = folder / "usr/bin/qemu-aarch64"
    loaders = sorted(path for path in folder.glob("lib*/ld-linux*.so.*") if path.exists())
    if not program.is_file() or not loaders:
        return None
    libraries = {path.parent for path in folder.glob("**/*-linux-gnu/*.so*")}
    search = ":".join(str(path) for path in sorted(libraries))
    # Its own loader and C library: nothing of the host's has to fit.
    return _examine((str(loaders[0]), "--library-path", search, str(program)))


def fetch(folder: Path, state: Path, debs: Path) -> Qemu:
    """Fetch Debian's qemu-user and all it needs into `folder`, whole or not at all.

    `state` is apt's own folder, `debs` keeps the package files. Raises DeviceError in one line.
    """
    source = apt.Apt(state, RELEASE, apt.host_architecture())
    source.update()
    packages = source.fetch(source.closure(["qemu-user"]), debs)
    with folder_whole(folder, force=True) as aside:
        for package in packages:
            apt.unpack(package, aside)
    qemu = fetched_qemu(folder)
    if qemu is None:
        raise DeviceError(f"the QEMU in {folder} does not start: remove that folder and try again")
    return qemu


def _examine(command: tuple[str, ...]) -> Qemu | None:
    """Return what this QEMU is, or None where it does not start."""
    try:
        version = _output(command, "--version")
        match = re.search(r"version (\d+\.\d+(?:\.\d+)?)", version)
        return Qemu(command, match[1], "-plugin" in _output(command, "--help")) if match else None
    except OSError:
        return None


def _output(command: tuple[str, ...], option: str) -> str:
    return subprocess.run(
        [*command, option], capture_output=True, text=True, check=False, timeout=60
    ).stdout
