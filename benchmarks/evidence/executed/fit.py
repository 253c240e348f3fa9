"""Fits the constants of every counted board and writes benchmarks/evidence/executed.json.

    PYTHONPATH=. python benchmarks/evidence/executed/fit.py

Nothing is emulated: it reads latency.csv, features.csv and the counts beside this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.files import sha256
from edgekit.predict.evidence import fingerprint, folder
from edgekit.predict.executed import FILE
from edgekit.predict.executed_accuracy import (
    COVERAGE,
    LeftOut,
    ablation_lines,
    half_widths,
    leave_out,
    medians,
)
from edgekit.predict.executed_coefficients import Constants, ExecutedCoefficients, by_term, save
from edgekit.predict.executed_fit import counts_of, fit, load_samples
from edgekit.predict.executed_model import TERMS
from edgekit.targets import load_target


def board_constants(board: str, items: Sequence[LeftOut]) -> Constants:
    """Return the constants of one board."""
    known = load_samples(board)
    target = load_target(board)
    if target.hardware.core is None:
        raise SystemExit(f"{board} has no core in its profile")
    return Constants(
        board,
        target.hardware.core.value,
        sha256(counts_of(board)),
        tuple(sorted({sample.kernels for sample in known})),
        len(known),
        len({(sample.kernels, sample.row.model) for sample in known}),
        tuple(sorted({sample.family for sample in known})),
        by_term(fit(known)),
        {key: float(f"{value:.4g}") for key, value in medians(items).items()},
    )


def main() -> None:
    """Fit and write."""
    boards = sorted(path.stem for path in Path(__file__).parent.glob("*.json"))
    left = {board: leave_out(board) for board in boards}
    items = [item for several in left.values() for item in several]
    found = ExecutedCoefficients(
        "PYTHONPATH=. python benchmarks/evidence/executed/fit.py",
        fingerprint(),
        COVERAGE,
        {kind: float(f"{half:.4g}") for kind, half in half_widths(items).items()},
        dict(TERMS),
        tuple(board_constants(board, several) for board, several in left.items()),
    )
    save(found, folder() / FILE)
    for line in ablation_lines(boards):
        print(line)


if __name__ == "__main__":
    main()
