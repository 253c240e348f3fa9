"""`edgekit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli import completion
from edgekit.paths import RESULTS

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
    target: Annotated[
        str,
        typer.Option(help="Target profile, by name or file.", autocompletion=completion.targets),
    ] = "host",
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
    reframe: Annotated[
        bool,
        typer.Option("--reframe", help="Judge the same images framed otherwise, too; not saved."),
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="Folder that keeps the records for `edgekit report`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score artifacts on labelled images: accuracy with intervals, and the change from fp32.

    Example: edgekit evaluate out/mtc --data utkface.zip --split test
    """
    from edgekit.api import evaluate as run
    from edgekit.cli.output import column_names, command_line, progress, show
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
            results=results,
            command=command_line(),
            say=say,
        )
    notes = [
        f"{e.artifact.label}: {e.broken} images could not be decoded"
        for e in evaluations
        if e.broken
    ]
    if any(e.artifact.manifest.source.weights == "random" for e in evaluations):
        notes.append("random weights: these accuracies mean nothing")
    notes += sorted({f"{e.assessment.protocol}; {split} split" for e in evaluations})
    if results is None:
        notes.append(f"not saved: --results {RESULTS} keeps these for `edgekit report`")
    rows = [row(e) for e in evaluations]
    columns = [name for name in column_names(rows) if not name.endswith(HIDDEN)]
    show(f"Accuracy on {data}", rows, as_json=as_json, notes=notes, columns=columns)
