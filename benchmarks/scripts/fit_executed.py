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
    KINDS,
    LeftOut,
    ablation_lines,
    anchored,
    foreign_halves,
    leave_out,
    medians,
    missed,
    own_halves,
    summary,
)
from edgekit.latency_model.executed.coefficients import (
    Constants,
    ExecutedCoefficients,
    by_term,
    save,
)
from edgekit.latency_model.executed.fit import choose, counts_of, fit, load_samples
from edgekit.latency_model.executed.model import TERMS
from edgekit.latency_model.executed.predictor import FILE
from edgekit.latency_model.executed.run import SHIPPED
from edgekit.latency_model.quantiles import COVERAGE
from edgekit.targets import load_target


def board_constants(board: str, items: Sequence[LeftOut], widest: Mapping[str, float]) -> Constants:
    """Return the constants of one board.

    An interval of kernels without rows is at least the `widest` of the boards where that was tried,
    and never narrower than that of kernels with rows.
    """
    own = own_halves(items)
    known = load_samples(board)
    form = choose(known)
    told = missed(items)
    target = load_target(board)
    if target.hardware.core is None:
        raise SystemExit(f"{board} has no core in its profile")
    threads: dict[str, set[int]] = {}
    for sample in known:
        counts = threads.setdefault(f"{sample.kernels} {sample.kind}", set())
        counts.add(sample.row.threads or 0)
    return Constants(
        board=board,
        core=target.hardware.core.value,
        counts=sha256(counts_of(board)),
        kernels=tuple(sorted({sample.kernels for sample in known})),
        rows=len(known),
        models=len({(sample.kernels, sample.row.model) for sample in known}),
        families=tuple(sorted({sample.family for sample in known})),
        constants=by_term(fit(known, form)),
        form=form,
        off=rounded(medians(items)),
        half=rounded(own),
        half_foreign=rounded({kind: max(own[kind], widest[kind]) for kind in KINDS}),
        mape=rounded({key: mape for key, (mape, _) in told.items()}),
        covered=rounded({key: covered for key, (_, covered) in told.items()}),
        threads={key: tuple(sorted(counts)) for key, counts in sorted(threads.items())},
        anchored=anchored(items),
    )


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Return four significant digits of each value."""
    return {key: float(f"{value:.4g}") for key, value in values.items()}


def main() -> None:
    """Fit and write."""
    counted = (folder() / "executed").glob("*.json")
    boards = sorted(path.stem for path in counted if path.name != SHIPPED.name)
    left = {board: leave_out(board) for board in boards}
    tried = [foreign_halves(items) for items in left.values()]
    widest = {kind: max(half[kind] for half in tried if isfinite(half[kind])) for kind in KINDS}
    found = ExecutedCoefficients(
        command="PYTHONPATH=. python benchmarks/scripts/fit_executed.py",
        evidence=fingerprint(),
        coverage=COVERAGE,
        units=dict(TERMS),
        boards=tuple(board_constants(board, items, widest) for board, items in left.items()),
    )
    save(found, folder() / FILE)
    for board, items in left.items():
        for line in summary(board, items):
            print(line)
    for line in ablation_lines(boards):
        print(line)


if __name__ == "__main__":
    main()
