"""Turns left-out errors into intervals, and tells how often those held on rows left out of them.

The errors are of log(measured / predicted), so an interval is a factor both ways. Own rows: the
90 % quantile of the errors, each in units of its group's spread, so that a runtime that is hard
to predict has wide intervals and an easy one narrow ones (split conformal prediction, normalised:
Lei et al., 2018). Less than own rows: the quantile of what happened to groups that were treated as
if as little were known of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot, log, sqrt

import numpy as np

from edgekit.latency_model.analytic.left_out import (
    LeftOut,
    Standing,
    pair_residuals,
    speedups,
)
from edgekit.latency_model.analytic.observations import Group

COVERAGE = 0.9
"""The share of measurements that an interval is made to hold."""
BORROWED_FAMILIES = 1
"""A group's spread is drawn to that of all groups as if it had so many families more."""
UNSEEN_FACTOR = 2.0
"""An operator no network of the evidence has: the interval is this many times as wide, in logs."""

LESS: tuple[Standing, ...] = ("scaled", "foreign")


@dataclass(frozen=True, kw_only=True, slots=True)
class Widths:
    """Half-widths of the log interval.

    `own` is in units of a group's `spreads`; `less` is by (standing, kind). `thread_share` is
    the share of the law's log speed-up from one thread to four that is seen (below 1: the law
    overstates it), `threads` what is uncertain beyond that; both are for thread counts nobody
    measured. `ratio` is
    by kind, of the ratio of two networks in one setting.
    """

    own: float
    spreads: Mapping[Group, float]
    usual_spread: float
    less: Mapping[tuple[Standing, str], float]
    thread_share: float
    threads: float
    ratio: Mapping[str, float]

    def half(self, group: Group, standing: Standing) -> float:
        """Return the half-width for a prediction that stands on `standing`."""
        if standing == "own":
            return self.own * self.spreads.get(group, self.usual_spread)
        return self.less[standing, group.kind]


def widths(own: Sequence[LeftOut], transfers: Sequence[LeftOut]) -> Widths:
    """Return the half-widths that hold COVERAGE of these left-out errors."""
    owned = [item for item in own if item.standing == "own"]
    spreads, usual = _spreads(owned)
    quantile = _quantile(abs(item.residual) / spreads[item.row.group] for item in owned)
    less = {
        (standing, kind): _quantile(
            abs(t.residual)
            for t in transfers
            if t.standing == standing and t.row.group.kind == kind
        )
        for standing in LESS
        for kind in ("float", "int8")
    }
    steps = [(log(seen), log(told)) for _, seen, told in speedups(owned)]
    share = float(np.median([seen / told for seen, told in steps])) if steps else 1.0
    beyond = _quantile(abs(seen - share * told) for seen, told in steps)
    # The wider of what happens with own rows and with a scale from one network.
    ratio = {
        kind: max(
            _quantile(abs(error) for k, error in pair_residuals(several) if k == kind)
            for several in (owned, [t for t in transfers if t.standing == "scaled"])
        )
        for kind in ("float", "int8")
    }
    return Widths(
        own=quantile,
        spreads=spreads,
        usual_spread=usual,
        less=less,
        thread_share=share,
        threads=beyond,
        ratio=ratio,
    )


def covered(own: Sequence[LeftOut], transfers: Sequence[LeftOut]) -> dict[LeftOut, bool]:
    """Tell of each left-out row whether its interval held it, the interval made without its family.

    Neither the row's family nor any error on it enters the widths it is held to.
    """
    held: dict[LeftOut, bool] = {}
    for family in sorted({item.row.family for item in own}):
        kept = widths(
            [item for item in own if item.row.family != family],
            [item for item in transfers if item.row.family != family],
        )
        for item in own:
            if item.row.family == family:
                held[item] = abs(item.residual) <= kept.half(item.row.group, item.standing)
    return held


def widened(half: float, *, threads: float = 0.0, unseen: bool = False) -> float:
    """Return a half-width with what is not known added: errors of threads, operators unseen."""
    return hypot(half, threads) * (UNSEEN_FACTOR if unseen else 1.0)


def _spreads(own: Sequence[LeftOut]) -> tuple[dict[Group, float], float]:
    """Return each group's root mean square error, a family counting once, and that of all."""
    squares: dict[tuple[Group, str], list[float]] = {}
    for item in own:
        squares.setdefault((item.row.group, item.row.family), []).append(item.residual**2)
    means = {key: float(np.mean(values)) for key, values in squares.items()}
    usual = float(np.mean(list(means.values())))
    spreads = {}
    for group in {group for group, _ in means}:
        mine = [value for (other, _), value in means.items() if other == group]
        total = sum(mine) + BORROWED_FAMILIES * usual
        spreads[group] = sqrt(total / (len(mine) + BORROWED_FAMILIES))
    return spreads, sqrt(usual)


def _quantile(values: Iterable[float]) -> float:
    """Return conformal prediction's quantile: of n errors the ceil((n + 1) COVERAGE)-th."""
    ordered = sorted(values)
    rank = min(ceil((len(ordered) + 1) * COVERAGE), len(ordered))
    return float(ordered[rank - 1]) if ordered else float("inf")
