"""Targets: what we say a board or machine is, one TOML file each in `targets/`, every fact sourced.

A target is a claim; what a device reports of itself is `DeviceFacts`. A measurement is made under
a target's name only where the two do not contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from edgekit.errors import BadTarget, did_you_mean
from edgekit.paths import shelf
from edgekit.plugins import plugins
from edgekit.toml_files import read_toml

HOST = "host"

T = TypeVar("T")

Said = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(gt=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact(Generic[T]):
    """One fact about a target and where it comes from; units are in the fact's name.

    `verified` is false for what no source at hand confirms.
    """

    value: T
    source: Said
    verified: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """What a device must report of itself to be measured under a target's name.

    `board` starts, and `cpu_model` is part of, what it reports; `absent` lists features that
    would make the runtimes choose other kernels. `os` is part of the operating system's name.
    Empty means that anything will do.
    """

    board: str = ""
    os: str = ""
    cpu_model: str = ""
    features: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    cores: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """Facts about the silicon.

    Caches in KiB, memory in MiB, rates in 10^6 bytes a second. `copy_mb_s` counts bytes copied,
    `stream_triad_mb_s` bytes read and written. `*_macs_per_cycle` are per core, at best;
    `int8_gops` and `linpack_gflops` (double precision) were measured with all cores.
    """

    soc: Fact[Said] | None = None
    core: Fact[Said] | None = None
    cores: Fact[Count] | None = None
    clock_mhz: Fact[Count] | None = None
    memory_megabytes: Fact[Count] | None = None
    memory_type: Fact[Said] | None = None
    stream_triad_mb_s: Fact[Rate] | None = None
    copy_mb_s: Fact[Rate] | None = None
    l1d_kilobytes: Fact[Count] | None = None
    l2_kilobytes: Fact[Count] | None = None
    l3_kilobytes: Fact[Count] | None = None
    fp32_macs_per_cycle: Fact[Count] | None = None
    int8_macs_per_cycle: Fact[Count] | None = None
    int8_gops: Fact[Rate] | None = None
    linpack_gflops: Fact[Rate] | None = None
    dot_product: Fact[bool] | None = None
    fp16_arithmetic: Fact[bool] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulation:
    """How QEMU stands in for a target's core, and what its Linux prints of the core.

    `implementer`, `part` and `variant` are hexadecimal text and `revision` decimal, as in
    /proc/cpuinfo; `midr` is the same four as Arm's main ID register holds them.
    """

    qemu_cpu: str
    implementer: str
    part: str
    variant: str
    revision: str
    midr: str
    features: tuple[Said, ...]
    source: Said
    verified: bool = True

    def __post_init__(self) -> None:
        try:
            fields = [int(text, 16) for text in (self.implementer, self.variant, self.part)]
            midr, revision = int(self.midr, 16), int(self.revision)
        except ValueError as error:
            raise ValueError(f"{error}: write the CPU's numbers as /proc/cpuinfo does") from None
        implementer, variant, part = fields
        # Arm ARM, MIDR_EL1: implementer from bit 24, variant 20, architecture (all ones) 16,
        # part 4, revision 0.
        expected = implementer << 24 | variant << 20 | 0xF << 16 | part << 4 | revision
        if midr != expected:
            raise ValueError(f"midr {self.midr} is not its parts' 0x{expected:08x}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Software:
    """What runs on a target; versions as major.minor, `runtimes` by the runner's names."""

    os: Fact[Said] | None = None
    debian: Fact[Said] | None = None
    glibc: Fact[Said] | None = None
    python: Fact[Said] | None = None
    runtimes: Fact[tuple[str, ...]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One profile. `name` is its file's stem, for one of its other systems with that behind it.

    `architecture` is `uname -m`'s word. `systems` are those it can have, by their files' stems in
    `targets/systems/`, the default one first; `software` says what that system has, and what the
    profile itself says instead.
    """

    name: str
    title: Said
    architecture: Literal["aarch64", "x86_64", "any"]
    systems: tuple[Said, ...] = ()
    requires: Requirements = Requirements()
    hardware: Hardware = Hardware()
    emulation: Emulation | None = None
    software: Software = Software()

    @property
    def board(self) -> str:
        """Its name without that of a system: what holds for the board with any of them."""
        return self.name.removesuffix(f"-{self.requires.os}") if self.requires.os else self.name

    @property
    def default_device(self) -> str:
        """The device used where none is named: the emulated board if there is one."""
        return "virtual" if self.emulation else "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What a device reported of itself (the runner's `probe`); empty or None is 'it did not say'.

    `cpu_model` is the model name, on ARM the part number; `throttled` is the Raspberry Pi
    firmware's flags.
    """

    machine: str
    cpu_model: str
    cores: int
    memory_bytes: int
    python: str
    glibc: str
    os: str
    cpu_features: tuple[str, ...] = ()
    board: str = ""
    governor: str = ""
    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttled: str | None = None
    runtimes: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What to call it in a table: `Raspberry Pi 4 Model B, 4 cores, aarch64`."""
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return f"{self.board or self.cpu_model or 'unknown CPU'}, {cores}, {self.machine}"


def own_names() -> list[str]:
    """Return the names of the targets that ship with edgekit, each with its default system."""
    return sorted(path.stem for path in shelf("targets").glob("*.toml"))


def system_names() -> list[str]:
    """Return the names of the systems whose boards can be emulated."""
    return sorted(path.stem for path in (shelf("targets") / "systems").glob("*.toml"))


def load_system(name: str) -> Software:
    """Return what a system has; raises BadTarget for one that no one knows."""
    if name not in system_names():
        raise BadTarget(did_you_mean("system", name, system_names()))
    path = shelf("targets") / "systems" / f"{name}.toml"
    return read_toml(path, Software, error=BadTarget, remedy="restore it")


def target_names() -> list[str]:
    """Return the names of all targets, plug-ins' too, and of our boards with their other systems.

    A default system's own name (`rpi4-bookworm`) is understood and not listed.
    """
    others = [f"{name}-{other}" for name in own_names() for other in load_target(name).systems[1:]]
    return sorted((*own_names(), *others, *plugins("targets", own_names())))


def with_system(name: str, system: str | None) -> str:
    """Return the name of a target's board with this system, None: as it is named.

    Raises BadTarget for a user's own file, which says its system itself.
    """
    if system is None:
        return name
    if name.endswith(".toml"):
        raise BadTarget(f'--os is for boards by name: write systems = ["{system}"] into {name}')
    return f"{name}-{system}"


def load_target(name_or_path: str) -> Target:
    """Return a target by its name, or from the user's own TOML file (a path ending in .toml).

    A name may end with one of the target's systems: `rpi4-trixie`. Raises BadTarget in one line:
    with the nearest names, or the file and field that is wrong; BrokenPlugin where a plug-in's
    file is not there.
    """
    if name_or_path.endswith(".toml"):
        return _on_system(_read(Path(name_or_path)))
    if path := _file_of(name_or_path):
        return _on_system(_read(path))
    board, dash, system = name_or_path.rpartition("-")
    if dash and system in system_names() and (path := _file_of(board)):
        target = _read(path)
        if system not in target.systems:
            has = " or ".join(target.systems) or "no system of ours"
            raise BadTarget(f"{board} has {has}, not {system}")
        return _on_system(target, system)
    known = did_you_mean("target", name_or_path, target_names())
    raise BadTarget(f"{known} (or give a path to your own .toml)")


def _file_of(name: str) -> Path | None:
    """Return where the target of that name is written down, by us or by a plug-in."""
    if name in own_names():
        return shelf("targets") / f"{name}.toml"
    plugin = plugins("targets").get(name)
    return plugin.file(f"{name}.toml") if plugin else None


def _on_system(target: Target, system: str | None = None) -> Target:
    """Return the target with what its system has, the default one where none is named.

    Asked for by name, another system than the default is one that the device must report.
    """
    if not target.systems:
        return target
    default = target.systems[0]
    has, own = load_system(system or default), target.software
    said = {item.name: getattr(own, item.name) for item in fields(own)}
    software = replace(has, **{name: fact for name, fact in said.items() if fact is not None})
    if system in {None, default}:
        return replace(target, software=software)
    return replace(
        target,
        name=f"{target.name}-{system}",
        requires=replace(target.requires, os=system),
        software=software,
    )


def _read(path: Path) -> Target:
    try:
        target = read_toml(
            path,
            Target,
            error=BadTarget,
            remedy="targets/rpi4.toml shows the shape of a target",
            given={"name": path.stem},
        )
    except BadTarget as error:
        if "'arm" in str(error) and "architecture" in str(error):
            raise BadTarget(
                f"{error}; 32-bit systems are not supported, no runtime of ours has a package "
                "for them"
            ) from None
        raise
    for system in target.systems:
        if system not in system_names():
            raise BadTarget(f"{path}: {did_you_mean('system', system, system_names())}")
    return target


def matches(target: Target, facts: DeviceFacts) -> list[str]:
    """Return how a device's own report contradicts a target; empty where it can be that target.

    Each line shows both sides: `cores: 2, rpi4 has 4`.
    """
    wanted, name = target.requires, target.name
    if target.architecture not in {facts.machine, "any"}:
        # The rest would only repeat it: another architecture has other features and other names.
        return [f"architecture: {facts.machine!r}, {name} is {target.architecture!r}"]
    found = []
    if not facts.board.startswith(wanted.board):
        found.append(f"board: {facts.board!r}, {name} is {wanted.board!r}")
    if wanted.os not in facts.os:
        found.append(f"system: {facts.os!r}, {name} is {wanted.os}")
    if wanted.cpu_model not in facts.cpu_model:
        found.append(f"CPU: {facts.cpu_model!r}, {name} has {wanted.cpu_model!r} in its name")
    present = set(facts.cpu_features)
    if lacking := [feature for feature in wanted.features if feature not in present]:
        found.append(f"CPU features: without {', '.join(lacking)}, {name} has them")
    if extra := [feature for feature in wanted.absent if feature in present]:
        found.append(f"CPU features: with {', '.join(extra)}, {name} is without (other kernels)")
    if facts.cores < wanted.cores:
        found.append(f"cores: {facts.cores}, {name} has {wanted.cores}")
    return found


def check_device(target: Target, facts: DeviceFacts, device: str) -> None:
    """Raise BadTarget where the device is not the target: why, and what would reach it."""
    reasons = matches(target, facts)
    if not reasons:
        return
    own = f", or --target {HOST} to measure this machine as itself" if device == "local" else ""
    raise BadTarget(
        f"{device} is not {target.name} ({target.title}): {'; '.join(reasons)}. "
        f"Nothing was measured: {how_to_reach(target)}{own}"
    )


def how_to_reach(target: Target) -> str:
    """Return the devices that answer for a target, as the options to give."""
    if target.name == HOST:
        return "--device local (measured)"
    if target.emulation:
        return (
            "--device virtual (emulated: outputs and instruction counts, no latency) "
            "or --device ssh://pi@HOST (measured)"
        )
    return (
        f"run edgekit on such a machine ({target.title}), "
        "or give one as --device ssh://USER@HOST (measured)"
    )
