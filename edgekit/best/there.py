"""One artifact on the board: its answers, what they cost, and why it may not be shipped there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact
from edgekit.conversion.board import Cost
from edgekit.devices import open_device
from edgekit.devices.emulator import counting
from edgekit.devices.emulator.sysroot import home
from edgekit.devices.virtual import VirtualDevice
from edgekit.errors import DeviceError, EdgekitError
from edgekit.session import MARKED, entry, lay_out, put_samples
from edgekit.targets import Target

if TYPE_CHECKING:
    from edgekit.outputs import Outputs

TIMEOUT_S = 3600.0
EMULATED_S_PER_MAC = 8e-9
"""What a float multiply-accumulate takes an emulated board at most (docs/virtual-board.md)."""
PROOF_S = 60.0
"""The time that one artifact's proof may take an emulated board; its images are chosen by it."""
LEAST_IMAGES = 4
"""The first inference sets things up; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The board: a target, and the device that answers for it."""

    target: Target
    device: str

    @property
    def emulated(self) -> bool:
        """Whether an emulator answers, which has no time."""
        return self.device == "virtual"

    @property
    def workers(self) -> int:
        """How many artifacts may run at once: what is measured runs alone."""
        return 2 if self.emulated else 1

    def images(self, artifact: Artifact, have: int, seconds: float) -> int:
        """Return how many of `have` images an artifact can answer there in so many seconds."""
        if not self.emulated:
            return have
        each = (artifact.manifest.source.macs or 0) * EMULATED_S_PER_MAC
        able = math.floor(seconds / each) if each else have
        return min(have, max(able, LEAST_IMAGES))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What an artifact answered there; `failure` is empty, or one line on what it died of."""

    outputs: Outputs
    instructions: int | None = None
    doubt: str = ""
    failure: str = ""


def answers(place: Place, artifact: Artifact, samples: Sequence[Any], *, count: bool) -> Ran:
    """Run samples through an artifact on the board; with `count` its instructions are counted.

    A device that cannot be had at all raises DeviceError; an artifact that dies there does not.
    """
    instructions, doubt = None, ""
    with closing(open_device(place.device, place.target)) as device:
        item, counts = entry(artifact), None
        if count and isinstance(device, VirtualDevice):
            try:
                plugin = counting.plugin(device.sysroot.qemu, home() / "plugin")
            except DeviceError as error:
                doubt = str(error)
            else:
                counts = device.path / "counts.txt"
                item = replace(item, program=(MARKED,))
                device.options = counting.options(plugin, counts)
        session = lay_out(device, item)
        given = put_samples(device, samples)
        try:
            outputs, _ = session.outputs(given, len(samples), timeout=TIMEOUT_S)
        except DeviceError as error:
            return Ran(outputs={}, failure=str(error))
        if counts is not None:
            instructions = counting.read_counts(counts).per_inference
    return Ran(outputs=outputs, instructions=instructions, doubt=doubt)


def shared(place: Place, artifact: Artifact, samples: Sequence[Any]) -> Ran:
    """Run many samples, shared by processes where an emulator answers; see `answers`."""
    import numpy as np

    each = -(-len(samples) // place.workers)
    parts = [samples[start : start + each] for start in range(0, len(samples), each)]
    with ThreadPoolExecutor(place.workers) as pool:
        jobs = [pool.submit(answers, place, artifact, part, count=False) for part in parts]
        ran = [job.result() for job in jobs]
    failures = [item.failure for item in ran if item.failure]
    if failures:
        return Ran(outputs={}, failure=failures[0])
    names = ran[0].outputs
    return Ran(outputs={name: np.concatenate([r.outputs[name] for r in ran]) for name in names})


def cost_of(place: Place, artifact: Artifact, instructions: int | None, results: Path) -> Cost:
    """Return what one inference takes there on one thread: measured, or else predicted."""
    if not place.emulated:
        return _measured(place, artifact, results)
    from edgekit.latency_model import Setting
    from edgekit.latency_model.executed.predictor import open_predictor

    hardware, runtime = place.target.hardware, entry(artifact).runtime
    if hardware.clock_mhz is None:
        return Cost(instructions=instructions, doubt=f"{place.target.name} has no clock_mhz")
    setting = Setting(
        target=place.target, runtime=runtime, threads=1, clock_mhz=float(hardware.clock_mhz.value)
    )
    predictor = open_predictor()
    try:
        if why := predictor.why_not(artifact, setting):
            return Cost(instructions=instructions, doubt=why)
        found = predictor.predict(artifact, setting)
    except EdgekitError as error:
        return Cost(instructions=instructions, doubt=str(error))
    return Cost(seconds=found.seconds, low=found.low, high=found.high, instructions=instructions)


def _measured(place: Place, artifact: Artifact, results: Path) -> Cost:
    from edgekit.data.images import ImageSet
    from edgekit.data.sample_images import sample_images
    from edgekit.data.samples import as_files, noise_samples
    from edgekit.measurement.bench import BenchRequest, bench
    from edgekit.measurement.stats import interval
    from edgekit.measurement.summary import verdict

    manifest = artifact.manifest
    inputs: ImageSet = sample_images()
    if manifest.tensors:
        inputs = as_files(noise_samples(manifest.input, manifest.tensors, 24))
    request = BenchRequest(
        entries=(entry(artifact),),
        target=place.target,
        images=inputs,
        results=results,
        threads=1,
        min_seconds=0.3,
        percentile="p50",
        command="edgekit convert --best",
    )
    with closing(open_device(place.device, place.target)) as device:
        (row,) = bench(request, device)
    sure = interval([item.invoke_s for item in row.rounds], "p50")
    if sure is None:
        return Cost(doubt=verdict(row))
    said = verdict(row)
    return Cost(
        seconds=sure.value, low=sure.low, high=sure.high, doubt="" if said == "ok" else said
    )
