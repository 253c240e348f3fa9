"""Which wheels a board gets: its lock's, or the newest that its Python, glibc and CPU accept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.ssh_link.interpreter import Interpreter
from edgekit.errors import DeviceError, UserError, did_you_mean
from edgekit.runtimes import wheels
from edgekit.runtimes.locks import Lock, Wheel, known_locks
from edgekit.runtimes.platforms import ARCHITECTURES
from edgekit.runtimes.table import SUPPORT, Environment, deployed, requirements
from edgekit.runtimes.wheel_fit import fit
from edgekit.targets import DeviceFacts, Target, load_target, matches, own_names

_RUNTIMES = {runtime.name: runtime for runtime in deployed()}
DEFAULT_RUNTIMES = tuple(name for name, item in _RUNTIMES.items() if item.environment == "main")
_ALWAYS = frozenset({"numpy", "pillow"})
"""What the runner itself imports, by distribution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardEnvironment:
    """One virtual environment of a board: what is in it, for which of the runner's runtimes."""

    place: Environment
    runtimes: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    python: str

    @property
    def folder(self) -> str:
        """Its name under `~/.edgekit/env`: another one for any other content."""
        content = f"{self.python} {self.pinned}"
        return f"{self.place}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    @property
    def pinned(self) -> str:
        """Its content as pip's requirements, to the byte."""
        return "".join(wheel.requirement for wheel in self.wheels)

    @property
    def modules(self) -> tuple[str, ...]:
        """What must be importable in it."""
        return ("numpy", "PIL.Image", *(_RUNTIMES[name].module for name in self.runtimes))


def lock_for(found: Interpreter, facts: DeviceFacts, target: Target | None) -> Lock | None:
    """Return the lock of the system that the board has, where it is one of our targets' boards."""
    if found.machine != "aarch64":
        return None
    known = [target] if target else [load_target(name) for name in own_names()]
    if not any(profile.emulation and not matches(profile, facts) for profile in known):
        return None
    for lock in known_locks():
        if all(fit(wheel.file, found.version, found.glibc).fits for wheel in lock.wheels):
            return lock
    return None


def environments(
    found: Interpreter, lock: Lock | None, runtimes: Sequence[str], into: Path
) -> tuple[BoardEnvironment, ...]:
    """Return what to make so that every one of `runtimes` (the runner's names) can be loaded.

    Without a lock pip chooses, and fetches the wheels into `into`. Raises UserError for an unknown
    runtime, DeviceError where the board can have none: a 32-bit Python, musl, no wheel for it.
    """
    for name in runtimes:
        if name not in _RUNTIMES:
            raise UserError(did_you_mean("runtime", name, list(_RUNTIMES)))
    _check_system(found)
    made = []
    for place in SUPPORT:
        if chosen := tuple(name for name in runtimes if _RUNTIMES[name].environment == place):
            names = _ALWAYS.union(*(_RUNTIMES[name].distributions() for name in chosen))
            content = (
                _of_lock(lock, place, names)
                if lock
                else _newest(found, place, requirements(place), names, into)
            )
            made.append(
                BoardEnvironment(place=place, runtimes=chosen, wheels=content, python=found.minor)
            )
    return tuple(made)


def _check_system(found: Interpreter) -> None:
    """Raise DeviceError where no runtime has wheels for such a system."""
    if found.bits != 64:
        raise DeviceError(
            f"its Python is a {found.bits}-bit one, for which no runtime is built: install "
            "Raspberry Pi OS (64-bit)"
        )
    if found.machine not in ARCHITECTURES:
        raise DeviceError(f"no runtime is built for {found.machine}: {' or '.join(ARCHITECTURES)}")
    if not found.glibc:
        raise DeviceError("its Python has no glibc (Alpine?): use a Debian or Raspberry Pi OS")


def _of_lock(lock: Lock, place: Environment, distributions: frozenset[str]) -> tuple[Wheel, ...]:
    own = [w for w in lock.wheels if w.place == place and w.name in distributions]
    names = {wheel.name for wheel in own}
    if missing := distributions - names - _ALWAYS:
        raise DeviceError(
            f"{', '.join(sorted(missing))} has no wheel for Python {lock.python} "
            f"({lock.debian}): choose another runtime"
        )
    shared = [w for w in lock.wheels if w.name in _ALWAYS - names and w.place == "main"]
    return (*own, *shared)


def _newest(
    found: Interpreter,
    place: Environment,
    wanted: Sequence[str],
    distributions: frozenset[str],
    into: Path,
) -> tuple[Wheel, ...]:
    from packaging.requirements import Requirement

    chosen = {Requirement(text).name: text for text in (*_ALWAYS, *wanted)}
    requirements = [text for name, text in chosen.items() if name in distributions]
    return wheels.fetch_newest(requirements, place, found.minor, found.glibc, into, found.machine)
