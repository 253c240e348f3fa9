"""How wrong the executed predictor is: each row of the evidence predicted without its family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, log

import numpy as np

from edgekit.latency_model import Accuracy
from edgekit.latency_model.anchoring import Anchoring, Fold, Told, worth
from edgekit.latency_model.executed.fit import (
    ABLATION,
    Sample,
    choose,
    fit,
    left_out,
    load_samples,
    one_number,
    other_kernels,
)
from edgekit.latency_model.quantiles import balanced_mean, balanced_quantile

KINDS = ("float", "int8")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A measured row and its seconds predicted without its family: `own` with other rows of its
    kernels, `foreign` without any (NaN where no others were counted), `simple` by one number.
    """

    board: str
    sample: Sample
    own: float
    foreign: float
    simple: float

    @property
    def residual(self) -> float:
        """log(measured / predicted) with other families of its kernels in the fit."""
        return log(self.sample.seconds / self.own)

    @property
    def foreign_residual(self) -> float:
        """The same as for a runtime with no rows; NaN where that cannot be told."""
        return float(np.log(self.sample.seconds / self.foreign))

    @property
    def crowd(self) -> tuple[str, str]:
        """The rows that are alike and have one say: its family's, of its kernels."""
        return self.sample.kernels, self.sample.family

    def error(self, predicted: float) -> float:
        """Return |predicted / measured - 1|."""
        return abs(predicted / self.sample.seconds - 1)


def leave_out(board: str) -> tuple[LeftOut, ...]:
    """Return every counted row of a board, predicted in each way."""
    known = load_samples(board)
    ways = (left_out(known), other_kernels(known), one_number(known))
    found = (
        LeftOut(
            board=board, sample=sample, own=float(own), foreign=float(foreign), simple=float(simple)
        )
        for sample, own, foreign, simple in zip(known, *ways, strict=True)
    )
    return tuple(item for item in found if item.own > 0)


def rebuild(boards: Sequence[str]) -> tuple[Accuracy, ...]:
    """Return the errors on each board by kernels, precision and threads.

    The note of each tells the error where all rows of those kernels are left out as well: what a
    runtime without rows of its own has to expect.
    """
    groups: dict[tuple[str, str, str, int], list[tuple[LeftOut, bool]]] = {}
    for board in boards:
        items = leave_out(board)
        for item, held in zip(items, covered(items, own_halves), strict=True):
            row = item.sample.row
            key = (board, item.sample.kernels, row.dtype, row.threads or 0)
            groups.setdefault(key, []).append((item, held))
    return tuple(
        _accuracy(key, [item for item, _ in mine], [held for _, held in mine])
        for key, mine in sorted(groups.items(), key=lambda pair: pair[0])
    )


def summary(board: str, items: Sequence[LeftOut]) -> tuple[str, ...]:
    """Return a line by kind of arithmetic on all rows of a board, and what anchors are worth."""
    held = covered(items, own_halves)
    lines = []
    for kind in KINDS:
        mine = [(item, h) for item, h in zip(items, held, strict=True) if item.sample.kind == kind]
        if mine:
            error = np.mean([item.error(item.own) for item, _ in mine])
            share = np.mean([h for _, h in mine])
            say = balanced_mean((item.crowd, float(h)) for item, h in mine)
            lines.append(
                f"{board}, executed, {kind}: {error:.1%} off on {len(mine)} rows whose family was "
                "left out of the constants, the form and the intervals; those hold "
                f"{say:.1%} of the kernels' families, {share:.1%} of the rows"
            )
    return (*lines, *(f"{board}, executed, {each.note}" for each in anchored(items)))


def ablation(known: Sequence[Sample]) -> dict[str, float]:
    """Return the mean absolute error, families left out, with each part of the model added."""
    measured = np.array([sample.seconds for sample in known])
    form = choose(known)
    return {
        name: float(np.abs(left_out(known, form, without) / measured - 1).mean())
        for name, without in ABLATION.items()
    }


def ablation_lines(boards: Sequence[str]) -> tuple[str, ...]:
    """Return one line a board on what each part of the model adds."""
    return tuple(
        f"{board}, executed: mean error "
        + ", ".join(
            f"{error:.1%} with {name}" for name, error in ablation(load_samples(board)).items()
        )
        for board in boards
    )


def own_halves(items: Sequence[LeftOut]) -> dict[str, float]:
    """Return by kind the half-width of the log interval of kernels that have rows."""
    return _halves(items, lambda item: item.residual)


def foreign_halves(items: Sequence[LeftOut]) -> dict[str, float]:
    """Return the same of kernels that have none; infinite where nobody tried that."""
    tried = [item for item in items if isfinite(item.foreign)]
    return _halves(tried, lambda item: item.foreign_residual)


def _halves(items: Sequence[LeftOut], residual: Callable[[LeftOut], float]) -> dict[str, float]:
    return {
        kind: balanced_quantile(
            (item.crowd, abs(residual(item))) for item in items if item.sample.kind == kind
        )
        for kind in KINDS
    }


def medians(items: Sequence[LeftOut]) -> dict[str, float]:
    """Return by `kernels kind` the median log(measured / predicted without its family)."""
    logs: dict[str, list[float]] = {}
    for item in items:
        logs.setdefault(f"{item.sample.kernels} {item.sample.kind}", []).append(item.residual)
    return {key: float(np.median(values)) for key, values in sorted(logs.items())}


def missed(items: Sequence[LeftOut]) -> dict[str, tuple[float, float]]:
    """Return by `kernels kind` the mean error and the share that intervals held.

    Every family has one say in both.
    """
    held = covered(items, own_halves)
    found: dict[str, list[tuple[LeftOut, bool]]] = {}
    for item, inside in zip(items, held, strict=True):
        key = f"{item.sample.kernels} {item.sample.kind}"
        found.setdefault(key, []).append((item, inside))
    return {
        key: (
            balanced_mean((item.sample.family, item.error(item.own)) for item, _ in mine),
            balanced_mean((item.sample.family, float(inside)) for item, inside in mine),
        )
        for key, mine in sorted(found.items())
    }


def covered(
    items: Sequence[LeftOut], halves: Callable[[Sequence[LeftOut]], dict[str, float]]
) -> list[bool]:
    """Tell of each row whether the interval, made without its family, held it."""
    without = {
        family: halves([item for item in items if item.sample.family != family])
        for family in {item.sample.family for item in items}
    }
    return [abs(item.residual) <= without[item.sample.family][item.sample.kind] for item in items]


def anchored(items: Sequence[LeftOut]) -> tuple[Anchoring, ...]:
    """Return what anchors are worth on a board."""
    known = [item.sample for item in items]
    folds = []
    for family in sorted({sample.family for sample in known}):
        rest = [sample for sample in known if sample.family != family]
        constants = fit(rest, choose(rest))
        halves = own_halves([item for item in items if item.sample.family != family])

        def told(sample: Sample, half: float, constants: np.ndarray = constants) -> Told:
            residual = log(sample.seconds / float(sample.terms @ constants))
            return Told(
                place=sample.place,
                kind=sample.kind,
                family=sample.family,
                residual=residual,
                half=half,
                kernels=sample.kernels,
            )

        left = [sample for sample in known if sample.family == family]
        folds.append(
            Fold(
                tuple(told(sample, halves[sample.kind]) for sample in left),
                tuple(told(sample, 1.0) for sample in rest),
            )
        )
    return worth(folds)


def _accuracy(
    key: tuple[str, str, str, int], mine: Sequence[LeftOut], held: Sequence[bool]
) -> Accuracy:
    board, kernels, dtype, threads = key
    errors = np.array([item.error(item.own) for item in mine])
    simple = np.array([item.error(item.simple) for item in mine])
    foreign = np.array([item.error(item.foreign) for item in mine])
    return Accuracy(
        method="executed",
        board=board,
        runtime=kernels,
        dtype=dtype,
        threads=str(threads),
        rows=len(mine),
        models=len({item.sample.row.model for item in mine}),
        families=len({item.sample.family for item in mine}),
        mape=float(errors.mean()),
        within_10=float((errors <= 0.1).mean()),
        within_20=float((errors <= 0.2).mean()),
        covered=float(np.mean(held)),
        constant_mape=None if np.isnan(simple).any() else float(simple.mean()),
        note=""
        if np.isnan(foreign).any()
        else f"{foreign.mean():.1%} where no row of these kernels is known",
    )
