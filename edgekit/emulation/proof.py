"""What an emulated board proves of an artifact: that it loads, what it answers, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekit.artifact import MANIFEST, Artifact, OutputParity
from edgekit.devices import Device
from edgekit.devices.emulator import counting
from edgekit.devices.emulator.counting import InstructionCount
from edgekit.devices.emulator.sysroot import Sysroot, home
from edgekit.devices.local import LocalDevice
from edgekit.devices.virtual import VirtualDevice
from edgekit.errors import DeviceError, MissingPackage
from edgekit.paths import ONBOARD
from edgekit.runtimes.locks import Lock
from edgekit.session import RUNNER, put_artifact, put_runner, run_job

if TYPE_CHECKING:
    from edgekit.outputs import Outputs

_MARKED = ONBOARD / "marked.py"
DEFAULT_RUNTIMES = {
    "onnx": "onnxruntime",
    "tflite": "ai_edge_litert",
    "openvino": "openvino",
    "null": "null",
}
# The first inference sets things up and is not counted; of three more one outlier moves nothing.
_MIN_INFERENCES = 4
_OUTPUTS = "outputs.npz"


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
    runtimes: Mapping[str, str] = DEFAULT_RUNTIMES,
    workers: int = 2,
    timeout: float = 300,
) -> tuple[Proof, ...]:
    """Run each artifact on the emulated board and here, and return what that proves, in order.

    `runtimes` names each backend's runtime ({"tflite": "tflite_runtime"} is the alternative).
    One emulator process per artifact loads it, answers every image and counts; `workers` of them
    run at once. An artifact that dies is a Proof with its failure; DeviceError is for a host that
    cannot run the comparison.
    """
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(
                _verify,
                sysroot,
                artifact,
                list(images),
                {**DEFAULT_RUNTIMES, **runtimes}[artifact.manifest.backend],
                timeout,
            )
            for artifact in artifacts
        ]
        return tuple(job.result() for job in jobs)


def footprint(artifact: Artifact, lock: Lock, runtime: str) -> Footprint:
    """Return what a board needs for this artifact in this runtime."""
    place = "numpy1" if runtime == "tflite_runtime" else "main"
    needed = {(runtime.replace("_", "-"), place), ("numpy", place), ("pillow", "main")}
    files = [(file.name, file.bytes) for file in artifact.manifest.files]
    files.append((MANIFEST, (artifact.folder / MANIFEST).stat().st_size))
    files.append((RUNNER, (ONBOARD / RUNNER).stat().st_size))
    wheels = [(w.file, w.bytes) for w in lock.wheels if (w.name, w.place) in needed]
    return Footprint(tuple(files), tuple(wheels))


def _verify(
    sysroot: Sysroot, artifact: Artifact, images: list[Path], runtime: str, timeout: float
) -> Proof:
    from edgekit.outputs import compare_outputs, read_outputs

    outputs = artifact.manifest.outputs
    repeated = [images[index % len(images)] for index in range(max(len(images), _MIN_INFERENCES))]
    proof = partial(
        Proof,
        board=sysroot.board.name,
        artifact=artifact.sha256,
        label=artifact.label,
        runtime=runtime,
        footprint=footprint(artifact, sysroot.lock, runtime),
    )
    with closing(VirtualDevice(sysroot)) as device:
        _lay_out(device, artifact, repeated)
        device.put(_MARKED, _MARKED.name)
        counts = device.path / "counts.txt"
        try:
            plugin = counting.plugin(sysroot.qemu, home() / "plugin")
        except DeviceError as error:
            program, missing = RUNNER, str(error)
        else:
            program, missing = _MARKED.name, ""
            device.options = counting.options(plugin, counts)
        try:
            event = _run(device, _job(runtime, len(repeated)), timeout, program)
            ours = read_outputs(device.existing(_OUTPUTS), outputs, len(repeated))
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
    theirs = _host_outputs(artifact, repeated, runtime, timeout)
    differences = compare_outputs(ours, theirs, outputs)
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


def _host_outputs(artifact: Artifact, images: list[Path], runtime: str, timeout: float) -> Outputs:
    """Return this machine's outputs, by the same runner in a process of its own."""
    from edgekit.outputs import read_outputs

    # tflite-runtime's successor stands in for it: it can be installed on any host.
    name = "ai_edge_litert" if runtime == "tflite_runtime" else runtime
    if name != "null" and find_spec(name) is None:
        raise MissingPackage(name.replace("_", "-"), artifact.manifest.backend)
    with closing(LocalDevice()) as host:
        _lay_out(host, artifact, images)
        _run(host, _job(name, len(images)), timeout)
        return read_outputs(host.existing(_OUTPUTS), artifact.manifest.outputs, len(images))


def _lay_out(device: Device, artifact: Artifact, images: list[Path]) -> None:
    """Put the runner, the artifact and the images on a device."""
    put_runner(device)
    put_artifact(device, artifact, "artifact")
    for index, image in enumerate(images):
        device.put(image, f"image-{index}")


def _job(runtime: str, images: int) -> dict[str, Any]:
    """Return an `outputs` job for that many image files."""
    return {
        "task": "outputs",
        "artifact": "artifact",
        "runtime": runtime,
        "threads": 1,
        "save": _OUTPUTS,
        "images": [f"image-{index}" for index in range(images)],
    }


def _run(
    device: Device, job: Mapping[str, Any], timeout: float, program: str = RUNNER
) -> dict[str, Any]:
    """Run a job and return its `outputs` event; DeviceError where it printed none."""
    for event in run_job(device, job, timeout=timeout, program=[program]):
        if event["event"] == "outputs":
            return event
    raise DeviceError(f"{device.name}: the runner ended well but printed no 'outputs' event")
