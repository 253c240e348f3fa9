"""`edgekit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HIDDEN = ("_low", "_high", "_count", "split", "protocol", "_lowest_recall")
"""Endings of the columns that only --json prints; the intervals would crowd a terminal."""


def evaluate(
    artifacts: Annotated[list[Path], typer.Argument(help="Artifacts, or folders of them.")],
    data: Annotated[
        str, typer.Option(help="Adience root, UTKFace zip or folder, labels.csv folder.")
    ],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    protocol: Annotated[
        str | None, typer.Option(help="published, folds, random or given; the dataset's own.")
    ] = None,
    fold: Annotated[int, typer.Option(help="The test fold of protocol folds.", min=0)] = 0,
    limit: Annotated[
        int | None, typer.Option(help="Only so many images of the split, drawn by a seed.", min=1)
    ] = None,
    target: Annotated[str, typer.Option(help="Target profile, by name or file.")] = "host",
    device: Annotated[
        str | None, typer.Option(help="local, virtual or ssh://user@host; a board's is virtual.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Another runtime than the backend's own: tflite_runtime.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the images.", min=1)] = 2,
    executor: Annotated[
        str, typer.Option(help="Where they run: local, or dask://HOST:PORT (a trusted network).")
    ] = "local",
    results: Annotated[
        Path | None, typer.Option(help="Folder that keeps the records for `edgekit report`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score artifacts on labelled images: accuracy with intervals, and the change from fp32.

    Example: edgekit evaluate out/mtc --data utkface.zip --split test
    """
    import shlex
    import sys

    from edgekit.artifact import find_artifacts
    from edgekit.cli.output import column_names, progress, show
    from edgekit.data.splits import SplitPlan
    from edgekit.errors import UserError, did_you_mean
    from edgekit.evaluate import EvaluateRequest, record, row
    from edgekit.evaluate import evaluate as run
    from edgekit.results import save
    from edgekit.targets import load_target

    known = {"train", "val", "test"}
    if split not in known:
        raise UserError(did_you_mean("split", split, sorted(known)))
    protocols = ["published", "folds", "random", "given"]
    if protocol is not None and protocol not in protocols:
        raise UserError(did_you_mean("protocol", protocol, protocols))
    profile = load_target(target)
    found = [a for a in find_artifacts(artifacts) if a.manifest.backend not in {"null", "torch"}]
    request = EvaluateRequest(
        tuple(found),
        data,
        profile,
        split,  # type: ignore[arg-type]
        SplitPlan(protocol, fold),  # type: ignore[arg-type]
        limit,
        device or profile.default_device,
        runtime,
        workers,
        executor,
    )
    with progress(quiet or as_json) as say:
        evaluations = run(request, say)
    command = shlex.join(["edgekit", *sys.argv[1:]])
    if results is not None:
        for evaluation in evaluations:
            save(record(evaluation, data, command), results)
    notes = [
        f"{e.artifact.label}: {e.broken} images could not be decoded"
        for e in evaluations
        if e.broken
    ]
    if any(e.artifact.manifest.source.weights == "random" for e in evaluations):
        notes.append("random weights: these accuracies mean nothing")
    notes += sorted({f"{e.assessment.protocol}; {split} split" for e in evaluations})
    rows = [row(e) for e in evaluations]
    columns = [name for name in column_names(rows) if not name.endswith(HIDDEN)]
    show(f"Accuracy on {data}", rows, as_json=as_json, notes=notes, columns=columns)
