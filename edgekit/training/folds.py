"""Cross-validation: one run per fold, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from edgekit.training.run import TrainOptions, TrainResult


@dataclass(frozen=True)
class AcrossFolds:
    """An output's exact accuracy over folds in per cent: the mean and the standard deviation.

    The deviation (n - 1) is between folds: what papers on Adience print after ±.
    """

    output: str
    mean: float
    deviation: float
    folds: int


def fold_runs(options: TrainOptions, folds: Sequence[int]) -> tuple[TrainOptions, ...]:
    """Return one run per fold, each in its own folder under the output: `--fold all`."""
    return tuple(
        replace(
            options,
            output=options.output / f"fold-{fold}",
            plan=replace(options.plan, protocol="folds", fold=fold),
        )
        for fold in folds
    )


def across_folds(results: Sequence[TrainResult]) -> tuple[AcrossFolds, ...]:
    """Return each output's accuracy over the test sides of several folds."""
    names = [score.output for score in results[0].test.scores]
    percents = {
        name: [s.exact.percent for r in results for s in r.test.scores if s.output == name]
        for name in names
    }
    return tuple(
        AcrossFolds(name, mean(values), stdev(values) if len(values) > 1 else 0.0, len(values))
        for name, values in percents.items()
    )
