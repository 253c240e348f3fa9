"""What own measurements are worth as anchors of other predictions, found on the evidence.

A board's runtime is off from what published rows say by a factor that all its networks share, and
by one of each network. Anchors show the sum of both. How far they are believed, and how wrong the
others still are, is found on the evidence: in every setting that several families were measured
in, some networks anchor one of a family that the fit never saw. (The anchors' own families it saw.)
Kernels differ in how alike they treat networks, so anchors are believed by kernels, where two
families or more were measured with them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
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
    Rows of one `place` are of one runtime's release, precision, board and thread count. `kernels`
    are those whose anchors are believed alike, '' where all are.
    """

    place: Hashable
    kind: str
    family: str
    residual: float
    half: float
    kernels: str = ""


@dataclass(frozen=True, slots=True)
class Fold:
    """What a fit without one family told: that family's rows, and the others' that may anchor."""

    left_out: tuple[Told, ...]
    others: tuple[Told, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchoring:
    """What so many `anchors` of a `kind` of arithmetic are worth, found on `rows` of the evidence.

    `shares` is how far they are believed by kernels, `share` those of others; `narrower` is the
    half-width of the log interval as a share of that without them. `mape` is the mean error and
    `unanchored` that of the same rows without anchors; `covered` is the share of them that the
    interval held. Shares and interval were found without the row's family for these.
    """

    kind: str
    anchors: int
    rows: int
    share: float
    narrower: float
    mape: float
    unanchored: float
    covered: float
    shares: dict[str, float] = field(default_factory=dict)

    def believed(self, kernels: str) -> float:
        """Return how far an anchor of these kernels is believed."""
        return self.shares.get(kernels, self.share)

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
        rule = _settled([trial for trial in trials if trial.row.family != family])
        for trial in trials:
            if trial.row.family == family:
                left = rule.left(trial)
                errors.append(abs(exp(-left) - 1))
                plain.append(abs(exp(-trial.row.residual) - 1))
                held.append(abs(left) <= rule.narrower * trial.row.half)
    rule = _settled(trials)
    rows = len({id(trial.row) for trial in trials})
    means = (float(np.mean(values)) for values in (errors, plain, held))
    mape, unanchored, covered = (round(mean, 4) for mean in means)
    return Anchoring(
        kind=kind,
        anchors=count,
        rows=rows,
        share=rule.share,
        narrower=round(rule.narrower, 4),
        mape=mape,
        unanchored=unanchored,
        covered=covered,
        shares=rule.shares,
    )


@dataclass(slots=True)
class _Rule:
    """How far anchors are believed, by kernels and else, and how narrow the intervals then are."""

    share: float
    shares: dict[str, float]
    narrower: float = 0.0

    def left(self, trial: _Trial) -> float:
        """Return the log error that is left of a row once its anchors have spoken."""
        return trial.row.residual - self.shares.get(trial.row.kernels, self.share) * trial.anchors


def _settled(trials: Sequence[_Trial]) -> _Rule:
    """Return the rule that errs least on these trials.

    Settings count alike in the shares, and each family of a setting in the intervals.
    """
    families: dict[str, set[str]] = {}
    for trial in trials:
        families.setdefault(trial.row.kernels, set()).add(trial.row.family)
    several = sorted(kernels for kernels, of in families.items() if kernels and len(of) > 1)
    mine = {kernels: [t for t in trials if t.row.kernels == kernels] for kernels in several}
    rule = _Rule(_share(trials), {kernels: _share(found) for kernels, found in mine.items()})
    rule.narrower = balanced_quantile(
        ((t.row.place, t.row.family), abs(rule.left(t)) / t.row.half) for t in trials
    )
    return rule


def _share(trials: Sequence[_Trial]) -> float:
    def errs(share: float) -> float:
        return balanced_mean((t.row.place, abs(t.row.residual - share * t.anchors)) for t in trials)

    return min(SHARES, key=errs)


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
