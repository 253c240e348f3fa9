"""`edgekit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli import completion
from edgekit.cli.options import Wide, words
from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, ParityRecord, Precision
    from edgekit.conversion.pipeline import Conversion


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="Zoo name, checkpoint (.safetensors, .pt), .pt2, .onnx, package.module:factory, "
            "timm:NAME, torchvision:NAME, ultralytics:FILE or transformers:DIR.",
            autocompletion=completion.zoo_names,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the artifacts.")],
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="onnx, tflite, openvino or ncnn; several by commas, or repeat it. Default: the "
            "first three; with --target all that it runs."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="fp32, fp16, int8 or int8-dynamic; several by commas, or repeat it. Default: "
            "fp32,int8; with --target all that help there."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Board to convert for: build what it can run, and run that there or emulated.",
            autocompletion=completion.targets,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="With --target, where to run: virtual (emulated) or ssh://user@host."),
    ] = None,
    best: Annotated[
        bool,
        typer.Option(
            "--best",
            help="With --target: name the fastest artifact that loses at most --max-drop points "
            "on --guard.",
        ),
    ] = False,
    calibration: Annotated[
        str, typer.Option(help="Folder or zip of images for int8, or 'data-free'.")
    ] = "data-free",
    recipe: Annotated[
        str | None,
        typer.Option(help="Calibration recipe: a name from calibration/ or a TOML file."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="Images to compare the artifacts on. Default: some of --calibration."),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="The network of a checkpoint: zoo name or module:factory.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights for the network: a checkpoint, or a folder made by `edgekit weights`."
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="Which of several networks in the checkpoint, such as model_ema."),
    ] = None,
    spec: Annotated[
        str | None, typer.Option(help="TOML file: \\[input] and [\\[outputs]] of your own model.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .pt2 that can run code; you trust its maker.")
    ] = False,
    download: Annotated[
        bool,
        typer.Option("--download", help="Let timm, torchvision and the like fetch their weights."),
    ] = False,
    raw_input: Annotated[
        bool,
        typer.Option(
            "--raw-input",
            help="Keep the float input of the model; put no preprocessing into the graph.",
        ),
    ] = False,
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Share of images on which int8 must decide as the model does, 0 to 1.",
            min=0,
            max=1,
        ),
    ] = 0.9,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Accuracy that int8 may lose, in points; layers stay in float until it holds. "
            "With --best: that any artifact may lose; if not given 0.5, without labels 2.",
            min=0,
        ),
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option(help="The data for --max-drop: a labelled dataset, or images without labels."),
    ] = None,
    guard_minutes: Annotated[
        float,
        typer.Option(help="The time that --max-drop may take, in minutes for each backend.", min=0),
    ] = 5.0,
    evaluation: Annotated[
        str | None,
        typer.Option(
            help="Data you will evaluate on. You are warned if calibration images are among it."
        ),
    ] = None,
    find_subject: Annotated[
        bool,
        typer.Option(
            "--find-subject",
            help="The images are photographs: take the largest face in each, not the whole.",
        ),
    ] = False,
    results: Annotated[
        Path, typer.Option(help="Folder of saved results: --best writes how it chose into it.")
    ] = RESULTS,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Convert one trained model to ONNX, TFLite and OpenVINO, in float and int8.

    Every artifact is run on real images and compared with the PyTorch model. One that differs too
    much is not written.
    Example: edgekit convert multitask-cnn --precision fp32,int8 -o out
    """
    from edgekit.api import convert as run
    from edgekit.cli.convert_board import board_notes, board_rows, board_title, short_board_rows
    from edgekit.cli.output import command_line, progress, show, typed

    with progress(quiet or as_json) as say:
        conversion = run(
            source,
            output,
            backends=None if backend is None else words(backend),
            precisions=None if precision is None else words(precision),  # type: ignore[arg-type]
            target=target,
            device=device,
            best=best,
            calibration=calibration,
            recipe=recipe,
            images=images,
            arch=arch,
            weights=weights,
            part=part,
            spec=spec,
            trust=trust,
            download=download,
            raw_input=raw_input,
            min_agreement=min_agreement,
            max_drop=max_drop,
            guard=guard,
            guard_minutes=guard_minutes,
            evaluation=evaluation,
            find_subject=find_subject,
            results=results,
            command=command_line(),
            force=force,
            say=say,
        )
    board = conversion.board
    record = board.choice(command_line()) if board and board.trials else None
    said = [*(board_notes(board, record, output) if board else ()), *notes(conversion, output)]
    if record is not None and best:
        said[-1] += f"; edgekit report --results {typed(results)}"
    there = board_rows(board) if board else []
    table = rows(conversion)
    if as_json:
        show(conversion.graph.model, [*table, *there], as_json=True, notes=said)
    else:
        short = short_rows(conversion)
        last = () if there else said
        show(conversion.graph.model, table, as_json=False, notes=last, short=short, wide=wide)
    if board and record and not as_json:
        show(
            board_title(board),
            there,
            as_json=False,
            notes=said,
            short=short_board_rows(board, record),
            wide=wide,
        )
    failed = [row for row in conversion.rows if row.error]
    if failed:
        from edgekit import errors

        kinds = (getattr(errors, row.kind or "", errors.EdgekitError) for row in failed)
        raise typer.Exit(max(getattr(kind, "exit_code", 1) for kind in kinds))
    if board and (any(trial.fault for trial in board.trials) or (board.asked and not board.pick)):
        raise typer.Exit(1)


def rows(conversion: Conversion) -> list[dict[str, Any]]:
    """Return one row an artifact, or its error."""
    made = {(a.manifest.backend, a.manifest.precision): a for a in conversion.artifacts}
    table = []
    for row in conversion.rows:
        artifact = made.get((row.backend, row.precision))
        table.append(
            {
                "backend": row.backend,
                "precision": row.precision,
                "status": _status(artifact),
                "size_bytes": artifact.bytes if artifact else None,
                "max_abs_diff": row.parity.max_abs_diff if row.parity else None,
                "agreement": row.parity.agreement if row.parity else None,
                "images": len(row.parity.images) if row.parity else None,
                "seconds": round(row.seconds, 1),
                "path": str(artifact.folder) if artifact else None,
            }
        )
    return table


def short_rows(conversion: Conversion) -> list[dict[str, Any]]:
    """Return a row an artifact: its size, and how it compares with the PyTorch model."""
    from edgekit.report.cells import size

    count = max((len(r.parity.images) for r in conversion.rows if r.parity), default=0)
    shown = f"{count} {'samples' if conversion.graph.spec.tensors else 'images'}"
    made = {(a.manifest.backend, a.manifest.precision): a for a in conversion.artifacts}
    table = []
    for row in conversion.rows:
        artifact = made.get((row.backend, row.precision))
        table.append(
            {
                "artifact": f"{row.backend}-{row.precision}",
                "size": size(artifact.bytes if artifact else None),
                f"against the model, on {shown}": against(row.precision, row.parity),
                "verdict": {"proven": "ok", "answers zeros": "zeros"}.get(
                    _status(artifact), "failed"
                ),
            }
        )
    return table


def against(precision: Precision, parity: ParityRecord | None) -> str:
    """Return how an artifact's answers compare with the model's, in one phrase."""
    from edgekit.artifact import grain

    if parity is None or not parity.outputs:
        return "–"
    if grain(precision) == "int8" and parity.agreement is not None:
        count = len(parity.images)
        same = f"{round(parity.agreement * count)} of {count} decisions the same"
        tied = max(output.ties or 0 for output in parity.outputs)
        return f"{same}, {tied} near tie{'s' * (tied != 1)}" if tied else same
    if scored := [o for o in parity.outputs if grain(precision) == "int8" and o.score is not None]:
        return ", ".join(f"{output.metric} {output.score:.2f}" for output in scored)
    distance = f"largest difference {parity.max_abs_diff:.1g}"
    equal = parity.passed and precision == "fp32"
    return f"equal ({distance})" if equal else distance


def _status(artifact: Artifact | None) -> str:
    if artifact is None:
        return "failed"
    return "proven" if artifact.manifest.parity.passed else "answers zeros"


def notes(conversion: Conversion, output: Path) -> list[str]:
    """Return what a reader of the table must know: errors, random weights, doubts, calibration."""
    from edgekit.cli.output import typed

    graph = conversion.graph
    lines = [f"{r.backend}-{r.precision} failed: {r.error}" for r in conversion.rows if r.error]
    if graph.source.weights == "random":
        lines.append("random weights: the times are right, but the answers mean nothing")
    lines += [f"weights: {note}" for note in graph.source.notes]
    if graph.calibration:
        lines += [f"calibration: {warning}" for warning in graph.calibration.warnings]
    doubts = (doubt for a in conversion.artifacts for doubt in a.manifest.parity.doubts)
    lines += [f"parity: {doubt}" for doubt in dict.fromkeys(doubts)]
    lines += [
        f"{artifact.manifest.backend}-{artifact.manifest.precision}: {note}"
        for artifact in conversion.artifacts
        for note in artifact.manifest.notes
    ]
    made = len(conversion.artifacts)
    holds = f"{output} holds {made} artifact{'s' * (made != 1)}"
    lines.append(f"{holds}. next: edgekit bench {typed(output)}" if made else holds)
    return lines
