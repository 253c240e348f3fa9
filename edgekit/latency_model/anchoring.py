"""What own measurements are worth as anchors of other predictions, found on the evidence.

A board's runtime is off from what published rows say by a factor that all its networks share, and
by one of each network. Anchors show the sum of both. How far they are believed, and how wrong the
others still are, is found on the evidence: in every setting that several families were measured
in, some networks anchor one of a family that the fit never saw. (The anchors' own families it saw.)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from edgekit.latency_model.quantiles import balanced_mean, balanced_quantile

COUNTS = (1, 2, 5)
"""How many anchors are tried on the evidence; more count as the largest of these."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far an anchor may be believed: the share of its log factor that the others get."""
DRAWS = 10
"""Sets of anchors that are tried for a row, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A row of the evidence as a fit told it: `residual` is log(measured / predicted).

    `half` is the half-width of its log interval without anchors, made without its family.
    Rows of one `place` are of one runtime's release, precision, board and thread count.
    """

    place: Hashable
    kind: str
    family: str
    residual: float
    half: float


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fit without one family told: that family's rows, and the others' that may anchor."""

    left_out: tuple[Told, ...]
    others: tuple[Told, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchoring:
    """What so many `anchors` of a `kind` of arithmetic are worth, found on `rows` of the evidence.

    `share` is how far they are believed, `narrower` the half-width of the log interval as a share
    of that without them. `mape` is the mean error and `unanchored` that of the same rows without
    anchors; `covered` is the share of them that the interval held. Share and interval were found
    without the row's family for these.
    """

    kind: str
    anchors: int
    rows: int
    share: float
    narrower: float
    mape: float
    unanchored: float
    covered: float

    @property
    def note(self) -> str:
        """The line that `--check` prints."""
        return (
            f"{self.anchors} anchor{'s' if self.anchors > 1 else ''}, {self.kind}: "
            f"{self.mape:.1%} off where {self.unanchored:.1%} without, on {self.rows} rows; "
            f"intervals hold {self.covered:.1%}"
        )


@dataclass(frozen=True, slots=True)
class _Trial:
    row: Told
    anchors: float


def worth(folds: Sequence[Fold]) -> tuple[Anchoring, ...]:
    """Return what anchors are worth by kind and count, where the evidence has such settings."""
    found = []
    for kind in ("float", "int8"):
        for count in COUNTS:
            trials = [trial for fold in folds for trial in _trials(fold, kind, count)]
            families = {trial.row.family for trial in trials}
            if len(families) > 1:
                found.append(_anchoring(kind, count, trials, sorted(families)))
    return tuple(found)


def _anchoring(
    kind: str, count: int, trials: Sequence[_Trial], families: Sequence[str]
) -> Anchoring:
    errors, plain, held = [], [], []
    for family in families:
        share, narrower = _settled([trial for trial in trials if trial.row.family != family])
        for trial in trials:
            if trial.row.family == family:
                left = trial.row.residual - share * trial.anchors
                errors.append(abs(exp(-left) - 1))
                plain.append(abs(exp(-trial.row.residual) - 1))
                held.append(abs(left) <= narrower * trial.row.half)
    share, narrower = _settled(trials)
    rows = len({id(trial.row) for trial in trials})
    means = (float(np.mean(values)) for values in (errors, plain, held))
    mape, unanchored, covered = (round(mean, 4) for mean in means)
    return Anchoring(
        kind=kind,
        anchors=count,
        rows=rows,
        share=share,
        narrower=round(narrower, 4),
        mape=mape,
        unanchored=unanchored,
        covered=covered,
    )


def _settled(trials: Sequence[_Trial]) -> tuple[float, float]:
    """Return the share that errs least on these trials, and how narrow the intervals then are.

    Settings count alike in the share, and each family of a setting in the intervals.
    """

    def errs(share: float) -> float:
        return balanced_mean((t.row.place, abs(t.row.residual - share * t.anchors)) for t in trials)

    share = min(SHARES, key=errs)
    return share, balanced_quantile(
        ((t.row.place, t.row.family), abs(t.row.residual - share * t.anchors) / t.row.half)
        for t in trials
    )


def _trials(fold: Fold, kind: str, count: int) -> list[_Trial]:
    """Return each row left out with the mean residual of `count` others there, some draws."""
    rng = np.random.default_rng(0)
    places: dict[Hashable, list[float]] = {}
    for other in fold.others:
        places.setdefault(other.place, []).append(other.residual)
    found = []
    for row in fold.left_out:
        others = places.get(row.place, [])
        if row.kind == kind and len(others) >= count:
            draws = (rng.choice(len(others), count, replace=False) for _ in range(DRAWS))
            found += [_Trial(row, float(np.mean([others[at] for at in drawn]))) for drawn in draws]
    return found
