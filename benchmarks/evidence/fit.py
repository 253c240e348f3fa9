"""Fits the analytic predictor to the evidence and records how wrong it is.

    PYTHONPATH=. python benchmarks/evidence/fit.py

Writes analytic.json (the coefficients) and check.json (the accuracy of left-out rows), which
`edgekit predict-latency --check` rebuilds.
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

HERE = Path(__file__).parent
COMMAND = "python benchmarks/evidence/fit.py"


def main() -> None:
    """Write both files."""
    found = rebuild()
    evidence = fingerprint(HERE)
    fitted = make(
        found.observations, found.widths, command=COMMAND, evidence=evidence, coverage=COVERAGE
    )
    save(fitted, HERE / FILE)
    record = {"command": COMMAND, "evidence": evidence, "rows": found.rows, "notes": found.notes}
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_whole(HERE / "check.json", text + b"\n")


if __name__ == "__main__":
    main()
