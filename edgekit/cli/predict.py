"""`edgekit predict`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Wide
from edgekit.errors import UserError

if TYPE_CHECKING:
    from edgekit.artifact import Manifest
    from edgekit.evaluation.answer import Answer


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or .npz and .npy samples.")],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="An artifact's folder or model file.")
    ],
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Each picture is one face, cut out before: do not look for faces."
        ),
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Write the picture with boxes and answers to this .jpg or .png."),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(help="Withhold answers less sure than this, 0 to 1.", min=0, max=1),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Use another runtime for TFLite files: tflite_runtime.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with the boxes drawn on them.")
    ] = None,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an artifact on images and print its answers; a model of faces answers every face.

    Of a detector it prints one row a box; the numbers are pixels of the picture.

    Example: edgekit predict photo.jpg --artifact out/onnx-int8 --annotate answer.jpg
    """
    from edgekit.annotation import check_annotation, save_annotated
    from edgekit.api import answer as run
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import show
    from edgekit.evaluation.answer import marks_of, save_pictures

    if annotate is not None:
        check_annotation(annotate)
        if len(images) > 1:
            raise UserError("--annotate draws on one picture: give one image")
    loaded = load_artifact(artifact)
    if save is not None and loaded.manifest.tensors:
        raise UserError("--save draws on pictures, and this artifact takes samples: leave it out")
    answers = run(images, loaded, runtime=runtime, whole=whole, abstain=abstain)
    notes = notes_on(answers, loaded.manifest)
    if annotate is not None:
        save_annotated(
            images[0].read_bytes(), [mark for a in answers for mark in marks_of(a)], annotate
        )
        notes.append(f"{annotate} shows it")
    if save is not None:
        notes += [f"drawn: {path}" for path in save_pictures(answers, save)]
    answered = [answer for answer in answers if not answer.fault]
    rows, short = [], []
    for answer, said in zip(answered, short_rows(answered), strict=True):
        boxes = list(box_rows(answer))
        rows += boxes or [row(answer)]
        short += boxes or [said]
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


def row(answer: Answer) -> dict[str, Any]:
    """Return an answer as programs read it."""
    cells: dict[str, Any] = {"image": answer.image}
    if answer.box is not None:
        cells["box"] = answer.box
    for name, decision in answer.outputs.items():
        cells[name] = decision.plain if decision else None
        cells[f"{name}_confidence"] = decision.confidence if decision else None
    return cells


def short_rows(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return a row a face, or a picture: every answer and how sure it is."""
    from collections import Counter

    from edgekit.evaluation.answer import in_words

    faces = Counter(answer.image for answer in answers)
    seen: Counter[str] = Counter()
    rows = []
    for answer in answers:
        seen[answer.image] += 1
        said: dict[str, Any] = {"image": answer.image}
        if answer.box is not None:
            said["face"] = f"{seen[answer.image]} of {faces[answer.image]}"
        rows.append(said | in_words(answer))
    return rows


def notes_on(answers: Sequence[Answer], manifest: Manifest) -> list[str]:
    """Return what a reader of the answers must know."""
    from edgekit.evaluation.answer import no_face

    missed = [answer.image for answer in answers if answer.fault]
    notes = [no_face(missed)] if missed else []
    notes += [f"{answer.image}: {answer.doubt}" for answer in answers if answer.doubt]
    decided = [item for answer in answers for item in answer.outputs.values() if item]
    withheld = sum(item.abstained for item in decided)
    if withheld:
        notes.append(f"unsure: {withheld} of {len(decided)} answers are withheld (--abstain)")
    if manifest.source.weights == "random":
        notes.append("the weights are random: these answers mean nothing")
    return notes
