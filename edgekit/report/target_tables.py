"""One short table for each model and place: what a person compares, in eight columns or fewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edgekit.records import (
    AccuracyRecord,
    AnyRecord,
    ArtifactFacts,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    record_key,
    slug,
)
from edgekit.report import cells
from edgekit.report.choices import choice_table
from edgekit.report.measured_rows import doubts, ranked
from edgekit.report.records import Saved, has_times
from edgekit.report.scatter_points import Quality, qualities
from edgekit.report.table import Cell, Table

_OUTPUTS = 2
"""Outputs whose accuracy has a column; the long tables hold all."""


def target_tables(saved: Saved) -> tuple[Table, ...]:
    """Return the tables of what was chosen, measured, predicted and emulated, in that order."""
    measured: dict[tuple[str, str], list[Measurement]] = {}
    for row in _newest(m for m in saved.measurements if has_times(m)):
        threads = f"{row.threads} thread{'s' * (row.threads > 1)}"
        device = "" if row.device == "local" else f", {row.device}"
        place = f"{row.target}{device} ({row.facts.title}), {threads}, measured"
        measured.setdefault((row.artifact.model, place), []).append(row)
    predicted: dict[tuple[str, str], list[PredictionRecord]] = {}
    for record in saved.predictions:
        key = (record.artifact.model, f"{record.target}, predicted")
        predicted.setdefault(key, []).append(record)
    emulated: dict[tuple[str, str], list[EmulationRecord]] = {}
    for emulation in saved.emulations:
        key = (emulation.artifact.model, f"{emulation.target}, emulated")
        emulated.setdefault(key, []).append(emulation)
    return (
        *(choice_table(record) for record in saved.choices),
        *(_measured(*key, rows, saved.accuracy) for key, rows in measured.items()),
        *(_predicted(*key, rows, saved.accuracy) for key, rows in predicted.items()),
        *(_emulated(*key, rows, saved.accuracy) for key, rows in emulated.items()),
    )


def _newest(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return the newest measurement of each artifact in each setting."""
    newest: dict[tuple[object, ...], Measurement] = {}
    for row in sorted(measurements, key=lambda m: (m.created, m.run)):
        facts = row.artifact
        place = (row.target, row.device, row.facts.title, row.threads, row.runtime)
        newest[(facts.model, facts.backend, facts.precision, *place)] = row
    return list(newest.values())


def _measured(
    model: str, place: str, rows: Sequence[Measurement], accuracy: Sequence[AccuracyRecord]
) -> Table:
    made = [(m, row | _shares(m.artifact, accuracy)) for m, row in ranked(rows)]
    return _table(model, place, made, (*doubts(rows), *_data(rows, accuracy)))


def _predicted(
    model: str, place: str, rows: Sequence[PredictionRecord], accuracy: Sequence[AccuracyRecord]
) -> Table:
    made: list[tuple[AnyRecord, dict[str, Cell]]] = []
    for record in sorted(rows, key=lambda r: (r.seconds, r.label)):
        facts = record.artifact
        ends = (1e3 * value for value in (record.seconds, record.low, record.high))
        made.append(
            (
                record,
                {
                    "artifact": f"{facts.backend}-{facts.precision}",
                    "runtime": record.runtime,
                    "threads": record.threads,
                    "p50, ms": cells.with_interval(*ends),
                    "size": cells.size(facts.bytes),
                    **_shares(facts, accuracy),
                    "result": "calibrated" if record.calibrated else "uncalibrated",
                },
            )
        )
    return _table(model, place, made, ("nobody measured these times", *_data(rows, accuracy)))


def _emulated(
    model: str, place: str, rows: Sequence[EmulationRecord], accuracy: Sequence[AccuracyRecord]
) -> Table:
    made: list[tuple[AnyRecord, dict[str, Cell]]] = []
    for record in sorted(rows, key=lambda r: r.instructions_per_inference or 1 << 62):
        facts, count = record.artifact, record.instructions_per_inference
        same = "equal" if record.identical else f"within {record.max_abs_diff or 0:.2g}"
        made.append(
            (
                record,
                {
                    "artifact": f"{facts.backend}-{facts.precision}",
                    "runtime": record.runtime,
                    "instructions": cells.NONE if count is None else f"{count / 1e6:,.1f} M",
                    "outputs": cells.NONE if record.failure else same,
                    "size": cells.size(facts.bytes),
                    **_shares(facts, accuracy),
                    "result": "failed" if record.failure else "ok",
                },
            )
        )
    failures = tuple(
        f"{r.artifact.backend}-{r.artifact.precision} failed: {r.failure}"
        for r in rows
        if r.failure
    )
    notes = ("instructions of one inference; an emulator has no time", *failures)
    return _table(model, place, made, (*notes, *_data(rows, accuracy)))


def _table(
    model: str,
    place: str,
    made: Sequence[tuple[AnyRecord, Mapping[str, Cell]]],
    notes: Sequence[str],
) -> Table:
    rows = [row for _, row in made]
    columns = tuple(dict.fromkeys(name for row in rows for name in row if name != "result"))
    columns = (*columns, "result")
    return Table(
        name=f"target-{slug(f'{model} {place}')}"[:120],
        title=f"{model} on {place}",
        columns=columns,
        rows=tuple({name: row.get(name) for name in columns} for row in rows),
        notes=tuple(dict.fromkeys(notes)),
        sources=tuple(record_key(record) for record, _ in made),
    )


def _best(
    artifact: ArtifactFacts, accuracy: Sequence[AccuracyRecord]
) -> dict[str, tuple[str, Quality]]:
    """Return each output's accuracy on the data with the most images, with the data's name."""
    best: dict[str, tuple[str, Quality]] = {}
    for (what, data), quality in qualities(artifact, accuracy).items():
        if what not in best or best[what][1].record.images < quality.record.images:
            best[what] = (data, quality)
    return dict(list(best.items())[:_OUTPUTS])


def _shares(artifact: ArtifactFacts, accuracy: Sequence[AccuracyRecord]) -> dict[str, Cell]:
    return {
        f"{what.removesuffix(' accuracy')}, %": cells.percent(q.percent, q.low, q.high)
        for what, (_, q) in _best(artifact, accuracy).items()
    }


def _data(
    rows: Sequence[Measurement] | Sequence[PredictionRecord] | Sequence[EmulationRecord],
    accuracy: Sequence[AccuracyRecord],
) -> list[str]:
    """Return what the accuracies were judged on, a line each."""
    lines = [
        f"{what}: {data}, {quality.record.images:,} images"
        for row in rows
        for what, (data, quality) in _best(row.artifact, accuracy).items()
    ]
    return list(dict.fromkeys(lines))
