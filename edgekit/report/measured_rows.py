"""Measurements as the table of `edgekit bench`: fastest first, speeds against one fp32 row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgekit.errors import UserError
from edgekit.report import cells

if TYPE_CHECKING:
    from edgekit.measurement.comparison import Comparison
    from edgekit.measurement.stats import Interval
    from edgekit.records import Measurement
    from edgekit.report.table import Table

_REMEDY = "Close other programs and measure again."


def by_model(measurements: Sequence[Measurement]) -> dict[str, list[dict[str, Any]]]:
    """Return each model's rows under its name."""
    models = dict.fromkeys(m.artifact.model for m in measurements)
    return {
        model: short_rows([m for m in measurements if m.artifact.model == model])
        for model in models
    }


def short_rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Return a row a measurement, the fastest first and the failed last.

    Its speed is how many times as fast it is as its model's reference row.
    """
    return [row for _, row in ranked(measurements)]


def table(measurements: Sequence[Measurement]) -> Table:
    """Return measurements as `edgekit bench` prints them; a notebook shows it as a table.

    Raises UserError for none.
    """
    from edgekit.report.table import Table

    if not measurements:
        raise UserError("there is no measurement to show: edgekit.bench returns some")
    rows = short_rows(measurements)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    first = measurements[0]
    models = dict.fromkeys(m.artifact.model for m in measurements)
    return Table(
        name="bench",
        title=f"{', '.join(models)} on {first.target} ({first.facts.title})",
        columns=columns,
        rows=tuple({name: row.get(name) for name in columns} for row in rows),
        notes=tuple(doubts(measurements)),
    )


def ranked(measurements: Sequence[Measurement]) -> list[tuple[Measurement, dict[str, Any]]]:
    """Return `short_rows` with the measurement of each."""
    from edgekit.measurement.summary import summary_row

    names = row_names(measurements)
    references = {
        m.artifact.model: _reference(m.artifact.model, measurements) for m in measurements
    }
    known = {f"{r.artifact.backend}-{r.artifact.precision}" for r in references.values() if r}
    against = f"speed against {known.pop() if len(known) == 1 else 'fp32'}"
    made = []
    for measurement, name in zip(measurements, names, strict=True):
        row = summary_row(measurement)
        reference = references[measurement.artifact.model]
        speed = "1x" if measurement is reference else cells.times(_speed(measurement, reference))
        made.append(
            (
                row["p50_ms"] if row["p50_ms"] is not None else float("inf"),
                measurement,
                {
                    "artifact": name,
                    "p50, ms": cells.with_interval(
                        row["p50_ms"], row["p50_low_ms"], row["p50_high_ms"]
                    ),
                    against: speed,
                    "size": cells.size(row["size_bytes"]),
                    "memory": cells.memory(row["peak_memory_mb"]),
                    "result": word_of(row["verdict"]),
                },
            )
        )
    made.sort(key=lambda item: item[0])
    return [(measurement, row) for _, measurement, row in made]


def word_of(verdict: str) -> str:
    """Return a verdict's one word: ok, doubt or failed."""
    kind = verdict.partition(":")[0]
    return "doubt" if kind == "inconclusive" else kind


def doubts(measurements: Sequence[Measurement]) -> list[str]:
    """Return a note for each row that failed or is in doubt: the reason, and what to do."""
    from edgekit.measurement.summary import verdict

    lines = []
    for measurement, name in zip(measurements, row_names(measurements), strict=True):
        kind, _, reason = verdict(measurement).partition(": ")
        if kind == "failed":
            lines.append(f"{name} failed: {reason}")
        elif reason:
            lines.append(f"{name}: {reason}. {_REMEDY}")
    return lines


def fastest(measurements: Sequence[Measurement]) -> list[str]:
    """Return the line that names the fastest artifact, or those that cannot be told apart."""
    from edgekit.measurement.summary import summary_row
    from edgekit.runtimes.table import role_of

    names = dict(zip(map(id, measurements), row_names(measurements), strict=True))
    ran = [
        (row["p50_ms"], m)
        for m in measurements
        if role_of(m.artifact.backend) == "deployed"
        and (row := summary_row(m))["p50_ms"] is not None
    ]
    if len(ran) < 2:
        return []
    ran.sort(key=lambda item: item[0])
    first = ran[0][1]
    alike = [m for _, m in ran[1:] if (found := _compare(first, m)) is None or not found.differs]
    if not alike:
        return [f"Fastest: {names[id(first)]}."]
    others = ", ".join(names[id(m)] for m in alike)
    return [f"Fastest: {names[id(first)]}, with no clear difference from {others}."]


def model_title(measurements: Sequence[Measurement]) -> str:
    """Return the model's name where all rows are of one, or how many models there are."""
    models = {m.artifact.model for m in measurements}
    return models.pop() if len(models) == 1 else f"{len(models)} models"


def row_names(measurements: Sequence[Measurement]) -> list[str]:
    """Return each row's name: `onnx-int8`, with the model where there are several.

    And with the runtime where that tells two apart, or is not the backend's own.
    """
    from edgekit.runtimes.table import runtimes_of

    several = len({m.artifact.model for m in measurements}) > 1
    names = [
        f"{m.artifact.model} " * several + f"{m.artifact.backend}-{m.artifact.precision}"
        for m in measurements
    ]
    return [
        f"{name} {m.runtime}"
        if names.count(name) > 1
        or any(found.name == m.runtime for found in runtimes_of(m.artifact.backend)[1:])
        else name
        for name, m in zip(names, measurements, strict=True)
    ]


def _reference(model: str, measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the row that a model's speeds are against: ONNX fp32, or else another in fp32."""
    from edgekit.runtimes.table import role_of

    own = [
        m
        for m in measurements
        if m.artifact.model == model
        and m.artifact.precision == "fp32"
        and role_of(m.artifact.backend) == "deployed"
        and len(m.rounds) > 1
    ]
    return min(own, key=lambda m: m.artifact.backend != "onnx", default=None)


def _speed(measurement: Measurement, reference: Measurement | None) -> Interval | None:
    found = _compare(measurement, reference) if reference else None
    return found.ratio if found else None


def _compare(first: Measurement, second: Measurement) -> Comparison | None:
    from edgekit.errors import BadResults
    from edgekit.measurement.comparison import compare

    try:
        return compare(first, second)
    except BadResults:  # too few rounds, or not measured alike: nothing is claimed
        return None
