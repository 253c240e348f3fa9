"""Fits the constants of every counted board and writes benchmarks/evidence/executed.json.

    PYTHONPATH=. python benchmarks/scripts/fit_executed.py

Nothing is emulated: it reads latency.csv, features.csv and the counts in benchmarks/evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from edgekit.files import sha256
from edgekit.latency_model.evidence import fingerprint, folder
from edgekit.latency_model.executed.accuracy import (
    COVERAGE,
    LeftOut,
    ablation_lines,
    half_widths,
    leave_out,
    medians,
)
from edgekit.latency_model.executed.coefficients import (
    Constants,
    ExecutedCoefficients,
    by_term,
    save,
)
from edgekit.latency_model.executed.fit import counts_of, fit, load_samples
from edgekit.latency_model.executed.model import TERMS
from edgekit.latency_model.executed.predictor import FILE
from edgekit.targets import load_target


def told_by_others(items: Sequence[LeftOut]) -> bool:
    """Tell whether some of a board's rows are predicted from other kernels' alone."""
    return any(isfinite(item.foreign) for item in items)


def board_constants(board: str, items: Sequence[LeftOut], widest: Mapping[str, float]) -> Constants:
    """Return the constants of one board.

    Where only one runtime's kernels were counted, nobody knows how far another's are off: the
    interval is then at least the `widest` of the boards where that was tried.
    """
    halves = half_widths(items)
    if not told_by_others(items):
        halves = {kind: max(half, widest[kind]) for kind, half in halves.items()}
    known = load_samples(board)
    target = load_target(board)
    if target.hardware.core is None:
        raise SystemExit(f"{board} has no core in its profile")
    return Constants(
        board=board,
        core=target.hardware.core.value,
        counts=sha256(counts_of(board)),
        kernels=tuple(sorted({sample.kernels for sample in known})),
        rows=len(known),
        models=len({(sample.kernels, sample.row.model) for sample in known}),
        families=tuple(sorted({sample.family for sample in known})),
        constants=by_term(fit(known)),
        off=rounded(medians(items)),
        half=rounded(halves),
    )


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Return four significant digits of each value."""
    return {key: float(f"{value:.4g}") for key, value in values.items()}


def main() -> None:
    """Fit and write."""
    boards = sorted(path.stem for path in (folder() / "executed").glob("*.json"))
    left = {board: leave_out(board) for board in boards}
    widest = {
        kind: max(half_widths(items)[kind] for items in left.values() if told_by_others(items))
        for kind in ("float", "int8")
    }
    found = ExecutedCoefficients(
        command="PYTHONPATH=. python benchmarks/scripts/fit_executed.py",
        evidence=fingerprint(),
        coverage=COVERAGE,
        units=dict(TERMS),
        boards=tuple(board_constants(board, items, widest) for board, items in left.items()),
    )
    save(found, folder() / FILE)
    for line in ablation_lines(boards):
        print(line)


if __name__ == "__main__":
    main()
