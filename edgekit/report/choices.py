"""How `convert --best` found the artifact to ship: in words, and as a table."""

from __future__ import annotations

from edgekit.records import ChoiceRecord, WeighedArtifact, record_key, slug
from edgekit.report import cells
from edgekit.report.table import Cell, Table

_RANKED_BY = {
    "predicted": "the fewest predicted milliseconds; where intervals overlap with the "
    "fastest's, the fewest instructions, which are counted exactly",
    "measured": "the fewest measured milliseconds",
    "counted": "the fewest instructions: not all times could be predicted",
    "nothing": "nothing: neither times nor instructions are known",
}


def name(item: WeighedArtifact) -> str:
    """Return `tflite-int8`."""
    return f"{item.artifact.backend}-{item.artifact.precision}"


def why(record: ChoiceRecord) -> tuple[str, ...]:
    """Return what the chosen artifact loses, what it was ranked by, and what is in doubt.

    Where nothing was chosen, one line that says so and what to do.
    """
    unit = "accuracy" if record.labelled else "agreement with the model"
    pick = record.pick
    if pick is None:
        return (
            f"no artifact loses at most {record.max_drop:g} points of {unit} on the board: raise "
            "--max-drop, or give more or better --calibration images",
        )
    doubts = sorted({item.doubt for item in record.weighed if item.doubt})
    return (lost(record, pick), f"ranked by {_RANKED_BY[record.basis]}", *doubts)


def unjudged(record: ChoiceRecord) -> tuple[str, ...]:
    """Return why some artifacts have no accuracy; nothing where all have, or none."""
    pick = record.pick
    waiting = any(item.lost is None and not item.fault for item in record.weighed)
    if pick is None or pick.lost is None or not waiting:
        return ()
    return ("accuracy is judged from the cheapest on, until one holds; – is not judged",)


def lost(record: ChoiceRecord, pick: WeighedArtifact) -> str:
    """Return what an artifact loses on the board, as a clause."""
    if pick.lost is None:
        return "no accuracy was judged"
    unit = "accuracy" if record.labelled else "agreement with the model"
    what = "labelled images" if record.labelled else "images without labels (--guard takes some)"
    return (
        f"it loses {pick.lost + 0.0:.1f} points of {unit} on {pick.judged:,} {what}, "
        f"{record.max_drop:g} allowed"
    )


def cost_cells(record: ChoiceRecord, item: WeighedArtifact) -> dict[str, Cell]:
    """Return the cells of what an inference takes and what is lost; the same columns in each row.

    A column is left out where no artifact of the choice has anything in it.
    """
    row: dict[str, Cell] = {}
    if any(other.instructions is not None for other in record.weighed):
        count = item.instructions
        row["million instr."] = cells.NONE if count is None else f"{count / 1e6:,.2f}"
    if record.basis in {"predicted", "measured"}:
        times = (item.seconds, item.low, item.high)
        row[f"{record.basis} ms"] = cells.with_interval(*(t and 1e3 * t for t in times))
    if any(other.lost is not None for other in record.weighed):
        row["lost"] = cells.NONE if item.lost is None else f"{item.lost + 0.0:.1f}"
    return row


def choice_table(record: ChoiceRecord) -> Table:
    """Return a row an artifact that was weighed, the one to ship first, and why it is that one."""
    rows = [
        {
            "artifact": name(item),
            "runtime": item.runtime,
            **cost_cells(record, item),
            "size": cells.size(item.artifact.bytes),
            "result": item.result,
        }
        for item in sorted(record.weighed, key=lambda item: order(record, item))
    ]
    pick = record.pick
    first, *rest = why(record)
    faults = (f"{name(item)} failed there: {item.fault}" for item in record.weighed if item.fault)
    title = f"{record.model} on {record.target}, chosen by convert --best ({record.provenance})"
    return Table(
        name=f"choice-{slug(record.label)}"[:120],
        title=title,
        columns=tuple(rows[0]) if rows else ("artifact", "result"),
        rows=tuple(rows),
        notes=(
            f"ship {name(pick)}: {first}" if pick else first,
            *rest,
            *unjudged(record),
            "lost: points of accuracy against the model, by the board's own programs",
            *faults,
            *record.notes,
        ),
        sources=(record_key(record),) * len(rows),
    )


def order(record: ChoiceRecord, item: WeighedArtifact) -> tuple[bool, bool, float, float]:
    """Return what artifacts are sorted by: the one to ship, then by cost, then what failed."""
    count = float(item.instructions or 0)
    first = item.seconds if record.basis in {"predicted", "measured"} else count
    return item.result != "ship", bool(item.fault), first or 0.0, count
