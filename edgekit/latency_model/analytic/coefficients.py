"""The file of coefficients: readable JSON, with the command that made it and what it was fitted to.

benchmarks/evidence/analytic.json             ships with edgekit; scripts/fit_analytic.py writes it
<config folder>/predict/<target>.json         the same after `edgekit predict-latency --refit`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from edgekit.latency_model import coefficient_files
from edgekit.latency_model.analytic.accuracy import Rebuilt
from edgekit.latency_model.analytic.fit import common_shape, fit_group, prior_of
from edgekit.latency_model.analytic.intervals import LESS
from edgekit.latency_model.analytic.left_out import Folds, core_scale
from edgekit.latency_model.analytic.observations import FORMS, TERMS, Group, Observation, Vector
from edgekit.latency_model.anchoring import Anchoring
from edgekit.latency_model.quantiles import COVERAGE

# 1: the first. 2: more terms, forms, what left-out families had, anchors.
SCHEMA = 2
_REMEDY = "remove it, or install edgekit again"


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCoefficients:
    """One group's coefficients, in TERMS' units, and the rows they come from.

    `standing` is `own` or `scaled`. `threads` are the counts that rows state or their runtime's
    default gives, `conv_share` is the largest of its networks (see Workload); `half` is the
    half-width of the log interval. `threads_stated` is of most of its rows; `user_rows` counts the
    user's own measurements among `rows`. `mape` is the mean error of its families left out (a
    share) and `covered` the share of them that such an interval held, each family with one say;
    None where there is one family.
    """

    kernels: str
    core: str
    dtype: str
    bits: int
    standing: Literal["own", "scaled"]
    rows: int
    families: tuple[str, ...]
    boards: tuple[str, ...]
    clocks_mhz: tuple[float, ...]
    threads: tuple[int, ...]
    threads_stated: bool
    conv_share: float
    half: float
    coefficients: dict[str, float]
    mape: float | None
    covered: float | None
    user_rows: int = 0

    @property
    def group(self) -> Group:
        """What it is for."""
        return Group(kernels=self.kernels, core=self.core, dtype=self.dtype, bits=self.bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreCoefficients:
    """The common shape of one core and kind at the mean scale of its kernels: for all others."""

    core: str
    kind: str
    kernels: tuple[str, ...]
    half: float
    coefficients: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coefficients:
    """All the analytic predictor knows. `evidence` is the SHA-256 of the rows it was fitted to.

    `scaled_half` is by kind; it, `thread_share` and `thread_half` are as in intervals.Widths.
    `forms` are the fits', by kind; `folds` those chosen without each family.
    """

    command: str
    evidence: str
    coverage: float
    scaled_half: dict[str, float]
    thread_share: float
    thread_half: float
    forms: dict[str, str]
    folds: dict[str, dict[str, str]]
    anchored: tuple[Anchoring, ...]
    units: dict[str, str]
    groups: tuple[GroupCoefficients, ...]
    cores: tuple[CoreCoefficients, ...]
    schema: int = SCHEMA


def make(
    found: Rebuilt,
    forms: Mapping[str, str],
    folds: Folds,
    *,
    command: str,
    evidence: str,
) -> Coefficients:
    """Fit every group of the rows and the common shape of every core."""
    rows, known = found.observations, found.widths
    pools: dict[tuple[str, str], list[Observation]] = {}
    for row in rows:
        pools.setdefault(row.group.pool, []).append(row)
    groups: list[GroupCoefficients] = []
    cores: list[CoreCoefficients] = []
    for (core, kind), pool in sorted(pools.items()):
        shape = common_shape(pool, kind, forms[kind])
        for group in sorted(shape.factors):
            own = [row for row in pool if row.group == group]
            families = tuple(sorted({row.family for row in own}))
            standing: Literal["own", "scaled"] = "own" if len(families) > 1 else "scaled"
            mape, covered = _known(found, group)
            fitted = (
                fit_group(own, prior_of(shape, group, kind), forms[kind]).coefficients
                if standing == "own"
                else shape.coefficients * shape.factors[group]
            )
            groups.append(
                GroupCoefficients(
                    kernels=group.kernels,
                    core=group.core,
                    dtype=group.dtype,
                    bits=group.bits,
                    standing=standing,
                    rows=len(own),
                    families=families,
                    boards=tuple(sorted({row.board for row in own})),
                    clocks_mhz=tuple(sorted({row.clock_mhz for row in own})),
                    threads=tuple(sorted({row.threads for row in own})),
                    threads_stated=2 * sum(row.threads_stated for row in own) > len(own),
                    conv_share=rounded(max(row.conv_share for row in own)),
                    half=rounded(known.half(group, standing)),
                    coefficients=by_term(fitted),
                    mape=mape,
                    covered=covered,
                )
            )
        scale = core_scale(shape, Group(kernels="", core=core, dtype="", bits=64))
        if scale is not None:
            names = tuple(sorted({group.kernels for group in shape.factors}))
            half = rounded(known.less[LESS[1], kind])
            cores.append(
                CoreCoefficients(
                    core=core,
                    kind=kind,
                    kernels=names,
                    half=half,
                    coefficients=by_term(shape.coefficients * scale),
                )
            )
    return Coefficients(
        command=command,
        evidence=evidence,
        coverage=COVERAGE,
        scaled_half={kind: rounded(known.less[LESS[0], kind]) for kind in ("float", "int8")},
        thread_share=rounded(known.thread_share),
        thread_half=rounded(known.threads),
        forms=dict(forms),
        folds={family: dict(kinds) for family, kinds in folds.items()},
        anchored=found.anchored,
        units=dict(TERMS),
        groups=tuple(groups),
        cores=tuple(cores),
    )


def _known(found: Rebuilt, group: Group) -> tuple[float | None, float | None]:
    """Return what a group's left-out families had: the mean error, the share that was held."""
    if group not in found.known:
        return None, None
    mape, covered = found.known[group]
    return rounded(mape), rounded(covered)


def save(coefficients: Coefficients, path: Path) -> None:
    """Write the file whole."""
    coefficient_files.save(coefficients, path)


def load(path: Path) -> Coefficients:
    """Return the coefficients in `path`. Raises UserError in one line where they are damaged."""
    found = coefficient_files.load(path, Coefficients, SCHEMA, _REMEDY)
    if set(found.forms.values()) - set(FORMS):
        raise coefficient_files.damaged(path, "a form that there is not", _REMEDY)
    items: list[GroupCoefficients | CoreCoefficients] = [*found.groups, *found.cores]
    for item in items:
        values = (*item.coefficients.values(), item.half)
        if set(item.coefficients) != set(TERMS):
            raise coefficient_files.damaged(
                path, f"{item.core} has other coefficients than {', '.join(TERMS)}", _REMEDY
            )
        if not all(isfinite(value) and value >= 0 for value in values) or not any(values[:-1]):
            reason = f"{item.core} has a coefficient that is no price"
            raise coefficient_files.damaged(path, reason, _REMEDY)
    return found


def by_term(coefficients: Vector) -> dict[str, float]:
    """Return coefficients under their names, rounded to what the fit can tell."""
    return {name: rounded(value) for name, value in zip(TERMS, coefficients, strict=True)}


def in_order(coefficients: Mapping[str, float]) -> Vector:
    """Return named coefficients as the vector that `terms` is multiplied with."""
    return np.array([coefficients[name] for name in TERMS])


def rounded(value: float) -> float:
    """Return four significant digits."""
    return float(f"{value:.4g}")
