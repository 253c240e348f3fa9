"""What `edgekit convert --target` shows of the board: each artifact there, and the one to ship."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.conversion.board import OnBoard, Trial
    from edgekit.records import ChoiceRecord


def board_rows(board: OnBoard) -> list[dict[str, Any]]:
    """Return a row an artifact, with every number, for programs."""
    return [
        {
            "artifact": trial.name,
            "target": board.target,
            "device": board.device,
            "provenance": board.provenance,
            "runtime": trial.runtime,
            "fault": trial.fault or None,
            "max_abs_diff": trial.parity.max_abs_diff if trial.parity else None,
            "agreement": trial.parity.agreement if trial.parity else None,
            "images": len(trial.parity.images) if trial.parity else 0,
            **asdict(trial.cost),
            "points_lost": trial.lost,
            "judged_images": trial.judged,
            "result": board.result(trial),
        }
        for trial in board.trials
    ]


def short_board_rows(board: OnBoard, record: ChoiceRecord) -> list[dict[str, Any]]:
    """Return a row an artifact, for people; the one to ship first."""
    from edgekit.report.choices import cost_cells, order

    pairs = zip(board.trials, record.weighed, strict=True)
    return [
        {
            "artifact": trial.name,
            "answers": _answers(trial),
            **cost_cells(record, item),
            "result": item.result,
        }
        for trial, item in sorted(pairs, key=lambda pair: order(record, pair[1]))
    ]


def _answers(trial: Trial) -> str:
    """Return how the board's answers compare with the source model's."""
    from edgekit.artifact import grain
    from edgekit.report.cells import NONE

    parity = trial.parity
    if parity is None:
        return NONE
    if parity.agreement is None or grain(trial.artifact.manifest.precision) != "int8":
        return f"±{parity.max_abs_diff:.0e}"
    count = len(parity.images)
    tied = max(output.ties or 0 for output in parity.outputs)
    return f"{round(parity.agreement * count)} of {count}" + f" +{tied}" * bool(tied)


def board_title(board: OnBoard) -> str:
    """Return what heads the table of the board."""
    ran = "emulated" if board.provenance == "emulated" else board.device
    return f"On the {board.title} ({ran}), by its own programs"


def board_notes(board: OnBoard, record: ChoiceRecord | None, output: Path) -> list[str]:
    """Return how the artifact to ship was found, and what failed."""
    from edgekit.report.choices import name, unjudged, why

    lines = [
        f"{trial.name} failed on the board: {trial.fault}" for trial in board.trials if trial.fault
    ]
    lines += board.notes
    if record is not None:
        lines.append(
            "answers against the model's: the largest difference, or equal decisions + near ties; "
            "lost: points of accuracy"
        )
    if record is not None and board.provenance == "emulated":
        lines.append(
            "ARM programs on an emulated CPU: answers and instructions are theirs, of one "
            "inference on one thread; no time is measured"
        )
    if record is None or not board.asked:
        return lines
    first, *rest = why(record)
    if record.pick is not None:
        first = f"ship {output / name(record.pick)}: {first}"
    return [first, *rest, *unjudged(record), *lines]
