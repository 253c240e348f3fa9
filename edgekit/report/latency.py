"""Table III of the seed paper, latency: the printed seconds beside ours, by target and device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgekit import zoo
from edgekit.errors import BadResults
from edgekit.measurement.comparison import Comparison, compare
from edgekit.measurement.summary import summary_row
from edgekit.records import Measurement, comparability, record_key
from edgekit.report.records import has_times, table_order
from edgekit.report.seed_paper import erratum_notes, reconstruction_notes, system_of
from edgekit.report.table import Cell, Table
from edgekit.runtimes.table import role_of
from edgekit.zoo import System

REFERENCE = "multitask-cnn"
"""The paper's own network: every speed ratio is how many times as fast it is as the row."""
PRINTED_STEP = 0.01
"""The paper prints seconds with two decimals."""

_SUMMARY = (
    "backend",
    "precision",
    "runtime",
    "threads",
    "p50_ms",
    "p50_low_ms",
    "p50_high_ms",
    "verdict",
    "provenance",
    "target",
    "device",
)
COLUMNS = (
    "system",
    "variant",
    "deployed",
    "system_provenance",
    "published_desktop_s",
    "published_phone_s",
    "published_desktop_ratio",
    "published_phone_ratio",
    *_SUMMARY,
    "machine",
    "weights",
    "run",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_claim",
)


def latency_table(measurements: Sequence[Measurement]) -> Table:
    """Return a row per measurement of a system, and one for each system without any.

    `measurements` must have passed `saved.check_target`. Emulated ones carry no times.
    """
    rows: list[dict[str, Cell]] = []
    sources: list[str | None] = []
    for system in zoo.systems().values():
        own = sorted((m for m in measurements if _belongs(m, system)), key=table_order)
        rows += [_row(system, m, _reference(m, measurements)) for m in own] or [_published(system)]
        sources += [record_key(m) for m in own] or [None]
    title = "Table III, latency of one image"
    return Table(
        name="table-3-latency",
        title=title,
        columns=COLUMNS,
        rows=tuple(rows),
        notes=_notes(),
        sources=tuple(sources),
    )


def _published(system: System) -> dict[str, Cell]:
    """Return a row with the paper's columns filled and ours empty."""
    ours, theirs = zoo.systems()[REFERENCE].published, system.published
    return dict.fromkeys(COLUMNS) | {
        "system": system.name,
        "system_provenance": ", ".join(system.provenance),
        "published_desktop_s": theirs.desktop_seconds,
        "published_phone_s": theirs.phone_seconds,
        "published_desktop_ratio": _quotient(theirs.desktop_seconds, ours.desktop_seconds),
        "published_phone_ratio": _quotient(theirs.phone_seconds, ours.phone_seconds),
    }


def _row(
    system: System, measurement: Measurement, reference: Measurement | None
) -> dict[str, Cell]:
    _, variant = zoo.resolve(measurement.artifact.model)
    summary = summary_row(measurement)
    row = _published(system) | {column: summary[column] for column in _SUMMARY}
    row |= {
        "variant": variant,
        "deployed": system.variants[variant].answers_both,
        "machine": measurement.facts.title,
        "weights": measurement.artifact.weights,
        "run": measurement.run,
    }
    if not has_times(measurement):
        return row | dict.fromkeys(("p50_ms", "p50_low_ms", "p50_high_ms"))
    if reference is None:
        return row
    try:
        found = compare(reference, measurement)
    except BadResults:
        # Fewer than two rounds: the row's verdict says why.
        return row
    return row | {
        "ratio": found.ratio.value,
        "ratio_low": found.ratio.low,
        "ratio_high": found.ratio.high,
        "ratio_claim": _claim(found, system.name),
    }


def _claim(found: Comparison, name: str) -> str:
    """Return what the ratio allows to be said of the two."""
    if not found.differs:
        return "not ranked: the interval holds 1"
    if found.doubts:
        return f"not ranked: {'; '.join(found.doubts)}"
    return f"{REFERENCE if found.ratio.value > 1 else name} is faster"


def _reference(row: Measurement, measurements: Iterable[Measurement]) -> Measurement | None:
    """Return the reference network's measurement to hold `row` against, None where there is none.

    It is alike in backend, precision, runtime and all that must be equal; of several, one of the
    same run goes first, then the variant that is deployed by default, then the latest run.
    """
    system = zoo.systems()[REFERENCE]
    if _belongs(row, system):
        return None
    alike = [
        m
        for m in measurements
        if _belongs(m, system) and has_times(m) and _setting(m) == _setting(row)
    ]
    default = (REFERENCE, system.default)
    return max(
        alike,
        key=lambda m: (m.run == row.run, system_of(m.artifact.model) == default, m.run, m.label),
        default=None,
    )


def _setting(measurement: Measurement) -> tuple[object, ...]:
    artifact = measurement.artifact
    return (
        artifact.backend,
        artifact.precision,
        measurement.runtime,
        comparability(measurement),
    )


def _belongs(measurement: Measurement, system: System) -> bool:
    found = system_of(measurement.artifact.model)
    harness = role_of(measurement.artifact.backend) == "harness"  # computes no system
    return found is not None and found[0] == system.name and not harness


def _quotient(seconds: float | None, reference: float | None) -> float | None:
    """Return how many times `reference` goes into `seconds`, without the noise of binary."""
    return round(seconds / reference, 6) if seconds and reference else None


def _notes() -> tuple[str, ...]:
    return (
        "p50 is the median time of one inference, input tensor to outputs, with its 95 % interval; "
        "provenance says how every number of ours was made",
        f"ratio: how many times as fast {REFERENCE} is as the row, in the same backend, precision, "
        "runtime, threads and device, with its 95 % interval; an interval that holds 1 ranks "
        "nothing",
        "published_*: as the seed paper prints it (Vu et al., APSIPA 2019), for a system as a "
        "whole, on its desktop CPU at 3.6 GHz and its phone; the ratios are of those seconds",
        "deployed: answers age and gender; a network that answers one of them is half of what a "
        "user must deploy",
        "weights random: drawn from a seed, which is fine for latency and says nothing of accuracy",
        *_rounding_notes(),
        *erratum_notes("text", "Table III"),
        *reconstruction_notes(),
    )


def _rounding_notes() -> tuple[str, ...]:
    """Return how far the published ratios may be off because their seconds are rounded."""
    ours = zoo.systems()[REFERENCE].published
    notes = []
    for system in zoo.systems().values():
        theirs = system.published
        spans = [
            f"{_span(seconds, reference)} on the {where}"
            for where, seconds, reference in (
                ("desktop", theirs.desktop_seconds, ours.desktop_seconds),
                ("phone", theirs.phone_seconds, ours.phone_seconds),
            )
            if seconds and reference
        ]
        if spans and system.name != REFERENCE:
            notes.append(
                f"{system.name}: printed seconds are rounded to {PRINTED_STEP}, so the published "
                f"ratio may be anything from {' and from '.join(spans)}"
            )
    return tuple(notes)


def _span(seconds: float, reference: float) -> str:
    half = PRINTED_STEP / 2
    low, high = (seconds - half) / (reference + half), (seconds + half) / (reference - half)
    return f"{low:.1f} to {high:.1f}"
