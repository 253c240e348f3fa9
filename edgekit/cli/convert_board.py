"""What `edgekit convert --target` shows of the board: each artifact there, and the one to ship."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.conversion.board import OnBoard, Trial


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
            "result": result(board, trial),
        }
        for trial in board.trials
    ]


def short_board_rows(board: OnBoard) -> list[dict[str, Any]]:
    """Return a row an artifact, for people; the one to ship first."""
    from edgekit.report.cells import NONE, with_interval

    rows = []
    for trial in sorted(board.trials, key=lambda trial: _order(board, trial)):
        cost = trial.cost
        cells = {
            "artifact": trial.name,
            "answers": _answers(trial),
        }
        if any(item.cost.instructions is not None for item in board.trials):
            count = cost.instructions
            cells["million instr."] = NONE if count is None else f"{count / 1e6:,.2f}"
        if board.basis in {"predicted", "measured"}:
            times = (cost.seconds, cost.low, cost.high)
            cells[f"{board.basis} ms"] = with_interval(*(t and 1e3 * t for t in times))
        if board.asked:
            cells["lost"] = NONE if trial.lost is None else f"{trial.lost + 0.0:.1f}"
        cells["result"] = result(board, trial)
        rows.append(cells)
    return rows


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


def result(board: OnBoard, trial: Trial) -> str:
    """Return what became of an artifact, in a word or two."""
    if trial.fault:
        return "failed"
    if board.pick is trial:
        return "ship"
    if not board.asked:
        return "ok"
    if trial.lost is not None and trial.lost > board.max_drop:
        return "inaccurate"
    return "slower"


def board_title(board: OnBoard) -> str:
    """Return what heads the table of the board."""
    ran = "emulated" if board.provenance == "emulated" else board.device
    return f"On the {board.title} ({ran}), by its own programs"


def board_notes(board: OnBoard, output: Path) -> list[str]:
    """Return how the artifact to ship was found, and what failed."""
    lines = [
        f"{trial.name} failed on the board: {trial.fault}" for trial in board.trials if trial.fault
    ]
    lines += board.notes
    if board.trials:
        lines.append(
            "answers against the model's: the largest difference, or equal decisions + near ties; "
            "lost: points of accuracy"
        )
    if board.trials and board.provenance == "emulated":
        lines.append(
            "ARM programs on an emulated CPU: answers and instructions are theirs, of one "
            "inference on one thread; no time is measured"
        )
    if not board.asked or not board.trials:
        return lines
    return [*_chosen(board, output), *lines]


def _chosen(board: OnBoard, output: Path) -> list[str]:
    unit = "accuracy" if board.labelled else "agreement with the model"
    pick = board.pick
    if pick is None:
        return [
            f"no artifact loses at most {board.max_drop:g} points of {unit} on the board: raise "
            "--max-drop, or give more or better --calibration images"
        ]
    ranked = {
        "predicted": "the fewest predicted milliseconds; where intervals overlap with the "
        "fastest's, the fewest instructions, which are counted exactly",
        "measured": "the fewest measured milliseconds",
        "counted": "the fewest instructions: not all times could be predicted",
        "nothing": "nothing: neither times nor instructions are known",
    }[board.basis]
    if pick.lost is None:
        lost = "no accuracy was judged"
    else:
        what = "labelled images" if board.labelled else "images without labels (--guard takes some)"
        lost = (
            f"it loses {pick.lost + 0.0:.1f} points of {unit} on {pick.judged} {what}, "
            f"{board.max_drop:g} allowed"
        )
    lines = [f"ship {output / pick.name}: {lost}", f"ranked by {ranked}"]
    if doubts := {trial.cost.doubt for trial in board.trials if trial.cost.doubt}:
        lines += sorted(doubts)
    if (
        any(trial.lost is None and not trial.fault for trial in board.trials)
        and pick.lost is not None
    ):
        lines.append("accuracy is judged from the cheapest on, until one holds; – is not judged")
    return lines


def _order(board: OnBoard, trial: Trial) -> tuple[bool, bool, float, float]:
    cost = trial.cost
    count = float(cost.instructions or 0)
    first = cost.seconds if board.basis in {"predicted", "measured"} else count
    return trial is not board.pick, bool(trial.fault), first or 0.0, count
