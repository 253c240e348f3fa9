"""Fits the analytic predictor to the evidence and records how wrong it is.

    PYTHONPATH=. python benchmarks/scripts/fit_analytic.py

Writes analytic.json (the coefficients) and check.json (the accuracy of left-out rows), which
`edgekit predict-latency --check` rebuilds. The form is chosen anew without each family, which takes
some minutes and is kept in analytic.json.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgekit.files import write_whole
from edgekit.latency_model.analytic.accuracy import rebuild
from edgekit.latency_model.analytic.coefficients import make, save
from edgekit.latency_model.analytic.left_out import choose, nested
from edgekit.latency_model.analytic.observations import observations
from edgekit.latency_model.analytic.predictor import FILE
from edgekit.latency_model.evidence import fingerprint, load_networks, load_rows

EVIDENCE = Path(__file__).parents[1] / "evidence"
COMMAND = "python benchmarks/scripts/fit_analytic.py"


def main() -> None:
    """Write both files."""
    rows = observations(load_rows(), load_networks())
    forms, folds = choose(rows), nested(rows)
    found = rebuild(folds)
    evidence = fingerprint(EVIDENCE)
    fitted = make(found, forms, folds, command=COMMAND, evidence=evidence)
    save(fitted, EVIDENCE / FILE)
    record = {"command": COMMAND, "evidence": evidence, "rows": found.rows, "notes": found.notes}
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_whole(EVIDENCE / "check.json", text + b"\n")


if __name__ == "__main__":
    main()
