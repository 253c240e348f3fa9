"""The table of artifacts: size, parity, latency, memory and doubts of everything measured."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.measure import summary_row
from edgekit.report.saved import has_times, table_order
from edgekit.report.table import Cell, Table
from edgekit.results import Measurement

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
    "provenance: measured is that device in real time; emulated numbers have no times; the "
    "backend null is the harness's own cost",
    "weights random: drawn from a seed, which is fine for latency and says nothing of accuracy",
)


def artifacts_table(measurements: Sequence[Measurement], problems: Sequence[str]) -> Table:
    """Return a row per measurement; `problems` of loading them go below, so that none is silent.

    `measurements` must have passed `saved.check_target`.
    """
    rows = tuple(_row(m) for m in sorted(measurements, key=table_order))
    notes = (*_NOTES, *problems)
    return Table("artifacts", "Artifacts", COLUMNS, rows, notes)


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
