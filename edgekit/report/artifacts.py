"""The table of artifacts: size, parity, latency, memory and doubts of everything measured."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.measurement.summary import summary_row
from edgekit.records import EmulationRecord, Measurement, record_key
from edgekit.report.records import has_times, table_order
from edgekit.report.table import Cell, Table

_REAL_TIME = (
    "p50_ms",
    "p50_low_ms",
    "p50_high_ms",
    "p90_ms",
    "p99_ms",
    "load_ms",
    "first_ms",
    "end_to_end_p50_ms",
    "peak_memory_mb",
)
"""What an emulator cannot tell of the board it stands for."""

COLUMNS = (
    "model",
    "backend",
    "precision",
    "weights",
    "size_bytes",
    "parity_max_abs_diff",
    "parity_agreement",
    *_REAL_TIME,
    "instructions_per_inference",
    "verdict",
    "provenance",
    "target",
    "device",
    "machine",
    "runtime",
    "threads",
    "samples",
    "rounds",
    "run",
)

_NOTES = (
    "parity: against the torch model on real image files; agreement is the share of images with "
    "the same decision in every output, 0 to 1",
    "p50 has its 95 % interval; a percentile with too few samples (at 99 % confidence p50 needs "
    "11, p90 64, p99 662) is left out",
    "load and first are the middle one of the rounds; end_to_end is image bytes to answer; memory "
    "is the process's peak (VmHWM), in 10^6 bytes",
    "emulated rows: real ARM runtimes on an emulated CPU; the verdict compares their outputs with "
    "the host's, instructions are exact, memory is the program's own peak",
    "provenance: measured is that device in real time; emulated numbers have no times; the "
    "backend null is the harness's own cost",
    "weights random: drawn from a seed, which is fine for latency and says nothing of accuracy",
)


def artifacts_table(
    measurements: Sequence[Measurement],
    emulations: Sequence[EmulationRecord],
    problems: Sequence[str],
) -> Table:
    """Return a row per measurement and per emulation.

    `problems` of loading them go below, so that none is silent. `measurements` must have passed
    `saved.check_target`.
    """
    ordered = sorted(measurements, key=table_order)
    measured = (_row(m) for m in ordered)
    emulated = (_emulated_row(record) for record in emulations)
    rows = (*measured, *emulated)
    notes = (*_NOTES, *problems)
    sources = (*map(record_key, ordered), *map(record_key, emulations))
    return Table(
        name="artifacts",
        title="Artifacts",
        columns=COLUMNS,
        rows=rows,
        notes=notes,
        sources=sources,
    )


def _row(measurement: Measurement) -> dict[str, Cell]:
    artifact, summary = measurement.artifact, summary_row(measurement)
    facts: dict[str, Cell] = {
        **summary,
        "weights": artifact.weights,
        "parity_max_abs_diff": artifact.parity_max_abs_diff,
        "parity_agreement": artifact.parity_agreement,
        "instructions_per_inference": None,
        "machine": measurement.facts.title,
        "run": measurement.run,
    }
    if not has_times(measurement):
        facts |= dict.fromkeys(_REAL_TIME)
    return {column: facts[column] for column in COLUMNS}


def _emulated_row(record: EmulationRecord) -> dict[str, Cell]:
    artifact = record.artifact
    facts: dict[str, Cell] = dict.fromkeys(COLUMNS)
    facts |= {
        "model": artifact.model,
        "backend": artifact.backend,
        "precision": artifact.precision,
        "weights": artifact.weights,
        "size_bytes": artifact.bytes,
        "parity_max_abs_diff": artifact.parity_max_abs_diff,
        "parity_agreement": artifact.parity_agreement,
        "peak_memory_mb": record.peak_memory_bytes / 1e6 if record.peak_memory_bytes else None,
        "instructions_per_inference": record.instructions_per_inference,
        "verdict": _likeness(record),
        "provenance": record.provenance,
        "target": record.target,
        "device": record.device,
        "machine": record.device,
        "runtime": record.runtime,
        "threads": 1,
        "samples": record.images,
    }
    return facts


def _likeness(record: EmulationRecord) -> str:
    """Return how the board's outputs compare with the host's, or what it died of."""
    if record.failure:
        return f"failed: {record.failure}"
    if record.identical:
        return "outputs identical to the host's"
    return f"outputs within {record.max_abs_diff:.2g} of the host's"
