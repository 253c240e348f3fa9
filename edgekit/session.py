"""An artifact laid out on a device: put, run one job, read its events.

    entry(artifact) ── lay_out(device, …) ─▶ Session ── run("bench", …) ─▶ events
                                                     ── outputs(…) ─▶ Outputs by name

Everything that runs an artifact anywhere goes through here: benchmarks, accuracy, golden tests,
emulated proofs, profiles, counts, predictions and the conformance suite.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import MANIFEST, Artifact, Manifest
from edgekit.backends import load_backend, runtime_for
from edgekit.devices import Device
from edgekit.errors import DeviceError, JobFailed, MissingPackage
from edgekit.files import sha256
from edgekit.paths import ONBOARD
from edgekit.runtimes.table import Environment, environment_of, find_runtime
from edgekit.scratch import scratch_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.outputs import Outputs
    from edgekit.spec import InputSpec
    from edgekit.targets import DeviceFacts

RUNNER = "runner.py"
MARKED = "marked.py"
"""The runner with a mark around each inference, for counting instructions."""
PROFILER = "profiler.py"
"""Which operators a runtime executes; it runs beside the runner."""
OUTPUTS = "outputs.npz"
PROBE_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An artifact, the runner's name of the runtime that loads it, and the program that does.

    `program` is what Python is given: a file of `onboard/`, or `-m` and a module of a backend
    whose artifacts run on this machine only.
    """

    artifact: Artifact
    runtime: str
    program: tuple[str, ...] = (RUNNER,)


def entry(artifact: Artifact, runtime: str | None = None, program: str = RUNNER) -> Entry:
    """Return how an artifact is run, in its backend's own runtime where none is named.

    `program` is the runner or MARKED or PROFILER; a backend with a program of its own keeps it.
    Raises UserError for a runtime that no one knows.
    """
    backend = artifact.manifest.backend
    own = load_backend(backend).PROGRAM
    return Entry(
        artifact=artifact,
        runtime=runtime_for(backend, runtime),
        program=("-m", own) if own else (program,),
    )


@dataclass(frozen=True, kw_only=True)
class Session:
    """An artifact laid out at `folder` in a device's work folder, with the program that runs it."""

    device: Device
    entry: Entry
    folder: str = "artifact"

    def run(
        self, task: str, *, timeout: float, threads: int = 1, **more: Any
    ) -> list[dict[str, Any]]:
        """Run one job on the artifact and return its events; `more` are the job's other fields.

        Raises DeviceError where the job failed, MissingPackage where this machine lacks the
        runtime.
        """
        job = {
            "task": task,
            "artifact": self.folder,
            "runtime": self.entry.runtime,
            "threads": threads,
            **more,
        }
        try:
            return run_job(
                self.device,
                job,
                timeout=timeout,
                program=self.entry.program,
                environment=environment_of(self.entry.runtime),
            )
        except JobFailed as error:
            if error.kind != "ModuleNotFoundError":
                raise
            if self.device.name == "local":
                raise self._missing() from None
            if self.device.provenance == "emulated":
                raise DeviceError(
                    f"{self.device.name} has no {self.entry.runtime}: that has no wheel for the "
                    "board's Python; choose another runtime, or the board with another system"
                ) from None
            raise

    def outputs(
        self, given: dict[str, Any], count: int, *, timeout: float
    ) -> tuple[Outputs, dict[str, Any]]:
        """Return the artifact's outputs on `count` inputs by name, and the runner's event.

        `given` is what `put_pixels` or `put_images` returned. Raises as `run`.
        """
        from edgekit.outputs import read_outputs

        event = self.run("outputs", timeout=timeout, save=OUTPUTS, **given)[-1]
        with scratch_folder() as scratch:
            saved = Path(scratch) / OUTPUTS
            self.device.fetch(OUTPUTS, saved)
            return read_outputs(saved, self.entry.artifact.manifest.outputs, count), event

    def _missing(self) -> MissingPackage:
        runtime = find_runtime(self.entry.runtime)
        name = runtime.distribution if runtime else self.entry.runtime
        backend = load_backend(self.entry.artifact.manifest.backend)
        # The extra brings the backend's own runtime, not the others that can load its artifacts.
        return MissingPackage(name, backend.EXTRA if name in backend.PACKAGES else "")


def lay_out(device: Device, item: Entry, folder: str = "artifact") -> Session:
    """Put the runner, the program and the artifact on a device, each read back by its hash.

    Raises DeviceError where what arrived is not what was sent.
    """
    put_runner(device)
    if item.program[0] in {MARKED, PROFILER}:
        put_program(device, item.program[0])
    put_artifact(device, item.artifact, folder)
    return Session(device=device, entry=item, folder=folder)


def put_pixels(device: Device, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Put pixels, uint8 N×H×W×C, and return what a job says of them."""
    import numpy as np

    with scratch_folder() as scratch:
        file = Path(scratch) / "pixels.npy"
        np.save(file, pixels)
        device.put(file, file.name)
    return {"pixels": "pixels.npy"}


def put_samples(device: Device, samples: Sequence[Any]) -> dict[str, Any]:
    """Put samples, pixels of images or arrays by input name, and return what a job says of them."""
    import numpy as np

    if not isinstance(samples[0], dict):
        return put_pixels(device, np.asarray(samples))
    from edgekit.onboard.runner import save_arrays

    with scratch_folder() as scratch:
        file = Path(scratch) / "samples.npz"
        save_arrays(file, {name: np.stack([s[name] for s in samples]) for name in samples[0]})
        device.put(file, file.name)
    return {"samples": "samples.npz"}


def put_noise(device: Device, manifest: Manifest, count: int) -> dict[str, Any]:
    """Put seeded noise that fits an artifact, and return what a job says of it.

    For what depends on no value: which operators run, how many instructions they take.
    """
    if not manifest.tensors:
        return put_pixels(device, noise(manifest.image, count))
    from edgekit.data.samples import noise_samples

    return put_samples(device, noise_samples(manifest.input, manifest.tensors, count))


def put_images(device: Device, images: Sequence[Path]) -> dict[str, Any]:
    """Put image files and return what a job says of them; the board decodes them itself."""
    names = [f"images/{index:04d}{image.suffix.lower()}" for index, image in enumerate(images)]
    for name, image in zip(names, images, strict=True):
        device.put(image, name)
    return {"images": names}


def noise(spec: InputSpec, count: int) -> NDArray[np.uint8]:
    """Return seeded noise at an artifact's input size, uint8 N×H×W×C.

    For what depends on no pixel: which operators run, how many instructions they take.
    """
    import numpy as np

    shape = (count, spec.height, spec.width, spec.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def put_runner(device: Device) -> None:
    """Put the runner on the device and read its hash back. Raises DeviceError where they differ."""
    put_program(device, RUNNER)


def put_program(device: Device, name: str) -> None:
    """Put one of our own files that run on a board, as put_runner does."""
    _put_checked(device, ONBOARD / name, name)


def put_artifact(device: Device, artifact: Artifact, name: str) -> None:
    """Put an artifact's folder at `name` and compare every file's hash, as read back.

    Raises DeviceError where what arrived is not what was sent.
    """
    for file in artifact.manifest.files:
        _put_checked(device, artifact.folder / file.name, f"{name}/{file.name}", file.sha256)
    _put_checked(device, artifact.folder / MANIFEST, f"{name}/{MANIFEST}")


def _put_checked(device: Device, source: Path, name: str, expected: str = "") -> None:
    device.put(source, name)
    if device.sha256(name) != (expected or sha256(source)):
        raise DeviceError(
            f"{name} arrived damaged on {device.name}: check its disk, then try again"
        )


def run_job(
    device: Device,
    job: dict[str, Any],
    *,
    timeout: float,
    program: Sequence[str] = (RUNNER,),
    environment: Environment = "main",
) -> list[dict[str, Any]]:
    """Run one job of the runner's and return its events: the JSON objects with an `event`.

    What libraries print between them is passed over. Raises JobFailed with the runner's own
    words where the job failed, DeviceError with the last line of standard error where the runner
    died.
    """
    with scratch_folder() as scratch:
        file = Path(scratch) / "job.json"
        file.write_text(json.dumps(job))
        device.put(file, "job.json")
    completed = device.run([*program, "job.json"], timeout=timeout, environment=environment)
    objects = [_object(line) for line in completed.stdout.splitlines()]
    events = [item for item in objects if "event" in item]
    for item in objects:
        if "error" in item and "event" not in item:
            kind = str(item.get("kind", "error"))
            words = f"{device.name}: {kind}: {item['error']}"
            if kind == "ModuleNotFoundError" and device.name.startswith("ssh://"):
                words += f": edgekit device provision {device.name}"
            raise JobFailed(words, kind)
    if completed.exit_code or not events:
        last = completed.stderr.decode(errors="replace").strip().splitlines()[-1:]
        ending = f"signal {-completed.exit_code}" if completed.exit_code < 0 else "no result"
        raise DeviceError(f"{device.name}: the runner ended with {ending}: {''.join(last)}")
    return events


def _object(line: bytes) -> dict[str, Any]:
    """Return the JSON object a line holds, or an empty one."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def probe(device: Device) -> DeviceFacts:
    """Return what the device reports of itself; the runner must be there. Raises DeviceError."""
    import msgspec

    from edgekit.targets import DeviceFacts

    event = run_job(device, {"task": "probe"}, timeout=PROBE_TIMEOUT_S)[-1]
    try:
        return msgspec.convert(event, DeviceFacts)
    except msgspec.ValidationError as error:
        raise DeviceError(f"{device.name} reports itself wrongly: {error}") from None
