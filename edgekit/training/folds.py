"""Cross-validation: one run per fold, wherever it runs, and what they say together."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from edgekit.training.run import TrainOptions, TrainResult, start_file, train

_ALONE = threading.Lock()
"""torch's seeds and threads are the process's: two runs in one would disturb each other."""


@dataclass(frozen=True, kw_only=True)
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


def elsewhere(options: TrainOptions) -> TrainOptions:
    """Return the same run with paths that hold in another process's working folder."""
    return replace(
        options,
        data=str(Path(options.data).expanduser().resolve()),
        output=options.output.resolve(),
        start=start_file(options.start).resolve() if options.start else None,
        teachers=tuple(path.resolve() for path in options.teachers),
    )


def train_alone(options: TrainOptions) -> TrainResult:
    """Train once no other run in this process or this folder does: a worker's way to train.

    The folder's lock ends with its process. So a run that was given to another worker because
    this one was thought dead waits for it, and then finds its checkpoint.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    with _ALONE, (options.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return train(options)


def across_folds(results: Sequence[TrainResult]) -> tuple[AcrossFolds, ...]:
    """Return each output's accuracy over the test sides of several folds."""
    names = [score.output for score in results[0].test.scores]
    percents = {
        name: [s.exact.percent for r in results for s in r.test.scores if s.output == name]
        for name in names
    }
    return tuple(
        AcrossFolds(
            output=name,
            mean=mean(values),
            deviation=stdev(values) if len(values) > 1 else 0.0,
            folds=len(values),
        )
        for name, values in percents.items()
    )
