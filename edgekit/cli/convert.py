"""`edgekit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli import completion
from edgekit.cli.options import Wide

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, ParityRecord
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
            help="onnx, tflite, openvino or ncnn; repeat for more. Default: the first three."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Comma-separated: fp32, fp16, int8.")
    ] = "fp32,int8",
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
            help="Accuracy that int8 may lose, in points; layers stay in float until it holds.",
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
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Convert one trained model to ONNX, TFLite and OpenVINO, in float and int8.

    Every artifact is run on real images and compared with the PyTorch model. One that differs too
    much is not written.
    Example: edgekit convert multitask-cnn --backend onnx --precision fp32,int8 -o out
    """
    from edgekit.api import BACKENDS
    from edgekit.api import convert as run
    from edgekit.cli.output import progress, show

    with progress(quiet or as_json) as say:
        conversion = run(
            source,
            output,
            backends=backend or BACKENDS,
            precisions=[word.strip() for word in precision.split(",") if word.strip()],  # type: ignore[misc]
            calibration=calibration,
            recipe=recipe,
            images=images,
            arch=arch,
            weights=weights,
            spec=spec,
            trust=trust,
            download=download,
            raw_input=raw_input,
            min_agreement=min_agreement,
            max_drop=max_drop,
            guard=guard,
            guard_minutes=guard_minutes,
            evaluation=evaluation,
            force=force,
            say=say,
        )
    show(
        conversion.graph.model,
        rows(conversion),
        as_json=as_json,
        notes=notes(conversion, output),
        short=short_rows(conversion),
        wide=wide,
    )
    failed = [row for row in conversion.rows if row.error]
    if failed:
        from edgekit import errors

        kinds = (getattr(errors, row.kind or "", errors.EdgekitError) for row in failed)
        raise typer.Exit(max(getattr(kind, "exit_code", 1) for kind in kinds))


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

    images = max((len(r.parity.images) for r in conversion.rows if r.parity), default=0)
    made = {(a.manifest.backend, a.manifest.precision): a for a in conversion.artifacts}
    table = []
    for row in conversion.rows:
        artifact = made.get((row.backend, row.precision))
        table.append(
            {
                "artifact": f"{row.backend}-{row.precision}",
                "size": size(artifact.bytes if artifact else None),
                f"against the model, on {images} images": _against(row.precision, row.parity),
                "verdict": {"proven": "ok", "answers zeros": "zeros"}.get(
                    _status(artifact), "failed"
                ),
            }
        )
    return table


def _against(precision: str, parity: ParityRecord | None) -> str:
    """Return how an artifact's answers compare with the model's, in one phrase."""
    if parity is None or not parity.outputs:
        return "–"
    if precision == "int8" and parity.agreement is not None:
        count = len(parity.images)
        return f"{round(parity.agreement * count)} of {count} decisions the same"
    if scored := [o for o in parity.outputs if precision == "int8" and o.score is not None]:
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
    graph = conversion.graph
    lines = [f"{r.backend}-{r.precision} failed: {r.error}" for r in conversion.rows if r.error]
    if graph.source.weights == "random":
        lines.append("random weights: the times are right, but the answers mean nothing")
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
    lines.append(f"{holds}. next: edgekit bench {output}" if made else holds)
    return lines
