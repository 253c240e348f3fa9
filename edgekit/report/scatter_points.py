"""What the scatter plots show: each artifact's latency somewhere, its size and its accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.evaluation.intervals import wilson
from edgekit.measurement.summary import summary_row
from edgekit.records import (
    AccuracyRecord,
    ArtifactFacts,
    Measurement,
    PredictionRecord,
    Provenance,
    record_key,
)
from edgekit.report.records import Saved, has_times, table_order
from edgekit.runtimes.table import role_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """A share of right answers in per cent with its 95 % interval, and the record it is from."""

    percent: float
    low: float
    high: float
    record: AccuracyRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One artifact at one place; milliseconds and bytes.

    `low` and `high` are a measurement's 95 % interval, or a prediction's; None where it has none.
    `ranked` is False where the numbers are in doubt (`verdict`), so that nothing is claimed of
    them. `qualities` are by (what, on what data): `("age accuracy", "UTKFace …")`.
    """

    key: str
    place: str
    artifact: ArtifactFacts
    name: str
    ms: float
    low: float | None
    high: float | None
    provenance: Provenance
    verdict: str
    qualities: Mapping[tuple[str, str], Quality]

    @property
    def ranked(self) -> bool:
        """Whether a front may hold it."""
        return self.verdict == "ok"


def measured_place(measurement: Measurement) -> str:
    """Return where and how it ran: only numbers of one place are compared."""
    where = f"{measurement.target}, {measurement.facts.title}, {_threads(measurement.threads)}"
    return where if measurement.device == "local" else f"{where}, {measurement.device}"


def points(saved: Saved) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Return the points in the tables' order, and one line on what has no place in a scatter."""
    found: list[Point] = []
    silent: dict[str, int] = {}
    for measurement in sorted(saved.measurements, key=table_order):
        row = summary_row(measurement)
        why = _unplaced(measurement, row)
        if why is None:
            found.append(_measured(measurement, row, saved.accuracy))
        else:
            silent[why] = silent.get(why, 0) + 1
    if saved.emulations:
        silent["emulated: an emulator's seconds are no latency"] = len(saved.emulations)
    found += [_predicted(record, saved.accuracy) for record in saved.predictions]
    lines = tuple(f"{count} without a place here ({why})" for why, count in silent.items())
    return tuple(found), lines


def _unplaced(measurement: Measurement, row: Mapping[str, Any]) -> str | None:
    if role_of(measurement.artifact.backend) == "harness":
        return "the harness's own cost, which is no artifact"
    if not has_times(measurement):
        return "emulated: an emulator's seconds are no latency"
    if row["p50_ms"] is None:
        return "too few samples for a p50"
    return None


def _measured(
    measurement: Measurement, row: Mapping[str, Any], accuracy: Sequence[AccuracyRecord]
) -> Point:
    return Point(
        key=record_key(measurement),
        place=measured_place(measurement),
        artifact=measurement.artifact,
        name=measurement.title,
        ms=row["p50_ms"],
        low=row["p50_low_ms"],
        high=row["p50_high_ms"],
        provenance=measurement.provenance,
        verdict=row["verdict"],
        qualities=qualities(measurement.artifact, accuracy),
    )


def _predicted(record: PredictionRecord, accuracy: Sequence[AccuracyRecord]) -> Point:
    artifact = record.artifact
    return Point(
        key=record_key(record),
        place=f"{record.target}, {_threads(record.threads)}, at {record.clock_mhz:,.0f} MHz",
        artifact=artifact,
        name=f"{artifact.model} {artifact.backend} {artifact.precision}",
        ms=1000 * record.seconds,
        low=1000 * record.low,
        high=1000 * record.high,
        provenance=record.provenance,
        verdict="ok" if record.calibrated else f"uncalibrated: {record.why}",
        qualities=qualities(artifact, accuracy),
    )


def qualities(
    artifact: ArtifactFacts, records: Iterable[AccuracyRecord]
) -> dict[tuple[str, str], Quality]:
    """Return an artifact's accuracies: of that very file, or of the torch model it is.

    Where one was judged more than once on the same data, the record with the most images wins.
    """
    best: dict[tuple[str, str], Quality] = {}
    for record in records:
        same_model = (record.model, record.backend) == (artifact.model, artifact.backend)
        if record.artifact != artifact.sha256 and not (record.artifact is None and same_model):
            continue
        for name, (percent, low, high) in shares(record).items():
            place = (name, f"{record.protocol}, {record.split} side")
            if place not in best or best[place].record.images < record.images:
                best[place] = Quality(percent=percent, low=low, high=high, record=record)
    return best


def shares(record: AccuracyRecord) -> dict[str, tuple[float, float, float]]:
    """Return the share of exact answers of each output with its 95 % interval, in per cent.

    Age and gender are in the record; any other output's is counted from its confusion. Boxes and
    masks have their own measures: `what mAP50-95`, `places mIoU`.
    """
    named = {
        "age accuracy": (record.age_accuracy, record.age_accuracy_low, record.age_accuracy_high),
        "gender accuracy": (
            record.gender_accuracy, record.gender_accuracy_low, record.gender_accuracy_high,
        ),
    }  # fmt: skip
    found = {
        name: (value, value if low is None else low, value if high is None else high)
        for name, (value, low, high) in named.items()
        if value is not None
    }
    for item in record.confusion:
        total = sum(map(sum, item.counts))
        if total and f"{item.output} accuracy" not in found:
            right = sum(row[place] for place, row in enumerate(item.counts))
            low, high = wilson(right, total)
            found[f"{item.output} accuracy"] = (100 * right / total, 100 * low, 100 * high)
    for rating in record.ratings:
        name = f"{rating.output} {rating.measure.replace('_', '-')}"
        found[name] = (rating.percent, rating.low, rating.high)
    return found


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"
