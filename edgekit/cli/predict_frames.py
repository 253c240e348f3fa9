"""`edgekit predict` on a video or a camera: a line a frame, as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.artifact import Artifact
    from edgekit.evaluation.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to run on the frames, and what to make of the answers: the command's options."""

    artifact: Artifact
    whole: bool
    abstain: float | None
    runtime: str | None
    save: Path | None
    table: Path | None
    every: float
    frames: int | None
    as_json: bool


def run(source: Path | int, wanted: Wanted) -> None:
    """Answer the frames until the video ends, or Ctrl-C; what was answered is kept then."""
    from edgekit.cli.output import show, tell
    from edgekit.cli.predict_rows import box_rows, notes_on, row, then, write_csv
    from edgekit.data.video import frames_of
    from edgekit.evaluation.frames import answer_frames

    answers: list[Answer] = []
    count = 0
    with frames_of(source, wanted.every) as frames:
        some = islice(frames, wanted.frames)
        answered = answer_frames(
            wanted.artifact, some, wanted.runtime,
            whole=wanted.whole, abstain=wanted.abstain, save=wanted.save,
        )  # fmt: skip
        try:
            for _, found in answered:
                count += 1
                answers += found
                if not wanted.as_json:
                    tell(_line(found))
        except KeyboardInterrupt:  # the way to end a camera
            pass
    notes = [note for note in notes_on(answers, wanted.artifact.manifest) if "no face" not in note]
    notes.insert(0, f"{count:,} frames answered")
    if wanted.save is not None and count:
        notes.append(f"drawn: {count:,} pictures in {wanted.save}")
    if wanted.table is not None:
        write_csv(answers, wanted.table)
        notes.append(f"{wanted.table} holds all answers")
    rows = [cells for a in answers if not a.fault for cells in (list(box_rows(a)) or [row(a)])]
    show(
        wanted.artifact.label,
        rows,
        as_json=wanted.as_json,
        notes=notes,
        short=[],
        then=then(wanted.artifact),
    )


def _line(answers: Sequence[Answer]) -> str:
    """Return the time of a frame and what is said of it."""
    from edgekit.evaluation.answer import in_words
    from edgekit.report.cells import NONE

    said = []
    for answer in answers:
        boxes = [d.text for d in answer.outputs.values() if d is not None and d.boxes is not None]
        words = [f"{name} {text}" for name, text in in_words(answer).items()]
        said.append(answer.fault or ", ".join(boxes + words) or NONE)
    return f"{answers[0].image:>10}  {'; '.join(said)}"
