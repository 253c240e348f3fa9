"""The seed paper's tables II and III as it prints them, seven rows, with our numbers beside them.

The long tables (accuracy.py, parameters.py, latency.py, predicted.py) hold every record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from edgekit import zoo
from edgekit.measurement.summary import summary_row
from edgekit.records import AccuracyRecord, ArtifactFacts, Measurement, PredictionRecord
from edgekit.report import cells
from edgekit.report.parameters import deployed
from edgekit.report.records import Saved, has_times
from edgekit.report.seed_paper import system_of
from edgekit.report.table import Table
from edgekit.runtimes.table import role_of
from edgekit.zoo import System

REFERENCE = "multitask-cnn"
BOARD = "rpi4"
"""The board whose predicted times stand beside the paper's phone."""


def paper_tables(saved: Saved) -> tuple[Table, Table]:
    """Return tables II and III; an empty cell is a dash."""
    return _table_two(saved.accuracy), _table_three(saved)


def _table_two(records: Sequence[AccuracyRecord]) -> Table:
    rows = []
    for system in zoo.systems().values():
        own = [r for r in records if (system_of(r.model) or ("",))[0] == system.name]
        rows.append(
            {
                "system": system.name,
                "paper: age": _printed(system.published.age.percent, system.published.age.spread),
                "paper: gender": _printed(
                    system.published.gender.percent, system.published.gender.spread
                ),
                "ours: age": _ours(own, "age", system),
                "ours: gender": _ours(own, "gender", system),
            }
        )
    data = sorted({record.protocol for record in records})
    return Table(
        name="paper-table-2",
        title="Table II. Accuracy, %: the paper's on Adience, ours on other data",
        columns=tuple(rows[0]),
        rows=tuple(rows),
        notes=(
            f"Ours: {'; '.join(data) or 'nothing is judged yet'}. Data and protocol differ from "
            "the paper's: compare within a column.",
        ),
    )


def _ours(records: Iterable[AccuracyRecord], output: str, system: System) -> str:
    """Return the accuracy of the trained network: PyTorch's before an artifact's, most images."""
    judged = [r for r in records if getattr(r, f"{output}_accuracy") is not None]
    if not judged:
        return cells.NONE

    def rank(record: AccuracyRecord) -> tuple[object, ...]:
        default = (system_of(record.model) or ("", ""))[1] == system.default
        fp32 = record.precision == "fp32"
        return record.images, default, role_of(record.backend) == "reference", fp32, record.label

    best = max(judged, key=rank)
    value = getattr(best, f"{output}_accuracy")
    low, high = (getattr(best, f"{output}_accuracy_{end}") for end in ("low", "high"))
    return f"{value:.1f}" if low is None or high is None else cells.percent(value, low, high)


def _table_three(saved: Saved) -> Table:
    here = [m for m in saved.measurements if has_times(m) and m.target == "host"]
    there = [p for p in saved.predictions if p.target == BOARD]
    rows = []
    for system in zoo.systems().values():
        variant = "pair" if "pair" in system.variants else system.default
        parameters, _ = deployed(system, variant)
        measured = _pick(here, system.name, variant)
        predicted = _pick(there, system.name, variant)
        printed = system.published
        rows.append(
            {
                "system": system.name,
                "paper: parameters": cells.count(printed.parameters),
                "ours: parameters": cells.count(parameters),
                "paper: desktop, s": _seconds(printed.desktop_seconds),
                "paper: phone, s": _seconds(printed.phone_seconds),
                "this machine, ms": _measured(measured),
                f"{BOARD}, predicted, ms": _predicted(predicted),
                f"{REFERENCE} is faster by": _times(system, here, there, variant),
            }
        )
    return Table(
        name="paper-table-3",
        title="Table III. Parameters and latency of one image, for age and gender together",
        columns=tuple(rows[0]),
        rows=tuple(rows),
        notes=(
            "ours: ONNX fp32, one thread, where it is there; a system that answers age and gender "
            "by two networks is counted as both",
            "predicted: nobody measured these times",
        ),
    )


Record = TypeVar("Record", Measurement, PredictionRecord)


def _pick(records: Iterable[Record], name: str, variant: str) -> Record | None:
    """Return a system's record in fp32 on one thread: ONNX's first, then the newest."""

    def fits(facts: ArtifactFacts) -> bool:
        return system_of(facts.model) == (name, variant) and facts.precision == "fp32"

    alike = [
        r
        for r in records
        if fits(r.artifact) and r.threads == 1 and role_of(r.artifact.backend) == "deployed"
    ]
    return max(alike, key=lambda r: (r.artifact.backend == "onnx", r.created), default=None)


def _measured(record: Measurement | None) -> str:
    if record is None:
        return cells.NONE
    row = summary_row(record)
    return cells.with_interval(row["p50_ms"], row["p50_low_ms"], row["p50_high_ms"])


def _predicted(record: PredictionRecord | None) -> str:
    if record is None:
        return cells.NONE
    return cells.with_interval(*(1e3 * end for end in (record.seconds, record.low, record.high)))


def _times(
    system: System,
    here: Sequence[Measurement],
    there: Sequence[PredictionRecord],
    variant: str,
) -> str:
    """Return how many times as fast the reference is: measured, or else by the predictions."""
    from edgekit.errors import BadResults
    from edgekit.measurement.comparison import compare

    if system.name == REFERENCE:
        return "1x"
    reference = zoo.systems()[REFERENCE].default
    ours, theirs = _pick(here, REFERENCE, reference), _pick(here, system.name, variant)
    if ours and theirs:
        try:
            return cells.times(compare(ours, theirs).ratio)
        except BadResults:
            pass
    guessed, other = _pick(there, REFERENCE, reference), _pick(there, system.name, variant)
    if guessed and other:
        return f"{other.seconds / guessed.seconds:.1f}x, predicted"
    return cells.NONE


def _printed(percent: float | None, spread: float | None) -> str:
    if percent is None:
        return cells.NONE
    return f"{percent:.1f}" if spread is None else f"{percent:.1f} ± {spread:.1f}"


def _seconds(value: float | None) -> str:
    return cells.NONE if value is None else f"{value:.2f}"
