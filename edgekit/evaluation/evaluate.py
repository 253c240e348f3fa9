"""Accuracy of artifacts on labelled images, in the very runtime that will serve them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact, Manifest
from edgekit.backends import runtime_for
from edgekit.data import Dataset, Side, SplitPlan, check_labels, forms_of, open_dataset
from edgekit.data.images import check_findable
from edgekit.data.reframe import TITLE, reframe
from edgekit.data.stores import FolderStore
from edgekit.errors import BadData, UserError
from edgekit.evaluation.assessment import Assessment, Rating, Sure, assess, shares
from edgekit.evaluation.ratings import assessed, change_of, rate_boxes, rate_masks
from edgekit.evaluation.scores import Share, paired_difference, share
from edgekit.evaluation.shards import (
    Shard,
    ShardAnswer,
    labelled_output,
    run_shards,
    shard_count,
    shards_of,
)
from edgekit.executors import open_executor
from edgekit.files import sha256
from edgekit.progress import Say, silent
from edgekit.records import AccuracyRecord, Provenance, Rated
from edgekit.targets import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_PLAN = SplitPlan()
TOLD = ("image", "box", "row", "label file", "picture")
"""How the decisions of a reader begin that cost or change what is judged."""
FACE_OUTPUTS = ("age_", "gender_")
"""What an AccuracyRecord has places for; other outputs are in the table and --json alone."""


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Which artifacts to judge, on which side of which dataset, and where they run.

    `limit` takes so many images of the split, drawn by a fixed seed, for slow devices; the first
    ones would not do: files are often sorted by what they show.
    `runtime` replaces the backend's own, by the runner's name. The images of an artifact are
    shared by `workers` processes, one thread each, wherever `executor` runs them. With `reframe`
    the same images are judged a second time, each framed otherwise (data/reframe.py). With
    `find_subject` they are photographs, of which the largest face is judged. `abstain` is the
    confidence, 0 to 1, below which an answer would be withheld.
    """

    artifacts: tuple[Artifact, ...]
    data: str
    target: Target
    split: Side = "test"
    plan: SplitPlan = DEFAULT_PLAN
    limit: int | None = None
    device: str = "local"
    runtime: str | None = None
    workers: int = 2
    executor: str = "local"
    reframe: bool = False
    find_subject: bool = False
    abstain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One artifact's scores, beside the fp32 artifact of the same model where that was judged too.

    `device` is where it ran: local, virtual:rpi4 or an ssh address; `runtime` is the runner's name.
    `agreement` is the share of images on which every decision equals the fp32 artifact's, in per
    cent; `change` is each output's accuracy less that artifact's, in points, paired by image, or
    each rating's (`OUTPUT mAP50`). `left_out` has a line for each fault of the data that cost
    images, boxes or labels: how often, and where. `outside` counts the images of the dataset that
    are not of the split.
    """

    artifact: Artifact
    device: str
    runtime: str
    provenance: Provenance
    split: Side
    assessment: Assessment
    broken: int
    left_out: tuple[str, ...]
    agreement: Share | None
    change: dict[str, Share]
    outside: int = 0

    @property
    def reframed(self) -> bool:
        """Whether the images were framed otherwise than they are."""
        return self.assessment.protocol.endswith(TITLE)


def evaluate(request: EvaluateRequest, say: Say = silent) -> tuple[Evaluation, ...]:
    """Return one evaluation an artifact, in order; with `reframe` as many again, of those images.

    Raises UserError where nothing is to be judged, BadData where the labels are not the model's
    or nothing can be decoded, DeviceError where an artifact does not run.
    """
    if not request.artifacts:
        raise UserError("nothing to judge: give artifacts of onnx, tflite, openvino or ncnn")
    _check_scored(request.artifacts)
    say("data", "reading labels")
    for artifact in request.artifacts if request.reframe else ():
        _ = artifact.manifest.image  # what takes anything else is refused
    outputs = {o.name: o for artifact in request.artifacts for o in artifact.manifest.outputs}
    opened = open_dataset(
        request.data,
        replace(request.plan, judging=True),
        outputs=tuple(outputs.values()),
        side=None if request.split == "all" else request.split,
    )
    dataset = opened.split(request.split)
    outside = len(opened.samples) - len(dataset.samples)
    if request.reframe and dataset.holds != "classes":
        raise UserError(f"--reframe moves pictures and not their {dataset.holds}: leave it out")
    if request.limit is not None:
        dataset = _drawn(dataset, request.limit)
    evaluations = _evaluate(request, dataset, Path(request.data), say)
    if request.reframe:
        say("data", "reframing")
        moved = reframe(dataset)
        assert isinstance(moved.store, FolderStore)
        evaluations += _evaluate(request, moved, moved.store.root, say)
    return tuple(replace(item, outside=outside) for item in evaluations)


def _check_scored(artifacts: Iterable[Artifact]) -> None:
    """Raise UserError for an artifact of which no output can be scored against labels."""
    for artifact in artifacts:
        outputs = artifact.manifest.outputs
        if not forms_of(outputs):
            told = ", ".join(f"'{output.name}' is of kind {output.kind}" for output in outputs)
            raise UserError(
                f"evaluate scores classes, boxes, keypoints and masks, and {told}: where that is "
                "one of them, say its kind and labels in the spec, and convert again"
            )


def _evaluate(
    request: EvaluateRequest, dataset: Dataset, data: Path, say: Say
) -> tuple[Evaluation, ...]:
    """Return one evaluation an artifact on a dataset whose files are at `data`."""
    executor = open_executor(request.executor, request.workers)
    shards: list[Shard] = []
    ends = [0]
    for artifact in request.artifacts:
        if request.find_subject:
            check_findable(artifact.manifest.input)
        check_labels(dataset, artifact.manifest.outputs)
        shards += shards_of(
            artifact,
            dataset,
            data,
            request.target,
            request.device,
            request.runtime,
            shard_count(artifact, len(dataset.samples), request.device, request.workers),
            request.find_subject,
        )
        ends.append(len(shards))
    say("data", "done")
    answers = run_shards(
        shards, executor, lambda count: say("run", f"{count} of {len(shards)} shards")
    )
    say("run", "done")
    judged = [
        _joined(dataset, answers[start:end], artifact.manifest, request.find_subject)
        for artifact, (start, end) in zip(request.artifacts, itertools.pairwise(ends), strict=True)
    ]
    return tuple(_judge(request, index, judged) for index in range(len(request.artifacts)))


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """One artifact's decisions, by output, on the images that could be decoded; how sure.

    Or what it found in them, rated.
    """

    dataset: Dataset
    decided: dict[str, NDArray[np.int64]]
    sure: dict[str, Sure]
    ratings: tuple[Rating, ...]
    broken: frozenset[str]
    provenance: Provenance
    device: str


def _joined(
    dataset: Dataset,
    answers: Sequence[ShardAnswer],
    manifest: Manifest,
    find_subject: bool,
) -> _Judged:
    """Return the shards' answers as one. Raises BadData where no image is left."""
    import numpy as np

    broken = frozenset(name for answer in answers for name in answer.broken)
    readable = tuple(sample for sample in dataset.samples if sample.name not in broken)
    if not readable:
        what = "shows a face" if find_subject else "can be decoded"
        things = "samples" if manifest.tensors else "images"
        reasons = (f" ({name}: {why})" for a in answers for name, why in a.broken.items() if why)
        why = next(reasons, "")
        raise BadData(f"none of the {len(broken)} {things} of {dataset.name} {what}{why}")
    given = [answer for answer in answers if not answer.empty]
    decided = {
        name: np.array([index for answer in given for index in answer.decided[name]], np.int64)
        for name in given[0].decided
    }
    readable_set = replace(dataset, samples=readable)
    ratings: tuple[Rating, ...] = ()
    if dataset.holds == "boxes":
        boxes = [item for answer in given for item in answer.boxes]
        ratings = rate_boxes(readable_set, boxes, labelled_output(manifest, "boxes"))
    elif dataset.holds == "masks":
        tables = np.array([item for answer in given for item in answer.masks], np.int64)
        ratings = rate_masks(tables, labelled_output(manifest, "masks"))
    sure = {
        output.name: Sure(
            temperature=output.temperature,
            told=[value for answer in given for value in answer.told[output.name]],
            plain=[value for answer in given for value in answer.plain[output.name]],
        )
        for output in manifest.outputs
        if output.name in given[0].told
    }
    ran = answers[0]
    return _Judged(
        dataset=readable_set,
        decided=decided,
        sure=sure,
        ratings=ratings,
        broken=broken,
        provenance=ran.provenance,
        device=ran.device,
    )


def _judge(request: EvaluateRequest, index: int, judged: Sequence[_Judged]) -> Evaluation:
    """Return one artifact's evaluation from every artifact's decisions."""
    import numpy as np

    artifact, own = request.artifacts[index], judged[index]
    if own.ratings:
        assessment = assessed(own.dataset, own.ratings)
    else:
        assessment = assess(own.dataset, own.decided, own.sure, request.abstain)
    reference = _fp32_of(request.artifacts, artifact)
    agreement, change = None, {}
    if reference is not None and own.ratings:
        change = {
            f"{mine.output} {mine.measure}": change_of(mine, theirs)
            for mine, theirs in zip(own.ratings, judged[reference].ratings, strict=True)
        }
    elif reference is not None:
        theirs = judged[reference].decided
        same = [value == theirs[name] for name, value in own.decided.items()]
        agreement = share(np.all(same, axis=0))
        change = {
            score.output: paired_difference(
                own.decided[score.output], theirs[score.output], own.dataset.take(score.output)
            )
            for score in assessment.scores
        }
    return Evaluation(
        artifact=artifact,
        device=own.device,
        runtime=runtime_for(artifact.manifest.backend, request.runtime),
        provenance=own.provenance,
        split=request.split,
        assessment=assessment,
        broken=len(own.broken),
        left_out=tuple(
            f"{count} × {what} ({', '.join(own.dataset.decisions.files[what][:3])}"
            f"{', ...' if count > 3 else ''})"
            for what, count in sorted(own.dataset.decisions.counts.items())
            if what.startswith(TOLD)
        ),
        agreement=agreement,
        change=change,
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


def record(evaluation: Evaluation, data: str, command: str) -> AccuracyRecord:
    """Return what is saved of an evaluation and printed by the report."""
    manifest, assessment = evaluation.artifact.manifest, evaluation.assessment
    usual = runtime_for(manifest.backend, None)
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
        runtime="" if evaluation.runtime == usual else evaluation.runtime,
        confusion=tuple(item.matrix for item in assessment.scores),
        ratings=tuple(
            Rated(
                output=item.output,
                measure=item.measure,
                percent=item.value.percent,
                low=item.value.low,
                high=item.value.high,
            )
            for item in assessment.ratings
        ),
    )
    return replace(saved, **faces)


def row(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a table row: shares in per cent, changes in points."""
    manifest = evaluation.artifact.manifest
    cells: dict[str, Any] = {
        "model": manifest.model,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "device": evaluation.device,
        "runtime": evaluation.runtime,
        "images": evaluation.assessment.images,
        "framing": "reframed" if evaluation.reframed else "as given",
    }
    cells |= {name: round(value, 2) for name, value in shares(evaluation.assessment).items()}
    for score in evaluation.assessment.scores:
        cells[f"{score.output}_accuracy_count"] = score.exact.count
        if score.one_off is not None:
            cells[f"{score.output}_1off_count"] = score.one_off.count
        cells[f"{score.output}_lowest_recall"] = round(score.lowest_recall, 2)
        cells[f"{score.output}_change_points"] = _points(evaluation.change.get(score.output))
    for rating in evaluation.assessment.ratings:
        change = evaluation.change.get(f"{rating.output} {rating.measure}")
        cells[f"{rating.output}_{rating.measure}_change_points"] = _points(change)
    for item in evaluation.assessment.confidence:
        cells[f"{item.output}_ece"] = round(item.ece, 2)
        cells[f"{item.output}_ece_before"] = round(item.plain_ece, 2)
        cells[f"{item.output}_temperature"] = item.temperature
        if item.abstention is not None:
            kept = item.abstention
            cells[f"{item.output}_coverage"] = round(kept.coverage.percent, 2)
            cells[f"{item.output}_answered_accuracy"] = (
                None if kept.accuracy is None else round(kept.accuracy.percent, 2)
            )
    agreement = evaluation.agreement
    cells["agreement_with_fp32"] = None if agreement is None else round(agreement.percent, 2)
    cells |= {
        "split": evaluation.split,
        "protocol": evaluation.assessment.protocol,
        "provenance": evaluation.provenance,
    }
    return cells


def _points(change: Share | None) -> str | None:
    if change is None:
        return None
    return f"{change.percent:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
