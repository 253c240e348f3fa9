"""How wrong the executed predictor is: each row of the evidence predicted without its family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.latency_model import Accuracy
from edgekit.latency_model.executed.fit import (
    ABLATION,
    Sample,
    left_out,
    load_samples,
    one_number,
    other_kernels,
)

COVERAGE = 0.9
"""The share of measurements that an interval is made to hold."""


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
        """|log(measured / predicted)| as for a runtime with no rows, where that can be told."""
        predicted = self.own if np.isnan(self.foreign) else self.foreign
        return abs(float(np.log(self.sample.seconds / predicted)))

    def error(self, predicted: float) -> float:
        """Return |predicted / measured - 1|."""
        return abs(predicted / self.sample.seconds - 1)


def leave_out(board: str) -> tuple[LeftOut, ...]:
    """Return every counted row of a board, predicted in each way."""
    known = load_samples(board)
    ways = (left_out(known), other_kernels(known), one_number(known))
    return tuple(
        LeftOut(
            board=board,
            sample=sample,
            own=float(own),
            foreign=float(foreign),
            simple=float(simple),
        )
        for sample, own, foreign, simple in zip(known, *ways, strict=True)
    )


def rebuild(boards: Sequence[str]) -> tuple[Accuracy, ...]:
    """Return the errors on each board by kernels, precision and threads.

    The note of each tells the error where all rows of those kernels are left out as well: what a
    runtime without rows of its own has to expect.
    """
    leave = {board: leave_out(board) for board in boards}
    items = [item for board in boards for item in leave[board]]
    held = dict(zip(map(id, items), (h for b in boards for h in covered(leave[b])), strict=True))
    groups: dict[tuple[str, str, str, int], list[LeftOut]] = {}
    for item in items:
        row = item.sample.row
        key = (item.board, item.sample.kernels, row.dtype, row.threads or 0)
        groups.setdefault(key, []).append(item)
    return tuple(
        _accuracy(key, mine, [held[id(item)] for item in mine])
        for key, mine in sorted(groups.items(), key=lambda pair: pair[0])
    )


def ablation(known: Sequence[Sample]) -> dict[str, float]:
    """Return the mean absolute error, families left out, with each part of the model added."""
    measured = np.array([sample.seconds for sample in known])
    return {
        name: float(np.abs(left_out(known, used) / measured - 1).mean())
        for name, used in ABLATION.items()
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


def half_widths(items: Sequence[LeftOut]) -> dict[str, float]:
    """Return by kind of arithmetic the half-width of the log interval that holds COVERAGE.

    A quantile of left-out errors, in which each kernels' families have the same say: the rows of
    one family are alike, and one benchmark measured three families in a hundred sizes.
    """
    return {
        kind: _quantile([item for item in items if item.sample.kind == kind])
        for kind in ("float", "int8")
    }


def medians(items: Sequence[LeftOut]) -> dict[str, float]:
    """Return by `kernels kind` the median log(measured / predicted without its family)."""
    logs: dict[str, list[float]] = {}
    for item in items:
        key = f"{item.sample.kernels} {item.sample.kind}"
        logs.setdefault(key, []).append(float(np.log(item.sample.seconds / item.own)))
    return {key: float(np.median(values)) for key, values in sorted(logs.items())}


def covered(items: Sequence[LeftOut]) -> list[bool]:
    """Tell of each row whether the interval, made without its family, held it."""
    without = {
        family: half_widths([item for item in items if item.sample.family != family])
        for family in {item.sample.family for item in items}
    }
    return [item.residual <= without[item.sample.family][item.sample.kind] for item in items]


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


def _quantile(items: Sequence[LeftOut]) -> float:
    crowds = Counter((item.sample.kernels, item.sample.family) for item in items)
    reached = 0.0
    for item in sorted(items, key=lambda item: item.residual):
        reached += 1 / crowds[item.sample.kernels, item.sample.family]
        if reached >= COVERAGE * len(crowds):
            return item.residual
    return float("inf")
