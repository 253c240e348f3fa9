"""Accuracy of artifacts on labelled images, in the very runtime that will serve them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgekit.accuracy import Score, Share, paired_difference, share
from edgekit.artifact import Artifact
from edgekit.backends import runtime_for
from edgekit.data import Dataset, SplitName, SplitPlan, check_labels, open_dataset
from edgekit.data.assessment import Assessment, assess, shares
from edgekit.data.decoded import Decoded, centre, decode_all, frame_of
from edgekit.devices import Device, open_device, put_artifact, put_runner, run_job
from edgekit.errors import UserError
from edgekit.files import sha256
from edgekit.results import AccuracyRecord, Provenance
from edgekit.spec import OutputSpec
from edgekit.targets import Target
from edgekit.verify import Outputs, decisions, read_outputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 3600.0
DEFAULT_PLAN = SplitPlan()
FACE_OUTPUTS = ("age_", "gender_")
"""What an AccuracyRecord has places for; other outputs are in the table and --json alone."""

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class EvaluateRequest:
    """Which artifacts to judge, on which side of which dataset, and where they run.

    `limit` takes so many images of the split, drawn by a fixed seed, for slow devices; the first
    ones would not do: files are often sorted by what they show.
    `runtime` replaces the backend's own, by the runner's name. `workers` processes share the
    images of an artifact, one thread each.
    """

    artifacts: tuple[Artifact, ...]
    data: str
    target: Target
    split: SplitName = "test"
    plan: SplitPlan = DEFAULT_PLAN
    limit: int | None = None
    device: str = "local"
    runtime: str | None = None
    workers: int = 2


@dataclass(frozen=True)
class Evaluation:
    """One artifact's scores, beside the fp32 artifact of the same model where that was judged too.

    `agreement` is the share of images on which every decision equals the fp32 artifact's, in per
    cent; `change` is each output's accuracy less that artifact's, in points, paired by image.
    """

    artifact: Artifact
    device: str
    provenance: Provenance
    split: SplitName
    assessment: Assessment
    broken: int
    agreement: Share | None
    change: dict[str, Share]


def evaluate(
    request: EvaluateRequest, say: Say = lambda step, text: None
) -> tuple[Evaluation, ...]:
    """Return one evaluation an artifact, in order.

    Raises UserError where nothing is to be judged, BadData where the labels are not the model's
    or nothing can be decoded, DeviceError where an artifact does not run.
    """
    if not request.artifacts:
        raise UserError("nothing to judge: give artifacts of onnx, tflite or openvino")
    say("data", "reading labels")
    dataset = open_dataset(request.data, request.plan).split(request.split)
    if request.limit is not None:
        dataset = _drawn(dataset, request.limit)
    chosen: list[dict[str, NDArray[np.int64]]] = []
    decoded: list[Decoded] = []
    provenances: list[Provenance] = []
    for artifact in request.artifacts:
        spec = artifact.manifest.input
        check_labels(dataset, artifact.manifest.outputs)
        say("data", f"decoding {len(dataset.samples)} images to {spec.width}x{spec.height}")
        images = decode_all(dataset, frame_of(spec), request.workers)
        say("run", artifact.label)
        outputs, provenance = _outputs(request, artifact, centre(images.pixels, spec))
        chosen.append(_decide(outputs, artifact.manifest.outputs))
        decoded.append(images)
        provenances.append(provenance)
    say("run", "done")
    return tuple(
        _judge(request, index, chosen, decoded[index], provenances[index])
        for index in range(len(request.artifacts))
    )


def _judge(
    request: EvaluateRequest,
    index: int,
    chosen: Sequence[dict[str, NDArray[np.int64]]],
    images: Decoded,
    provenance: Provenance,
) -> Evaluation:
    """Return one artifact's evaluation from every artifact's decisions."""
    import numpy as np

    artifact, ours = request.artifacts[index], chosen[index]
    assessment = assess(images.dataset, {name: list(value) for name, value in ours.items()})
    reference = _fp32_of(request.artifacts, artifact)
    agreement, change = None, {}
    if reference is not None:
        theirs = chosen[reference]
        agreement = share(np.all([ours[name] == theirs[name] for name in ours], axis=0))
        change = {
            score.output: paired_difference(
                ours[score.output], theirs[score.output], images.dataset.take(score.output)
            )
            for score in assessment.scores
        }
    return Evaluation(
        artifact,
        request.device,
        provenance,
        request.split,
        assessment,
        len(images.broken),
        agreement,
        change,
    )


def _fp32_of(artifacts: Sequence[Artifact], artifact: Artifact) -> int | None:
    """Return the place of the fp32 artifact to compare with: same model and backend."""
    wanted = (artifact.manifest.model, artifact.manifest.backend, "fp32")
    for index, other in enumerate(artifacts):
        manifest = other.manifest
        if (
            other is not artifact
            and (manifest.model, manifest.backend, manifest.precision) == wanted
        ):
            return index
    return None


def _drawn(dataset: Dataset, limit: int) -> Dataset:
    count = min(limit, len(dataset.samples))
    return replace(dataset, samples=tuple(random.Random(0).sample(dataset.samples, count)))


def _decide(outputs: Outputs, specs: Sequence[OutputSpec]) -> dict[str, NDArray[np.int64]]:
    """Return the class index of every image by output name, for outputs that decide something."""
    decided = {spec.name: decisions(outputs[spec.name], spec) for spec in specs}
    return {name: value for name, value in decided.items() if value is not None}


def _outputs(
    request: EvaluateRequest, artifact: Artifact, pixels: NDArray[np.uint8]
) -> tuple[Outputs, Provenance]:
    """Run the images through the artifact, shared out over as many devices of the same kind."""
    import numpy as np

    shards = [shard for shard in np.array_split(pixels, request.workers) if len(shard)]
    devices = [open_device(request.device, request.target) for _ in shards]
    with ThreadPoolExecutor(len(shards)) as pool:
        try:
            jobs = zip(devices, shards, strict=True)
            parts = list(pool.map(lambda job: _shard(request, artifact, *job), jobs))
        finally:  # after Ctrl-C, too: the pool waits for what still runs on them
            for device in devices:
                device.close()
    names = [output.name for output in artifact.manifest.outputs]
    outputs = {name: np.concatenate([part[name] for part, _ in parts]) for name in names}
    return outputs, parts[0][1]


def _shard(
    request: EvaluateRequest, artifact: Artifact, device: Device, pixels: NDArray[np.uint8]
) -> tuple[Outputs, Provenance]:
    import numpy as np

    job: dict[str, Any] = {
        "task": "outputs",
        "artifact": "artifact",
        "runtime": runtime_for(artifact.manifest.backend, request.runtime),
        "threads": 1,
        "pixels": "pixels.npy",
        "save": "outputs.npz",
    }
    with TemporaryDirectory(prefix="edgekit-") as scratch:
        np.save(Path(scratch) / "pixels.npy", pixels)
        device.put(Path(scratch) / "pixels.npy", "pixels.npy")
        put_runner(device)
        put_artifact(device, artifact, "artifact")
        run_job(device, job, timeout=TIMEOUT_S)
        saved = Path(scratch) / "outputs.npz"
        device.fetch("outputs.npz", saved)
        outputs = read_outputs(saved, artifact.manifest.outputs, len(pixels))
        return outputs, device.provenance


def record(evaluation: Evaluation, data: str, command: str) -> AccuracyRecord:
    """Return what is saved of an evaluation and printed by the report."""
    manifest, assessment = evaluation.artifact.manifest, evaluation.assessment
    named: dict[str, Any] = shares(assessment)
    faces = {name: value for name, value in named.items() if name.startswith(FACE_OUTPUTS)}
    saved = AccuracyRecord(
        model=manifest.model,
        backend=manifest.backend,
        precision=manifest.precision,
        artifact=evaluation.artifact.sha256,
        dataset=assessment.dataset,
        dataset_sha256=sha256(Path(data)) if Path(data).is_file() else "",
        split=evaluation.split,
        protocol=assessment.protocol,
        images=assessment.images,
        provenance=evaluation.provenance,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        device=evaluation.device,
        confusion=tuple(item.matrix for item in assessment.scores),
    )
    return replace(saved, **faces)


def row(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a table row: shares in per cent, changes in points."""
    manifest = evaluation.artifact.manifest
    cells: dict[str, Any] = {
        "model": manifest.model,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "images": evaluation.assessment.images,
    }
    cells |= {name: round(value, 2) for name, value in shares(evaluation.assessment).items()}
    for score in evaluation.assessment.scores:
        cells[f"{score.output}_accuracy_count"] = score.exact.count
        if score.one_off is not None:
            cells[f"{score.output}_1off_count"] = score.one_off.count
        cells[f"{score.output}_lowest_recall"] = round(score.lowest_recall, 2)
        cells[f"{score.output}_change_points"] = _points(evaluation, score)
    agreement = evaluation.agreement
    cells["agreement_with_fp32"] = None if agreement is None else round(agreement.percent, 2)
    cells |= {
        "split": evaluation.split,
        "protocol": evaluation.assessment.protocol,
        "provenance": evaluation.provenance,
    }
    return cells


def _points(evaluation: Evaluation, score: Score) -> str | None:
    change = evaluation.change.get(score.output)
    if change is None:
        return None
    return f"{change.percent:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
