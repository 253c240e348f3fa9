"""Table III on a board that is not here: predicted latency beside the paper's phone column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, hypot, log

from edgekit import zoo
from edgekit.records import PredictionRecord, record_key
from edgekit.report.latency import REFERENCE
from edgekit.report.seed_paper import reconstruction_notes, system_of
from edgekit.report.table import Cell, Table

COLUMNS = (
    "system",
    "variant",
    "deployed",
    "published_phone_s",
    "published_phone_ratio",
    "backend",
    "precision",
    "runtime",
    "target",
    "clock_mhz",
    "threads",
    "predicted_p50_ms",
    "low_ms",
    "high_ms",
    "coverage",
    "calibration",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_claim",
    "method",
    "provenance",
    "why",
)


def predicted_table(predictions: Sequence[PredictionRecord]) -> Table:
    """Return a row per saved prediction of a system of the paper."""
    made = [
        (record_key(record), _row(record, found, _reference(record, predictions)))
        for record in sorted(predictions, key=_order)
        if (found := system_of(record.artifact.model)) is not None
    ]
    title = "Table III, latency of one image on a board, predicted"
    rows, sources = tuple(row for _, row in made), tuple(key for key, _ in made)
    notes = _notes()
    return Table(
        name="table-3-latency-predicted",
        title=title,
        columns=COLUMNS,
        rows=rows,
        notes=notes,
        sources=sources,
    )


def _order(record: PredictionRecord) -> tuple[str | int, ...]:
    artifact = record.artifact
    program = (artifact.backend, artifact.precision, record.runtime, record.threads)
    return (record.target, artifact.model, *program, record.method)


def _row(
    record: PredictionRecord, found: tuple[str, str], reference: PredictionRecord | None
) -> dict[str, Cell]:
    name, variant = found
    system, ours = zoo.systems()[name], zoo.systems()[REFERENCE].published
    phone, own = system.published.phone_seconds, ours.phone_seconds
    row: dict[str, Cell] = dict.fromkeys(COLUMNS) | {
        "system": name,
        "variant": variant,
        "deployed": system.variants[variant].answers_both,
        "published_phone_s": phone,
        "published_phone_ratio": round(phone / own, 6) if phone and own else None,
        "backend": record.artifact.backend,
        "precision": record.artifact.precision,
        "runtime": record.runtime,
        "target": record.target,
        "clock_mhz": record.clock_mhz,
        "threads": record.threads,
        "predicted_p50_ms": record.seconds * 1e3,
        "low_ms": record.low * 1e3,
        "high_ms": record.high * 1e3,
        "coverage": record.coverage,
        "calibration": "calibrated" if record.calibrated else "uncalibrated",
        "method": record.method,
        "provenance": record.provenance,
        "why": record.why,
    }
    if reference is None:
        return row
    ratio = record.seconds / reference.seconds
    low, high = (ratio * exp(sign * _ratio_half(record, reference)) for sign in (-1, 1))
    claim = "not ranked: the interval holds 1"
    if low > 1 or high < 1:
        claim = f"{REFERENCE if ratio > 1 else name} is faster"
    return row | {"ratio": ratio, "ratio_low": low, "ratio_high": high, "ratio_claim": claim}


def _reference(
    record: PredictionRecord, predictions: Iterable[PredictionRecord]
) -> PredictionRecord | None:
    """Return the reference network's prediction in the very same setting by the same numbers."""
    name = (REFERENCE, zoo.systems()[REFERENCE].default)
    if (system_of(record.artifact.model) or ("", ""))[0] == REFERENCE:
        return None
    alike = (
        p
        for p in predictions
        if system_of(p.artifact.model) == name and _setting(p) == _setting(record)
    )
    return next(alike, None)


def _setting(record: PredictionRecord) -> tuple[object, ...]:
    artifact = record.artifact
    return (
        artifact.backend, artifact.precision, record.runtime, record.target, record.threads,
        record.clock_mhz, record.method, record.coefficients,
    )  # fmt: skip


def _ratio_half(record: PredictionRecord, reference: PredictionRecord) -> float:
    """Return the half-width of log ratio, both errors independent.

    Of left-out networks in one setting of the evidence nothing was seen to cancel in ratios.
    """
    return hypot(*(log(item.high / item.seconds) for item in (record, reference)))


def _notes() -> tuple[str, ...]:
    return (
        "predicted: nobody measured these. p50 of one inference, input tensor to outputs; low and "
        "high are made to hold a measurement as often as coverage says. `edgekit predict-latency "
        "--check` prints how wrong the predictor was on evidence left out",
        "uncalibrated: no evidence is alike enough to say so (why), and the interval is wider by "
        "rule",
        f"ratio: how many times as fast {REFERENCE} is predicted to be as the row, in the same "
        "setting; the interval is that of two independent errors, since nothing was seen to cancel "
        "in the ratios of left-out networks of the evidence",
        "published_phone_*: as the seed paper prints it (Vu et al., APSIPA 2019), on its phone, "
        "whose chip and runtime it does not name: a ratio there and one on this board need not be "
        "equal",
        "deployed: answers age and gender; a network that answers one of them is half of what a "
        "user must deploy",
        *reconstruction_notes(),
    )
