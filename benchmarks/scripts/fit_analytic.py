"""Fits the analytic predictor to the evidence and records how wrong it is.

    PYTHONPATH=. python benchmarks/scripts/fit_analytic.py

Writes analytic.json (the coefficients) and check.json (the accuracy of left-out rows) of the
evidence; `edgekit predict-latency --check` rebuilds the latter.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgekit.files import write_whole
from edgekit.latency_model.analytic.accuracy import rebuild
from edgekit.latency_model.analytic.coefficients import make, save
from edgekit.latency_model.analytic.intervals import COVERAGE
from edgekit.latency_model.analytic.predictor import FILE
from edgekit.latency_model.evidence import fingerprint

EVIDENCE = Path(__file__).parents[1] / "evidence"
COMMAND = "python benchmarks/scripts/fit_analytic.py"


def main() -> None:
    """Write both files."""
    found = rebuild()
    evidence = fingerprint(EVIDENCE)
    fitted = make(
        found.observations, found.widths, command=COMMAND, evidence=evidence, coverage=COVERAGE
    )
    save(fitted, EVIDENCE / FILE)
    record = {"command": COMMAND, "evidence": evidence, "rows": found.rows, "notes": found.notes}
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_whole(EVIDENCE / "check.json", text + b"\n")


if __name__ == "__main__":
    main()
