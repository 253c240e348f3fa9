"""Turns left-out errors into intervals, and tells how often those held on rows left out of them.

The errors are of log(measured / predicted), so an interval is a factor both ways. Own rows: the
90 % quantile of the errors, each in units of its group's spread, so that a runtime that is hard
to predict has wide intervals and an easy one narrow ones (split conformal prediction, normalised:
Lei et al., 2018). A family has the same say in each group, however many of its sizes were measured:
the rows of one are alike. Less than own rows: the quantile of what happened to groups that were
treated as if as little were known of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, log, sqrt

import numpy as np

from edgekit.latency_model.analytic.left_out import (
    LeftOut,
    Standing,
    speedups,
)
from edgekit.latency_model.analytic.observations import Group
from edgekit.latency_model.quantiles import balanced_quantile

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
    measured.
    """

    own: float
    spreads: Mapping[Group, float]
    usual_spread: float
    less: Mapping[tuple[Standing, str], float]
    thread_share: float
    threads: float

    def half(self, group: Group, standing: Standing) -> float:
        """Return the half-width for a prediction that stands on `standing`."""
        if standing == "own":
            return self.own * self.spreads.get(group, self.usual_spread)
        return self.less[standing, group.kind]


def widths(own: Sequence[LeftOut], transfers: Sequence[LeftOut]) -> Widths:
    """Return the half-widths that hold COVERAGE of these left-out errors."""
    owned = [item for item in own if item.standing == "own"]
    spreads, usual = _spreads(owned)
    quantile = balanced_quantile(
        (_crowd(item), abs(item.residual) / spreads[item.row.group]) for item in owned
    )
    less = {
        (standing, kind): balanced_quantile(
            (_crowd(t), abs(t.residual))
            for t in transfers
            if t.standing == standing and t.row.group.kind == kind
        )
        for standing in LESS
        for kind in ("float", "int8")
    }
    steps = [(group, log(seen), log(told)) for group, seen, told in speedups(owned)]
    share = float(np.median([seen / told for _, seen, told in steps])) if steps else 1.0
    beyond = balanced_quantile((group, abs(seen - share * told)) for group, seen, told in steps)
    return Widths(
        own=quantile,
        spreads=spreads,
        usual_spread=usual,
        less=less,
        thread_share=share,
        threads=beyond,
    )


def halves(own: Sequence[LeftOut], transfers: Sequence[LeftOut]) -> dict[LeftOut, float]:
    """Return each left-out row's half-width, made without its family.

    Neither the row's family nor any error on it enters the width it is held to.
    """
    found: dict[LeftOut, float] = {}
    for family in sorted({item.row.family for item in own}):
        kept = widths(
            [item for item in own if item.row.family != family],
            [item for item in transfers if item.row.family != family],
        )
        for item in own:
            if item.row.family == family:
                found[item] = kept.half(item.row.group, item.standing)
    return found


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


def _crowd(item: LeftOut) -> tuple[Group, str]:
    return item.row.group, item.row.family
