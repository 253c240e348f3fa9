"""What an emulated board proves of an artifact: that it loads, what it answers, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.artifact import MANIFEST, Artifact, OutputParity
from edgekit.devices.emulator import counting
from edgekit.devices.emulator.counting import InstructionCount
from edgekit.devices.emulator.sysroot import Sysroot, home
from edgekit.devices.local import LocalDevice
from edgekit.devices.virtual import VirtualDevice
from edgekit.errors import DeviceError
from edgekit.paths import ONBOARD
from edgekit.runtimes.locks import Lock
from edgekit.runtimes.table import environment_of, find_runtime
from edgekit.session import MARKED, RUNNER, Entry, entry, lay_out, put_images

if TYPE_CHECKING:
    from edgekit.outputs import Outputs

# The first inference sets things up and is not counted; of three more one outlier moves nothing.
_MIN_INFERENCES = 4


@dataclass(frozen=True)
class Footprint:
    """What has to be on a board: names and bytes of our files and of the wheels to install."""

    files: tuple[tuple[str, int], ...]
    wheels: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        """All of it together."""
        return sum(size for _, size in (*self.files, *self.wheels))


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What one artifact did on an emulated board, in one runtime.

    `failure` is empty, or one line on what it died of; then the rest is empty. `outputs` are
    distances from the host's outputs on the same image files, `identical` where they are all 0.
    `peak_memory_bytes` is the program's own, without the emulator's. `instructions` is None where
    they could not be counted, and `not_counted` says why. No time is in it: there is none.
    """

    board: str
    artifact: str
    label: str
    runtime: str
    runtime_version: str
    failure: str
    images: int
    outputs: tuple[OutputParity, ...]
    peak_memory_bytes: int
    footprint: Footprint
    instructions: InstructionCount | None
    not_counted: str = ""
    provenance: Literal["emulated"] = "emulated"

    @property
    def identical(self) -> bool:
        """Whether every output equals the host's to the last bit."""
        return bool(self.outputs) and all(output.max_abs_diff == 0 for output in self.outputs)


def verify(
    sysroot: Sysroot,
    artifacts: Sequence[Artifact],
    images: Sequence[Path],
    *,
    runtime: str | None = None,
    workers: int = 2,
    timeout: float = 300,
) -> tuple[Proof, ...]:
    """Run each artifact on the emulated board and here, and return what that proves, in order.

    `runtime` is another than the backend's own: tflite_runtime.
    One emulator process per artifact loads it, answers every image and counts; `workers` of them
    run at once. An artifact that dies is a Proof with its failure; DeviceError is for a host that
    cannot run the comparison.
    """
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_verify, sysroot, entry(artifact, runtime), list(images), timeout)
            for artifact in artifacts
        ]
        return tuple(job.result() for job in jobs)


def footprint(artifact: Artifact, lock: Lock, runtime: str) -> Footprint:
    """Return what a board needs for this artifact in this runtime."""
    found, place = find_runtime(runtime), environment_of(runtime)
    half = artifact.manifest.precision == "fp16-compute"
    names = found.distributions(half=half) if found else frozenset({runtime})
    needed = {(name, place) for name in names}
    needed |= {("numpy", place), ("pillow", "main")}
    files = [(file.name, file.bytes) for file in artifact.manifest.files]
    files.append((MANIFEST, (artifact.folder / MANIFEST).stat().st_size))
    files.append((RUNNER, (ONBOARD / RUNNER).stat().st_size))
    wheels = [(w.file, w.bytes) for w in lock.wheels if (w.name, w.place) in needed]
    return Footprint(tuple(files), tuple(wheels))


def _verify(sysroot: Sysroot, item: Entry, images: list[Path], timeout: float) -> Proof:
    from edgekit.outputs import compare_outputs

    artifact, count = item.artifact, max(len(images), _MIN_INFERENCES)
    repeated = [images[index % len(images)] for index in range(count)]
    proof = partial(
        Proof,
        board=sysroot.board.name,
        artifact=artifact.sha256,
        label=artifact.label,
        runtime=item.runtime,
        footprint=footprint(artifact, sysroot.lock, item.runtime),
    )
    with closing(VirtualDevice(sysroot)) as device:
        counts = device.path / "counts.txt"
        try:
            plugin = counting.plugin(sysroot.qemu, home() / "plugin")
        except DeviceError as error:
            missing = str(error)
        else:
            missing, item = "", replace(item, program=(MARKED,))
            device.options = counting.options(plugin, counts)
        session = lay_out(device, item)
        given = put_images(device, repeated)
        try:
            ours, event = session.outputs(given, count, timeout=timeout)
        except DeviceError as error:
            peak = device.ended.peak_memory_bytes if device.ended else 0
            return proof(
                runtime_version="",
                failure=str(error),
                images=0,
                outputs=(),
                peak_memory_bytes=peak,
                instructions=None,
                not_counted=missing,
            )
        counted = None if missing else counting.read_counts(counts)
        peak = device.ended.peak_memory_bytes if device.ended else 0
    theirs = _host_outputs(item, repeated, timeout)
    differences = compare_outputs(ours, theirs, artifact.manifest.outputs)
    version = str(event.get("runtime_version", ""))
    return proof(
        runtime_version=version,
        failure="",
        images=len(images),
        outputs=differences,
        peak_memory_bytes=peak,
        instructions=counted,
        not_counted=missing,
    )


def _host_outputs(item: Entry, images: list[Path], timeout: float) -> Outputs:
    """Return this machine's outputs, by the same runner in a process of its own."""
    runtime = find_runtime(item.runtime)
    here = entry(item.artifact, (runtime and runtime.stand_in) or item.runtime)
    with closing(LocalDevice()) as host:
        session = lay_out(host, here)
        return session.outputs(put_images(host, images), len(images), timeout=timeout)[0]
