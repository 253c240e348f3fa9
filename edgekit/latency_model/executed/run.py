"""What one inference executes on an emulated board: issue cycles and cache lines, no time yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.devices.emulator import counting
from edgekit.devices.emulator.counting import Block, Cache
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.emulator.sysroot import home, installed, lock_of, sysroot_folder
from edgekit.devices.virtual import VirtualDevice
from edgekit.errors import BadTarget, DeviceError
from edgekit.files import write_whole
from edgekit.latency_model.evidence import folder
from edgekit.latency_model.executed.issue_table import Core, classes_of, core
from edgekit.latency_model.operators import workload_of
from edgekit.paths import cache_folder
from edgekit.runtimes.table import find_runtime
from edgekit.session import MARKED, entry, lay_out, put_noise

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.targets import Target

SHIPPED = Path("executed") / "shipped.json"
"""The counts of common networks, in the folder of the evidence.

benchmarks/scripts/ship_counts.py writes them."""

LARGE_MACS = 200_000_000
"""From so many multiply-accumulates on, one inference is run and counted. In smaller networks the
first is left out: it sets things up and warms the caches. In MobileNet v2 (300 M, fp32, rpi4)
counting the first instead adds 0.00 % (ncnn), 0.01 % (LiteRT), 0.3 % (ONNX Runtime) and 0.8 %
(OpenVINO) to the instructions, and at most 1.8 % to what comes from memory or goes there."""
_FLOAT, _INTEGER = "fp_", ("int_", "shift", "permute", "zip", "reduce", "dot", "matrix")


@dataclass(frozen=True, kw_only=True)
class Work:
    """One inference on one thread. Cycles are a core's issue bound, by what bounds a block:
    vector arithmetic in floating point, in integers, or anything else.

    `refilled` counts the 64-byte lines that came into the first-level cache, `shared` those that a
    cache of one thread's share had to fetch; `memory` those that came from memory and
    `written_back` those that went there.
    """

    instructions: float
    float_cycles: float
    integer_cycles: float
    other_cycles: float
    refilled: float
    shared: float
    memory: float
    written_back: float


def work_of(blocks: Iterable[Block], of_core: Core) -> Work:
    """Return the sums over the blocks of a run that simulated `caches_of` its board."""
    cycles = {"float": 0.0, "integer": 0.0, "other": 0.0}
    instructions = refilled = shared = memory = written_back = 0.0
    for block in blocks:
        classes = classes_of(block.code)
        held = of_core.cycles(classes)
        cycles[_bound(of_core, classes, held)] += held * block.executions
        instructions += len(block.code) / 4 * block.executions
        first, share, last = block.fetched
        refilled, shared, memory = refilled + first, shared + share, memory + last
        written_back += block.written_back[-1]
    return Work(
        instructions=instructions,
        float_cycles=cycles["float"],
        integer_cycles=cycles["integer"],
        other_cycles=cycles["other"],
        refilled=refilled,
        shared=shared,
        memory=memory,
        written_back=written_back,
    )


def caches_of(target: Target) -> tuple[Cache, Cache, Cache]:
    """Return a board's caches as one thread sees them: its own, its share, the shared one.

    The share is a quarter of the shared cache, or the core's own second level where it has one.
    Raises BadTarget where the profile does not say the sizes.
    """
    hardware = target.hardware
    if not hardware.l1d_kilobytes or not hardware.l2_kilobytes or not hardware.cores:
        raise BadTarget(f"{target.name} has no cache sizes in its profile: a run needs them")
    first, second = hardware.l1d_kilobytes.value, hardware.l2_kilobytes.value
    ways = core(_core_name(target)).ways
    if hardware.l3_kilobytes:
        share, last = second, hardware.l3_kilobytes.value
    else:
        share, last = second // hardware.cores.value, second
    sizes = zip((first, share, last), ways, strict=True)
    return tuple(Cache(size * 1024, many) for size, many in sizes)  # type: ignore[return-value]


def executed(target: Target, artifact: Artifact, runtime: str, timeout: float = 600) -> Work:
    """Return what one inference of an artifact executes on the target's virtual board.

    It is kept in the user's cache: the same artifact, runtime, board and tables give the same
    counts. Those of common networks ship with edgekit. Raises DeviceError where the board is not
    installed, where there is no C compiler, or where the artifact dies there.
    """
    if (found := known(target, artifact, runtime)) is not None:
        return found
    sysroot = installed(board_of(target))
    plugin = counting.plugin(sysroot.qemu, home() / "plugin")
    large = workload_of(artifact).macs >= LARGE_MACS
    with closing(VirtualDevice(sysroot)) as device:
        blocks = device.path / "blocks.txt"
        device.options = counting.options(
            plugin, device.path / "counts.txt", blocks, caches_of(target), first=large
        )
        session = lay_out(device, entry(artifact, runtime, MARKED))
        pixels = put_noise(device, artifact.manifest, 1)
        session.run("loop", timeout=timeout, count=1 if large else 2, **pixels)
        counted = counting.read_blocks(blocks, 1)
        work = work_of(counted, core(_core_name(target)))
    kept = _kept(target, artifact, runtime)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps(asdict(work)))
    return work


def known(target: Target, artifact: Artifact, runtime: str) -> Work | None:
    """Return what is counted already, in the user's cache or among the counts that ship."""
    kept = _kept(target, artifact, runtime)
    if kept.is_file():
        return Work(**json.loads(kept.read_text()))
    shipped = folder() / SHIPPED
    counts = json.loads(shipped.read_text())["counts"] if shipped.is_file() else {}
    found = counts.get(shipped_key(target, artifact, runtime))
    return Work(**found["work"]) if found else None


def why_not(target: Target, artifact: Artifact, runtime: str) -> str | None:
    """Return in one line why an artifact cannot be counted here; None where it can, or is."""
    if known(target, artifact, runtime) is not None:
        return None
    try:
        counting.plugin(installed(board_of(target)).qemu, home() / "plugin")
    except DeviceError as error:
        return str(error)
    return None


def shipped_key(target: Target, artifact: Artifact, runtime: str) -> str:
    """Return what a shipped count is of: operators and precision, not the weights' values.

    And the board with its locked release of the runtime, and its core's issue table. Which of its
    systems the board has changes a count by 0.3 % at most (docs/virtual-board.md).
    """
    manifest, work = artifact.manifest, workload_of(artifact)
    what = json.dumps([manifest.backend, manifest.precision, asdict(work)], sort_keys=True)
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    found = find_runtime(runtime)
    locked = {wheel.name: wheel.version for wheel in lock_of(board_of(target)).wheels}
    release = locked.get(found.distribution, "") if found else ""
    return f"{digest}-{runtime}-{release}-{target.board}-{core(_core_name(target)).digest}"


def _kept(target: Target, artifact: Artifact, runtime: str) -> Path:
    name = f"{artifact.sha256}-{counting.plugin_name()}-{_place(target, runtime)}.json"
    return cache_folder() / "executed" / name


def _place(target: Target, runtime: str) -> str:
    board = board_of(target)
    place = sysroot_folder(board, lock_of(board)).name
    return f"{runtime}-{place}-{core(_core_name(target)).digest}"


def _bound(of_core: Core, classes: Mapping[str, int], held: float) -> str:
    """Return what kind of vector arithmetic fills most of a block's cycles, or 'other'."""
    share = {"float": 0.0, "integer": 0.0}
    for name, count in classes.items():
        pipes = of_core.classes[name]
        vector = count * sum(pipes.get(pipe, 0) for pipe in ("V", "V0", "V1"))
        if name.startswith(_FLOAT):
            share["float"] += vector
        elif name.startswith(_INTEGER):
            share["integer"] += vector
    kind = max(share, key=lambda kind: share[kind])
    return kind if share[kind] > 0.4 * held else "other"


def _core_name(target: Target) -> str:
    if target.emulation is None:
        raise BadTarget(f"{target.name} has no [emulation] in its profile: nothing can be run")
    return target.emulation.qemu_cpu
