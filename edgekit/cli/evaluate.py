"""`edgekit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli import completion
from edgekit.cli.options import Runtime, Wide
from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.evaluation.evaluate import Evaluation


RATED = (
    "mAP as pycocotools computes it, mean IoU at the size of the network's input; intervals by "
    "drawing the images anew, 200 times"
)


def evaluate(
    artifacts: Annotated[list[Path], typer.Argument(help="Artifacts, or folders of them.")],
    data: Annotated[
        str,
        typer.Option(
            help="Labelled data: a folder with labels.csv or one folder a class, COCO's JSON, "
            "YOLO's images/ and labels/, images/ and masks/, an .npz with labels, Adience, UTKFace."
        ),
    ],
    split: Annotated[str, typer.Option(help="train, val, test, or all of the images.")] = "test",
    protocol: Annotated[
        str | None,
        typer.Option(help="published, folds, random, given or whole. Default: the dataset's own."),
    ] = None,
    fold: Annotated[int, typer.Option(help="The test fold of protocol folds.", min=0)] = 0,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Use only this many images of the split, chosen at random with a fixed seed.",
            min=1,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="Target profile, by name or file.", autocompletion=completion.targets),
    ] = "host",
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to run: local, virtual (emulated) or ssh://user@host. Default: virtual for "
            "a board target, otherwise local."
        ),
    ] = None,
    runtime: Runtime = None,
    workers: Annotated[int, typer.Option(help="Processes that share the images.", min=1)] = 2,
    executor: Annotated[
        str,
        typer.Option(
            help="Where they run: local, or dask://HOST:PORT (in a trusted network only)."
        ),
    ] = "local",
    reframe: Annotated[
        bool,
        typer.Option("--reframe", help="Judge the same images framed otherwise, too; not saved."),
    ] = False,
    find_subject: Annotated[
        bool,
        typer.Option(
            "--find-subject",
            help="The images are photographs: judge the largest face in each, not the whole.",
        ),
    ] = False,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Show what leaving out answers less sure than this, 0 to 1, gains and costs.",
            min=0,
            max=1,
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder that keeps the records for `edgekit report`.")
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure the accuracy of artifacts on labelled images, and what int8 changes.

    Example: edgekit evaluate out/mtc --data utkface.zip --split test
    """
    from edgekit.api import evaluate as run
    from edgekit.cli.output import command_line, progress, show, typed
    from edgekit.evaluation.evaluate import row

    with progress(quiet or as_json) as say:
        evaluations = run(
            artifacts,
            data,
            split=split,  # type: ignore[arg-type]
            protocol=protocol,  # type: ignore[arg-type]
            fold=fold,
            limit=limit,
            target=target,
            device=device,
            runtime=runtime,
            workers=workers,
            executor=executor,
            reframe=reframe,
            find_subject=find_subject,
            abstain=abstain,
            results=results,
            command=command_line(),
            say=say,
        )
    notes = [
        f"{e.artifact.label}: {e.broken} samples could not be read"
        if e.artifact.manifest.tensors
        else f"{e.artifact.label}: {e.broken} images could not be decoded"
        + (", or show no face: they are left out" if find_subject else "")
        for e in evaluations
        if e.broken
    ]
    notes += sorted(
        {
            f"{score.output}: scored {score.exact.count} of {e.assessment.images} images; the "
            "others have no label, or an age in no class"
            for e in evaluations
            for score in e.assessment.scores
            if score.exact.count < e.assessment.images
        }
    )
    notes += dict.fromkeys(line for e in evaluations for line in e.left_out)
    if any(e.artifact.manifest.source.weights == "random" for e in evaluations):
        notes.append("random weights: these accuracies mean nothing")
    notes += sorted({_judged_on(e, split) for e in evaluations})
    if any(e.assessment.ratings for e in evaluations):
        notes.append(RATED)
    outside = max(e.outside for e in evaluations)
    if outside:
        notes.append(f"{outside:,} images are not of this split: --split all takes them too")
    if results is None:
        notes.append(f"not saved: --results {RESULTS} keeps these for `edgekit report`")
    rows = [row(e) for e in evaluations]
    if as_json or wide:
        show(f"Accuracy on {data}", rows, as_json=as_json, notes=notes, wide=wide)
        return
    what = "samples" if evaluations[0].artifact.manifest.tensors else "images"
    images = max(e.assessment.images for e in evaluations)
    title = f"{_title(evaluations)}: accuracy on {images} {what} of {data}, in per cent"
    notes.insert(0, "in brackets: the 95 % interval; ±1: a neighbouring class counts as right")
    tables = {
        title: short_rows(evaluations),
        "Change from fp32 on the same images, in points": change_rows(evaluations),
        "Confidence: how far it is from the accuracy (ECE, in points)": confidence_rows(
            evaluations
        ),
    }
    if abstain is not None:
        tables[f"Answers from a confidence of {abstain:g} on"] = abstention_rows(evaluations)
    shown = {title: table for title, table in tables.items() if table}
    then = f"edgekit recommend --target {target} --results {typed(results or RESULTS)}"
    if results is None:
        then = f"the same command with --results {RESULTS}, then edgekit recommend"
    for place, (title, table) in enumerate(shown.items(), 1):
        last = place == len(shown)
        end: dict[str, Any] = {"notes": notes, "then": then} if last else {}
        show(title, rows, as_json=False, short=table, **end)


def short_rows(evaluations: Sequence[Evaluation]) -> dict[str, list[dict[str, Any]]]:
    """Return a row an artifact: every output's accuracy with its interval; by model."""
    from edgekit.cli.output import grouped
    from edgekit.report.cells import percent

    rows = []
    for evaluation in evaluations:
        cells: dict[str, Any] = {"artifact": _name(evaluation)}
        for score in evaluation.assessment.scores:
            for title, share in (
                (score.output, score.exact),
                (f"{score.output} ±1", score.one_off),
            ):
                if share is not None:
                    cells[title] = percent(share.percent, share.low, share.high)
        for rating in evaluation.assessment.ratings:
            value = rating.value
            title = f"{rating.output} {rating.measure.replace('_', '-')}"
            cells[title] = percent(value.percent, value.low, value.high)
        rows.append((evaluation.artifact.manifest.model, cells))
    return grouped(rows)


def change_rows(evaluations: Sequence[Evaluation]) -> dict[str, list[dict[str, Any]]]:
    """Return a row an artifact that was judged beside its fp32 one: what it lost or gained."""
    from edgekit.cli.output import grouped
    from edgekit.report.cells import percent, points

    rows = []
    for evaluation in evaluations:
        if evaluation.agreement is None and not evaluation.change:
            continue
        cells: dict[str, Any] = {"artifact": _name(evaluation)}
        for output, share in evaluation.change.items():
            cells[output] = points(share.percent, share.low, share.high)
        same = evaluation.agreement
        if same is not None:
            cells["same answers, %"] = percent(same.percent, same.low, same.high)
        rows.append((evaluation.artifact.manifest.model, cells))
    return grouped(rows)


def confidence_rows(evaluations: Sequence[Evaluation]) -> dict[str, list[dict[str, Any]]]:
    """Return a row an artifact and output that has a confidence: its error, before and after."""
    from edgekit.cli.output import grouped

    return grouped(
        (
            evaluation.artifact.manifest.model,
            {
                "artifact": _name(evaluation),
                "output": item.output,
                "mean confidence, %": f"{item.mean:.1f}",
                "ECE": f"{item.ece:.1f}",
                "ECE without temperature": f"{item.plain_ece:.1f}",
                "temperature": f"{item.temperature:g}",
            },
        )
        for evaluation in evaluations
        for item in evaluation.assessment.confidence
    )


def abstention_rows(evaluations: Sequence[Evaluation]) -> dict[str, list[dict[str, Any]]]:
    """Return a row an artifact and output: how many are answered, and how many of them rightly."""
    from edgekit.cli.output import grouped
    from edgekit.report.cells import percent

    rows = []
    for evaluation in evaluations:
        for item in evaluation.assessment.confidence:
            kept = item.abstention
            if kept is None:
                continue
            right, all_of_them = kept.accuracy, kept.coverage
            cells: dict[str, Any] = {
                "artifact": _name(evaluation),
                "output": item.output,
                "answered, %": percent(all_of_them.percent, all_of_them.low, all_of_them.high),
                "right of those, %": right and percent(right.percent, right.low, right.high),
            }
            rows.append((evaluation.artifact.manifest.model, cells))
    return grouped(rows)


def _judged_on(evaluation: Evaluation, split: str) -> str:
    """Return which images were judged, and of data without sides what that may mean."""
    from edgekit.data.splits import WHOLE

    protocol = evaluation.assessment.protocol
    if not protocol.endswith(WHOLE):
        return f"{protocol}; {split} split"
    return (
        f"{protocol}: the model must not have learned from these images; --protocol random takes "
        "those that `edgekit train` kept apart"
    )


def _title(evaluations: Sequence[Evaluation]) -> str:
    models = {evaluation.artifact.manifest.model for evaluation in evaluations}
    return models.pop() if len(models) == 1 else f"{len(models)} models"


def _name(evaluation: Evaluation) -> str:
    manifest = evaluation.artifact.manifest
    reframed = ", reframed" if evaluation.reframed else ""
    return f"{manifest.backend}-{manifest.precision}{reframed}"
