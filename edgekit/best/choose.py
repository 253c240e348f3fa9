"""Which of the artifacts that a board runs correctly to ship: the fastest that is accurate enough.

They are tried in order of what they cost, so that accuracy, which takes long, is judged for no
artifact that a cheaper one beats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from edgekit.conversion.board import Trial
from edgekit.records import Basis


def basis_of(trials: Sequence[Trial], emulated: bool) -> Basis:
    """Return what all of these can be ranked by."""
    if trials and all(trial.cost.seconds is not None for trial in trials):
        return "predicted" if emulated else "measured"
    counted = any(trial.cost.instructions is not None for trial in trials)
    return "counted" if counted else "nothing"


def cheapest(trials: Sequence[Trial], basis: Basis) -> Trial:
    """Return the fastest of these; of those that may be as fast, the one of fewest instructions.

    Two may be as fast where their intervals overlap: a prediction is surer of an order than of a
    time, but not that sure, and instructions are counted exactly.
    """
    if basis in {"predicted", "measured"}:
        first = min(trials, key=lambda trial: trial.cost.seconds or inf)
        bound = first.cost.high or inf
        trials = [trial for trial in trials if (trial.cost.low or 0.0) <= bound]
        if any(trial.cost.instructions is None for trial in trials):
            return first
    return min(trials, key=_instructions)


def choose(
    trials: Sequence[Trial],
    basis: Basis,
    max_drop: float,
    lost: Callable[[Trial], tuple[float | None, int, str]],
) -> tuple[tuple[Trial, ...], Trial | None]:
    """Return the trials with what was found of their accuracy, and the one to ship, if any holds.

    `lost` returns the points that an artifact loses on the board, on how many images, and why it
    may not be shipped after all; it is asked of the cheapest first, until one loses at most
    `max_drop`. Points are None where nothing can be lost.
    """
    found = {trial.name: trial for trial in trials}
    left = [trial for trial in trials if not trial.fault]
    while left:
        trial = cheapest(left, basis)
        left.remove(trial)
        points, judged, fault = lost(trial)
        trial = replace(trial, lost=points, judged=judged, fault=fault)
        found[trial.name] = trial
        if not fault and (points is None or points <= max_drop):
            return tuple(found.values()), trial
    return tuple(found.values()), None


def _instructions(trial: Trial) -> float:
    count = trial.cost.instructions
    return inf if count is None else count
