"""Folds the user's own measurements of a board into the coefficients, and says what that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from pathlib import Path

import numpy as np

from edgekit.errors import UserError
from edgekit.latency_model import Setting
from edgekit.latency_model.analytic.coefficients import (
    Coefficients,
    GroupCoefficients,
    by_term,
    in_order,
    rounded,
)
from edgekit.latency_model.analytic.fit import fit_group
from edgekit.latency_model.analytic.observations import Group, Observation, Vector, terms
from edgekit.latency_model.analytic.predictor import ARITHMETIC, AnalyticPredictor, core_of
from edgekit.latency_model.anchored import clock_of
from edgekit.latency_model.workload import Workload
from edgekit.measurement.summary import verdict
from edgekit.paths import config_folder
from edgekit.records import Measurement
from edgekit.targets import Target

NORMAL_90 = 1.645
"""Standard deviations that hold 90 % of a normal distribution, both sides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What the user's rows did to one runtime and precision on their board.

    Errors are mean absolute shares: `before` by the coefficients there were, `after` each model
    predicted by a fit without it; `after` is None with one model. `kept` only where it is lower.
    """

    runtime: str
    dtype: str
    rows: int
    models: int
    before: float
    after: float | None
    kept: bool


def user_file(target: Target) -> Path:
    """Return where the coefficients refitted for a target are kept."""
    return config_folder() / "predict" / f"{target.name}.json"


def own_observations(
    measurements: Sequence[Measurement],
    workloads: Mapping[str, Workload],
    target: Target,
    predictor: AnalyticPredictor,
) -> tuple[tuple[Observation, ...], tuple[str, ...]]:
    """Return the measurements a refit can use, and one line on each it cannot.

    `workloads` are by the artifact's sha256.
    """
    found: list[Observation] = []
    left: list[str] = []
    for item in measurements:
        work = workloads.get(item.artifact.sha256)
        doubt = verdict(item)
        if item.provenance != "measured" or item.target != target.name:
            left.append(f"{item.title}: {item.provenance} on {item.target}, not on {target.name}")
        elif work is None:
            left.append(f"{item.title}: its artifact is not among those given")
        elif doubt != "ok":
            left.append(f"{item.title}: {doubt}")
        else:
            found.append(_observation(item, work, target, predictor))
    return tuple(found), tuple(left)


def refit(
    predictor: AnalyticPredictor, rows: Sequence[Observation], *, command: str
) -> tuple[Coefficients, tuple[Change, ...]]:
    """Return the coefficients with the groups that got better, and what happened to each.

    Raises UserError where there is no row at all.
    """
    if not rows:
        raise UserError("no measurement to refit on: run `edgekit bench` on the board first")
    known, changes = predictor.known, []
    groups = {item.group: item for item in known.groups}
    for group in sorted({row.group for row in rows}):
        own = [row for row in rows if row.group == group]
        base, half = _before(known, group)
        form = known.forms[group.kind]
        before = float(np.mean([abs(float(r.terms @ base) / r.seconds - 1) for r in own]))
        models = sorted({row.model for row in own})
        after = _left_out_logs(own, models, base, form) if len(models) > 1 else None
        now = None if after is None else float(np.mean(np.abs(np.expm1(after))))
        kept = now is not None and now < before
        changes.append(
            Change(
                runtime=own[0].runtime,
                dtype=group.dtype,
                rows=len(own),
                models=len(models),
                before=before,
                after=now,
                kept=kept,
            )
        )
        if kept and after is not None:
            groups[group] = _grown(groups.get(group), group, own, base, half, after, form)
    merged = tuple(groups.values())
    return replace(known, command=command, groups=merged), tuple(changes)


def _observation(
    item: Measurement, work: Workload, target: Target, predictor: AnalyticPredictor
) -> Observation:
    clock = clock_of(item, target)
    setting = Setting(target=target, runtime=item.runtime, threads=item.threads, clock_mhz=clock)
    kernels = predictor.kernels_for(work, item.artifact.precision, setting)
    group = Group(
        kernels=kernels, core=core_of(setting), dtype=ARITHMETIC[item.artifact.precision], bits=64
    )
    seconds = float(np.median([sample for r in item.rounds for sample in r.invoke_s]))
    return Observation(
        group=group,
        release=("yours", clock),
        family=item.artifact.model,
        model=item.artifact.model,
        board=target.title,
        runtime=item.runtime,
        threads=item.threads,
        threads_stated=True,
        clock_mhz=clock,
        macs=work.macs,
        conv_share=work.conv_share,
        terms=terms(work, group, item.threads, clock),
        seconds=seconds,
    )


def _before(known: Coefficients, group: Group) -> tuple[Vector, float]:
    """Return the coefficients a group is predicted with now, and the interval's half-width."""
    same = [
        g for g in known.groups
        if (g.kernels, g.core, g.dtype) == (group.kernels, group.core, group.dtype)
    ]  # fmt: skip
    if same:
        found = max(same, key=lambda item: item.bits)
        return in_order(found.coefficients), found.half
    core = next(c for c in known.cores if (c.core, c.kind) == group.pool)
    return in_order(core.coefficients), core.half


def _left_out_logs(
    own: Sequence[Observation], models: Sequence[str], base: Vector, form: str
) -> Vector:
    """Return log(predicted / measured) of every row by a fit without its model."""
    logs = []
    for model in models:
        fit = fit_group([row for row in own if row.model != model], _trace(base), form)
        logs += [log(fit.seconds(row) / row.seconds) for row in own if row.model == model]
    return np.array(logs)


def _grown(
    old: GroupCoefficients | None,
    group: Group,
    own: Sequence[Observation],
    base: Vector,
    half: float,
    logs: Vector,
    form: str,
) -> GroupCoefficients:
    """Return a group with the user's rows in it; its interval is of their left-out errors.

    The interval there was counts as one more of them, so that few rows do not make it narrow.
    """
    spread = sqrt((float(logs @ logs) + (half / NORMAL_90) ** 2) / (len(logs) + 1))
    return GroupCoefficients(
        kernels=group.kernels,
        core=group.core,
        dtype=group.dtype,
        bits=group.bits,
        standing="own",
        rows=(old.rows - old.user_rows if old else 0) + len(own),
        families=tuple(sorted({row.family for row in own} | set(old.families if old else ()))),
        boards=tuple(sorted({row.board for row in own} | set(old.boards if old else ()))),
        clocks_mhz=tuple(sorted({row.clock_mhz for row in own})),
        threads=tuple(sorted({row.threads for row in own})),
        threads_stated=True,
        conv_share=rounded(max(row.conv_share for row in own)),
        half=rounded(NORMAL_90 * spread),
        coefficients=by_term(fit_group(own, _trace(base), form).coefficients),
        mape=rounded(float(np.mean(np.abs(np.expm1(logs))))),
        covered=None,
        user_rows=len(own),
    )


def _trace(base: Vector) -> Vector:
    """Return a prior without zeros: what the evidence priced at nothing may cost the user."""
    return np.maximum(base, float(base.max()) * 1e-3)
