"""`edgekit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Wide

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an artifact on images and print its answers; a model of faces answers every face.

    Example: edgekit predict photo.jpg --artifact out/onnx-int8 --annotate answer.jpg
    """
    from edgekit.annotation import check_annotation
    from edgekit.api import answer as run
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import show
    from edgekit.errors import UserError

    if annotate is not None:
        check_annotation(annotate)
        if len(images) > 1:
            raise UserError("--annotate draws on one picture: give one image")
    loaded = load_artifact(artifact)
    answers = run(images, loaded, runtime=runtime, whole=whole, abstain=abstain)
    notes = notes_on(answers, loaded.manifest)
    if annotate is not None:
        draw(images[0], answers, annotate)
        notes.append(f"{annotate} shows it")
    answered = [answer for answer in answers if not answer.fault]
    rows = [row(answer) for answer in answered]
    show(loaded.label, rows, as_json=as_json, notes=notes, short=short_rows(answered), wide=wide)


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

    faces = Counter(answer.image for answer in answers)
    seen: Counter[str] = Counter()
    rows = []
    for answer in answers:
        seen[answer.image] += 1
        said: dict[str, Any] = {"image": answer.image}
        if answer.box is not None:
            said["face"] = f"{seen[answer.image]} of {faces[answer.image]}"
        rows.append(said | words(answer))
    return rows


def words(answer: Answer) -> dict[str, str]:
    """Return each output's answer in few words, with its confidence where it has one."""
    return {
        name: decision.text
        + ("" if (sure := decision.confidence) is None else f" ({100 * sure:.0f} %)")
        for name, decision in answer.outputs.items()
        if decision is not None
    }


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


def draw(image: Path, answers: Sequence[Answer], path: Path) -> None:
    """Write a picture with the box and the answers of every face."""
    from edgekit.annotation import Mark, save_annotated

    marks = [
        Mark(box=answer.box, lines=tuple(f"{name} {word}" for name, word in words(answer).items()))
        for answer in answers
        if answer.box is not None
    ]
    save_annotated(image.read_bytes(), marks, path)
