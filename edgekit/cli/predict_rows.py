"""The answers of `edgekit predict` as rows: for people, for programs, and as a CSV file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, Manifest
    from edgekit.evaluation.answer import Answer

LISTED = 5
"""So many unreadable images are named; the CSV file names all."""
_SIDES = ("left", "top", "right", "bottom")


def box_rows(answer: Answer, *, short: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row a box, or one that says there is none; nothing where no output finds boxes.

    Points are a list of x, y and probability, or `short`: how many show.
    """
    from edgekit.evaluation.answer import told_points

    for decision in answer.outputs.values():
        if decision is None or decision.boxes is None:
            continue
        if not decision.boxes:
            yield {"image": answer.image, "label": "none"}
        for found in decision.boxes:
            corners = zip(_SIDES, found.box, strict=True)
            points: dict[str, object] = {}
            if found.points is not None:
                listed = [_rounded(point) for point in found.points]
                points = {"points": told_points(found.points) if short else listed}
            yield {
                "image": answer.image,
                "label": found.label,
                "confidence": round(found.confidence, 4),
                **{side: round(number, 1) for side, number in corners},
                **points,
            }


def _rounded(point: Sequence[float]) -> list[float]:
    return [*(round(number, 1) for number in point[:2]), *(round(sure, 4) for sure in point[2:])]


def then(artifact: Artifact) -> str:
    """Return the command that comes next: it scores the artifact, with labels of its kind."""
    from edgekit.cli.output import typed
    from edgekit.data import forms_of

    manifest = artifact.manifest
    forms = forms_of(manifest.outputs)
    if not forms:
        return f"edgekit bench {typed(artifact.folder)}"
    if manifest.tensors:
        forms = ["an .npz of its inputs and labels"]
    return f"edgekit evaluate {typed(artifact.folder)} --data DATA, {' and '.join(forms)}"


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


def write_csv(answers: Sequence[Answer], path: Path) -> None:
    """Write a row an image, face or box to `path`, whole or not at all.

    An image that was not answered has a row with its `fault`. A cell of several values is JSON.
    """
    import csv
    import io

    from edgekit.cli.output import column_names
    from edgekit.files import write_whole

    rows: list[dict[str, Any]] = []
    for answer in answers:
        boxes = list(box_rows(answer))
        corners = dict(zip(_SIDES, answer.box, strict=True)) if answer.box else {}
        for cells in boxes or [row(answer)]:
            cells.pop("box", None)
            rows.append({"image": answer.image, **corners, **cells, "fault": answer.fault})
    names = [name for name in column_names(rows) if name != "fault"]
    if any(answer.fault for answer in answers):
        names.append("fault")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for cells in rows:
        writer.writerow({name: _plain(value) for name, value in cells.items()})
    # A file's name may hold bytes that are no UTF-8.
    write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


def notes_on(answers: Sequence[Answer], manifest: Manifest) -> list[str]:
    """Return what a reader of the answers must know."""
    from edgekit.evaluation.answer import no_face

    notes = []
    broken = [answer for answer in answers if answer.unreadable]
    if broken:
        what = "samples" if manifest.tensors else "images"
        count = len({answer.image for answer in answers})
        listed = [f"{answer.image} ({answer.fault})" for answer in broken[:LISTED]]
        if len(broken) > LISTED:
            listed.append(f"and {len(broken) - LISTED:,} more (--csv names all)")
        notes.append(f"{len(broken):,} of {count:,} {what} cannot be read: {'; '.join(listed)}")
    missed = [answer.image for answer in answers if answer.fault and not answer.unreadable]
    notes += [no_face(missed)] if missed else []
    notes += [f"{answer.image}: {answer.doubt}" for answer in answers if answer.doubt]
    decided = [item for answer in answers for item in answer.outputs.values() if item]
    withheld = sum(item.abstained for item in decided)
    if withheld:
        notes.append(f"unsure: {withheld} of {len(decided)} answers are withheld (--abstain)")
    if not decided and any(not answer.fault for answer in answers):
        names = ", ".join(f"'{output.name}'" for output in manifest.outputs)
        notes.append(
            f"nothing to decide: {names} are plain tensors. Give them a kind in the spec and "
            "convert again, or read their values from Python (docs/application.md)"
        )
    if manifest.source.weights == "random":
        notes.append("the weights are random: these answers mean nothing")
    return notes
