"""Predicts every row of the evidence without its family: the errors that all claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import exp, log
from typing import Literal

import numpy as np

from edgekit.latency_model.analytic.fit import (
    Shape,
    common_shape,
    constant,
    fit_group,
    prior_of,
)
from edgekit.latency_model.analytic.observations import FORMS, Group, Observation, Vector

Folds = Mapping[str, Mapping[str, str]]
"""The form of a fit that saw no row of a family, by family and kind."""

Standing = Literal["own", "scaled", "foreign"]
"""What a prediction stands on: `own`, the group's rows of two families or more; `scaled`, a single
family's rows, which give the common shape its scale; `foreign`, other kernels on the same core."""

ANCHORS = (
    "mobilenet-v1-1.0-224",
    "MobileNet v1 1.0X",
    "mobilenet",
    "mobilenet_int8",
    "mobilenetv1",
)
"""MobileNet v1 1.0 at 224 in all its spellings: the one network XNNPACK's rows measure, so the one
that stands for a single family when a group with many is treated as if it had one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LeftOut:
    """A row and what is predicted for it by a fit that saw no row of its family, in seconds.

    `constant_seconds` is the same from one number, seconds per multiply-accumulate.
    """

    row: Observation
    standing: Standing
    seconds: float
    constant_seconds: float | None = None

    @property
    def residual(self) -> float:
        """log(measured / predicted)."""
        return log(self.row.seconds / self.seconds)

    @property
    def error(self) -> float:
        """Predicted / measured - 1."""
        return self.seconds / self.row.seconds - 1


def choose(rows: Sequence[Observation]) -> dict[str, str]:
    """Return the form by kind that tells families left out of `rows` best.

    Best is the least mean of absolute log errors, in which every family of a group has one say.
    Nothing but `rows` is looked at: with a family gone from them, the choice knows nothing of it.
    """
    families = {row.family for row in rows}
    best: dict[str, tuple[float, str]] = {}
    for form in FORMS:
        folds = {family: {"float": form, "int8": form} for family in families}
        errors: dict[str, dict[tuple[Group, str], list[float]]] = {"float": {}, "int8": {}}
        for item in left_out(rows, folds):
            if item.standing == "own":
                own = errors[item.row.group.kind].setdefault((item.row.group, item.row.family), [])
                own.append(abs(item.residual))
        for kind, by_family in errors.items():
            means = [float(np.mean(values)) for values in by_family.values()]
            if means:
                best[kind] = min(best.get(kind, (float("inf"), "")), (float(np.mean(means)), form))
    return {kind: best.get(kind, (0.0, next(iter(FORMS))))[1] for kind in ("float", "int8")}


def nested(rows: Sequence[Observation]) -> dict[str, dict[str, str]]:
    """Return the form chosen without each family. Takes minutes: fit.py keeps what it found."""
    return {
        family: choose([row for row in rows if row.family != family])
        for family in sorted({row.family for row in rows})
    }


def left_out(rows: Sequence[Observation], folds: Folds) -> tuple[LeftOut, ...]:
    """Return every row that can be, predicted without its family, its form chosen without it.

    `own` where its group has another family, `foreign` where not; no prediction where the core's
    only other rows are of the same family.
    """
    return tuple(item for fold in folded(rows, folds) for item in fold[0])


def folded(
    rows: Sequence[Observation], folds: Folds
) -> list[tuple[list[LeftOut], list[tuple[Observation, float]]]]:
    """Return what left_out does, a family and group at a time, and beside it the group's others.

    Those are in the fit: what it gives for them, in seconds, is what is left of them in it.
    """
    found = []
    for pool in _pools(rows):
        kind = pool[0].group.kind
        for family in sorted({row.family for row in pool}):
            rest = [row for row in pool if row.family != family]
            if not rest:
                continue
            form = folds[family][kind]
            shape = common_shape(rest, kind, form)
            for group in sorted({row.group for row in pool if row.family == family}):
                held = [row for row in pool if row.group == group and row.family == family]
                own = [row for row in rest if row.group == group]
                if own:
                    fit = fit_group(own, prior_of(shape, group, kind), form)
                    each = constant(own)
                    left = [
                        LeftOut(
                            row=r,
                            standing="own",
                            seconds=fit.seconds(r),
                            constant_seconds=each * r.macs,
                        )
                        for r in held
                    ]
                    found.append((left, [(row, fit.seconds(row)) for row in own]))
                elif (scale := core_scale(shape, group)) is not None:
                    found.append((_scaled(held, shape.coefficients * scale, "foreign"), []))
    return found


def transferred(rows: Sequence[Observation], folds: Folds) -> tuple[LeftOut, ...]:
    """Return what groups of many families would be predicted at if less were known of them.

    `scaled`: the group's kernels and the row's family are gone from the fit, and only the group's
    ANCHORS give the scale. `foreign`: not even those; the scale is the mean of the other kernels'
    on that core.
    """
    found: list[LeftOut] = []
    for pool in _pools(rows):
        kind = pool[0].group.kind
        for group in many_families(pool):
            own = [row for row in pool if row.group == group]
            anchors = [row for row in own if _is_anchor(row)]
            for family in sorted({row.family for row in own}):
                rest = [r for r in pool if r.family != family]
                rest = [r for r in rest if r.group.kernels != group.kernels]
                if not rest:
                    continue
                shape = common_shape(rest, kind, folds[family][kind])
                held = [row for row in own if row.family == family]
                if anchors and family != anchors[0].family:
                    ratios = [r.seconds / float(r.terms @ shape.coefficients) for r in anchors]
                    scale = float(np.median(ratios))
                    found += _scaled(held, shape.coefficients * scale, "scaled")
                if (mean := core_scale(shape, group)) is not None:
                    found += _scaled(held, shape.coefficients * mean, "foreign")
    return tuple(found)


def core_scale(shape: Shape, group: Group) -> float | None:
    """Return the mean factor (geometric) of the other kernels on a group's core, 64-bit."""
    factors = [
        factor
        for other, factor in shape.factors.items()
        if other.core == group.core and other.bits == 64 and other.kernels != group.kernels
    ]
    return exp(float(np.mean(np.log(factors)))) if factors else None


def many_families(rows: Sequence[Observation]) -> list[Group]:
    """Return the groups whose rows are of two families or more, sorted."""
    families: dict[Group, set[str]] = {}
    for row in rows:
        families.setdefault(row.group, set()).add(row.family)
    return sorted(group for group, several in families.items() if len(several) > 1)


def _pools(rows: Sequence[Observation]) -> list[list[Observation]]:
    """Return the rows by pool, in a fixed order."""
    pools: dict[tuple[str, str], list[Observation]] = {}
    for row in rows:
        pools.setdefault(row.group.pool, []).append(row)
    return [pools[key] for key in sorted(pools)]


def _is_anchor(row: Observation) -> bool:
    return row.model.removesuffix("-quantized").removesuffix("-non") in ANCHORS


def speedups(predicted: Sequence[LeftOut]) -> list[tuple[Group, float, float]]:
    """Return (group, measured, predicted) speed-ups from 1 to 4 threads, a network and release."""

    def place(item: LeftOut) -> tuple[Group, tuple[str, float], str]:
        return item.row.group, item.row.release, item.row.model

    ups = []
    for (group, *_), several in groupby(sorted(predicted, key=place), key=place):
        by_threads = {item.row.threads: item for item in several}
        if {1, 4} <= set(by_threads):
            one, four = by_threads[1], by_threads[4]
            ups.append((group, one.row.seconds / four.row.seconds, one.seconds / four.seconds))
    return ups


def _scaled(held: Sequence[Observation], coefficients: Vector, standing: Standing) -> list[LeftOut]:
    return [
        LeftOut(row=row, standing=standing, seconds=float(row.terms @ coefficients)) for row in held
    ]
