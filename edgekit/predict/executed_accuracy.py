"""How wrong the executed predictor is: each row of the evidence predicted without its family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np

from edgekit.predict import Accuracy
from edgekit.predict.executed_coefficients import Constants
from edgekit.predict.executed_fit import (
    ABLATION,
    Sample,
    left_out,
    load_samples,
    one_number,
    other_kernels,
)
from edgekit.predict.executed_model import Vector

COVERAGE = 0.9
"""The share of measurements that an interval is made to hold."""


def rebuild(board: Constants) -> tuple[Accuracy, ...]:
    """Return the errors on one board, by kernels, precision and threads.

    The note of each tells the error where all rows of those kernels are left out as well: what a
    runtime without rows of its own has to expect.
    """
    known = load_samples(board.board)
    predicted, foreign, constant = left_out(known), other_kernels(known), one_number(known)
    held = covered(known, foreign)
    groups = dict.fromkeys((s.kernels, s.row.dtype, s.row.threads) for s in known)
    rows = []
    for kernels, dtype, threads in sorted(groups):
        at = [
            index
            for index, s in enumerate(known)
            if (s.kernels, s.row.dtype, s.row.threads) == (kernels, dtype, threads)
        ]
        mine = [known[index] for index in at]
        error = errors(mine, predicted[at])
        simple = errors(mine, constant[at])
        rows.append(
            Accuracy(
                "executed",
                board.board,
                kernels,
                dtype,
                str(threads),
                len(mine),
                len({s.row.model for s in mine}),
                len({s.family for s in mine}),
                float(error.mean()),
                float((error <= 0.1).mean()),
                float((error <= 0.2).mean()),
                float(held[at].mean()),
                None if np.isnan(simple).any() else float(simple.mean()),
                f"without its kernels' rows: {errors(mine, foreign[at]).mean():.0%}",
            )
        )
    return tuple(rows)


def ablation(known: Sequence[Sample]) -> dict[str, float]:
    """Return the mean absolute error, families left out, with each part of the model added."""
    return {
        name: float(errors(known, left_out(known, used)).mean()) for name, used in ABLATION.items()
    }


def errors(known: Sequence[Sample], predicted: Vector) -> Vector:
    """Return |predicted / measured - 1| of each sample."""
    return np.abs(predicted / np.array([sample.seconds for sample in known]) - 1)


def half_widths(known: Sequence[Sample], foreign: Vector) -> dict[str, float]:
    """Return by kind the half-width of the log interval that holds COVERAGE of `foreign` errors.

    Split conformal prediction: of n errors the ceil((n + 1) COVERAGE)-th.
    """
    measured = np.array([sample.seconds for sample in known])
    residuals = np.abs(np.log(measured / foreign))
    kinds = np.array([sample.kind for sample in known])
    return {kind: _quantile(residuals[kinds == kind]) for kind in ("float", "int8")}


def covered(known: Sequence[Sample], foreign: Vector) -> Vector:
    """Tell of each sample whether the interval, made without its family, held it."""
    held = np.zeros(len(known))
    for family in {sample.family for sample in known}:
        rest = [at for at, sample in enumerate(known) if sample.family != family]
        halves = half_widths([known[at] for at in rest], foreign[rest])
        for at, sample in enumerate(known):
            if sample.family == family:
                residual = abs(np.log(sample.seconds / foreign[at]))
                held[at] = residual <= halves[sample.kind]
    return held


def _quantile(values: Iterable[float]) -> float:
    ordered = sorted(values)
    rank = min(ceil((len(ordered) + 1) * COVERAGE), len(ordered))
    return float(ordered[rank - 1]) if ordered else float("inf")
