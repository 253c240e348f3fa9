"""`edgekit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.options import Wide


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or .npz and .npy samples.")],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="An artifact's folder or model file.")
    ],
    runtime: Annotated[
        str | None, typer.Option(help="Use another runtime for TFLite files: tflite_runtime.")
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an artifact on images and print its answers.

    Example: edgekit predict face.jpg --artifact out/onnx-int8
    """
    from edgekit.api import answer as run
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import show

    loaded = load_artifact(artifact)
    rows, short = [], []
    for answer in run(images, loaded, runtime=runtime):
        row: dict[str, object] = {"image": answer.image}
        for name, decision in answer.outputs.items():
            row[name] = decision.plain if decision else None
            row[f"{name}_confidence"] = decision.confidence if decision else None
        rows.append(row)
        said = {"image": answer.image}
        for name, decision in answer.outputs.items():
            if decision is not None:
                sure = decision.confidence
                said[name] = decision.text + (f" ({100 * sure:.0f} %)" if sure is not None else "")
        short.append(said)
    notes = []
    if loaded.manifest.source.weights == "random":
        notes.append("the weights are random: these answers mean nothing")
    show(loaded.label, rows, as_json=as_json, notes=notes, short=short, wide=wide)
