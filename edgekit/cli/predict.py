"""`edgekit predict`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.options import Wide
from edgekit.errors import UserError

if TYPE_CHECKING:
    from edgekit.evaluation.answer import Answer


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or .npz and .npy samples.")],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="An artifact's folder or model file.")
    ],
    runtime: Annotated[
        str | None, typer.Option(help="Use another runtime for TFLite files: tflite_runtime.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with the boxes drawn on them.")
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an artifact on images and print its answers.

    Of a detector it prints one row a box; the numbers are pixels of the picture.

    Example: edgekit predict face.jpg --artifact out/onnx-int8
    """
    from edgekit.api import answer as run
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import show

    loaded = load_artifact(artifact)
    if save is not None and loaded.manifest.tensors:
        raise UserError("--save draws on pictures, and this artifact takes samples: leave it out")
    answers = run(images, loaded, runtime=runtime)
    rows, short = [], []
    for answer in answers:
        boxes = list(box_rows(answer))
        rows += boxes or [row_of(answer)]
        short += boxes or [short_of(answer)]
    notes = []
    if save is not None:
        from edgekit.evaluation.answer import save_pictures

        notes += [f"drawn: {path}" for path in save_pictures(answers, save)]
    if loaded.manifest.source.weights == "random":
        notes.append("the weights are random: these answers mean nothing")
    show(loaded.label, rows, as_json=as_json, notes=notes, short=short, wide=wide)


def box_rows(answer: Answer) -> Iterator[dict[str, object]]:
    """Yield a row a box, or one that says there is none; nothing where no output is a detection."""
    for decision in answer.outputs.values():
        if decision is None or decision.boxes is None:
            continue
        if not decision.boxes:
            yield {"image": answer.image, "label": "none"}
        for found in decision.boxes:
            corners = zip(("left", "top", "right", "bottom"), found.box, strict=True)
            yield {
                "image": answer.image,
                "label": found.label,
                "confidence": round(found.confidence, 4),
                **{side: round(number, 1) for side, number in corners},
            }


def row_of(answer: Answer) -> dict[str, object]:
    """Return all that is said of an image, a column an output."""
    row: dict[str, object] = {"image": answer.image}
    for name, decision in answer.outputs.items():
        row[name] = decision.plain if decision else None
        row[f"{name}_confidence"] = decision.confidence if decision else None
    return row


def short_of(answer: Answer) -> dict[str, object]:
    """Return what is said of an image in words for a person."""
    said: dict[str, object] = {"image": answer.image}
    for name, decision in answer.outputs.items():
        if decision is not None:
            sure = decision.confidence
            said[name] = decision.text + (f" ({100 * sure:.0f} %)" if sure is not None else "")
    return said
