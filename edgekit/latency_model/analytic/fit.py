"""Fits the coefficients: few, non-negative, robust, on relative error, drawn to a common shape.

A group of the evidence holds two or three families of networks, which cannot tell nine
coefficients apart: two of them are then given up to chance. So all groups of a kind are fitted
first, each with one factor of its own, and a group's coefficients are drawn to that common shape
as far as its own rows do not say otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgekit.errors import MissingPackage
from edgekit.latency_model.analytic.observations import (
    Group,
    Observation,
    Vector,
    columns,
)

Release = tuple[str, float]
Key = TypeVar("Key", bound=Hashable)

START = {
    "float": np.array([0.4, 0.4, 0.4, 1.5, 1.0, 0.3, 0.5, 0.3, 0.3, 0.25, 10.0, 0.1, 20.0]),
    "int8": np.array([0.2, 0.2, 0.2, 0.75, 1.0, 0.3, 0.5, 0.3, 0.3, 0.25, 10.0, 0.1, 20.0]),
}
"""Where the common shape starts from, in TERMS' order: a Cortex-A72 at 60 % of one 128-bit
multiply-add a cycle, depthwise bound by its loads, memory at 3 to 4 GB/s (boards.csv)."""

FAMILY_ERROR = 0.1
"""A family's mean error counts as one observation with this standard deviation ..."""
PRIOR_SPREAD = 0.5
"""... and a coefficient as one that is within this share of the common shape."""
HUBER = 0.1
"""Relative error from which a row pulls no harder."""
ROUNDS = 12
"""Alternations of coefficients, factors and robust weights; the last ones change nothing."""


@dataclass(frozen=True)
class Shape:
    """The coefficients that all groups of a kind share, and each group's factor on them."""

    coefficients: Vector
    factors: Mapping[Group, float]


@dataclass(frozen=True)
class GroupFit:
    """A group's own coefficients, and the factor of each release (version and clock) on them.

    The factors keep one release from bending the coefficients of another. Nobody who asks for a
    prediction has one, so `seconds` is without.
    """

    coefficients: Vector
    releases: Mapping[Release, float]

    def seconds(self, observation: Observation) -> float:
        """Return what the fit gives for a row."""
        return float(observation.terms @ self.coefficients)


def common_shape(rows: Sequence[Observation], kind: str, form: str) -> Shape:
    """Fit the common shape of the `kind` to all its `rows` by a form, with one factor a group."""
    matrix = columns(form)
    start = _reduced(START[kind], matrix)
    x, seconds = _matrix(rows, matrix)
    groups = [row.group for row in rows]
    balance = _balance(rows)
    factors = _factors(groups, seconds / (x @ start))
    coefficients, robust = start, np.ones(len(rows))
    for _ in range(ROUNDS):
        scaled = x * np.array([factors[group] for group in groups])[:, None]
        coefficients, robust = _step(scaled, seconds, balance, robust, start)
        factors = _factors(groups, seconds / (x @ coefficients))
    return Shape(matrix @ coefficients, factors)


def fit_group(rows: Sequence[Observation], prior: Vector, form: str) -> GroupFit:
    """Fit one group's coefficients to its `rows`, drawn to `prior` (the common shape, scaled)."""
    matrix = columns(form)
    drawn = _reduced(prior, matrix)
    x, seconds = _matrix(rows, matrix)
    releases = [row.release for row in rows]
    balance = _balance(rows)
    factors = dict.fromkeys(releases, 1.0)
    coefficients, robust = drawn, np.ones(len(rows))
    for _ in range(ROUNDS):
        scaled = x * np.array([factors[release] for release in releases])[:, None]
        coefficients, robust = _step(scaled, seconds, balance, robust, drawn)
        factors = _factors(releases, seconds / (x @ coefficients))
        centre = float(np.exp(np.mean(np.log(list(factors.values())))))
        factors = {release: factor / centre for release, factor in factors.items()}
        coefficients = coefficients * centre
    return GroupFit(matrix @ coefficients, factors)


def prior_of(shape: Shape, group: Group, kind: str) -> Vector:
    """Return the common shape at a group's scale; a coefficient it lost gets a trace back."""
    trace = START[kind] * 0.02
    return np.maximum(shape.coefficients, trace) * shape.factors[group]


def constant(rows: Sequence[Observation]) -> float:
    """Return the one number of the simplest fit, seconds per multiply-accumulate."""
    macs = np.array([row.macs for row in rows], float)
    share = macs / np.array([row.seconds for row in rows])
    return float(share.sum() / (share @ share))


def _matrix(rows: Sequence[Observation], matrix: Vector) -> tuple[Vector, Vector]:
    return np.array([row.terms for row in rows]) @ matrix, np.array([row.seconds for row in rows])


def _reduced(values: Vector, matrix: Vector) -> Vector:
    """Return TERMS' values as a form's: those it merges have the first one's."""
    found: Vector = values[matrix.argmax(axis=0)]
    return found


def _balance(rows: Sequence[Observation]) -> Vector:
    """Return weights that give every family of every group the same say, however many rows.

    Rows that leave much open have less, and so has a family of only such.
    """
    counts = Counter((row.group, row.family) for row in rows)
    return np.array([row.trust / counts[row.group, row.family] for row in rows])


def _factors(keys: Sequence[Key], ratios: Vector) -> dict[Key, float]:
    """Return the median ratio of each key."""
    several: dict[Key, list[float]] = {}
    for key, ratio in zip(keys, ratios, strict=True):
        several.setdefault(key, []).append(float(ratio))
    return {key: float(np.median(values)) for key, values in several.items()}


def _step(
    x: Vector, seconds: Vector, balance: Vector, robust: Vector, prior: Vector
) -> tuple[Vector, Vector]:
    """Solve once and return the coefficients and the next robust weights."""
    relative = x / seconds[:, None]
    weights = balance * robust
    pull = (FAMILY_ERROR / PRIOR_SPREAD) ** 2
    gram = (relative * weights[:, None]).T @ relative + np.diag(pull / prior**2)
    target = relative.T @ weights + pull / prior
    coefficients = nonnegative(gram, target)
    error = np.abs(relative @ coefficients - 1)
    return coefficients, np.minimum(1, HUBER / np.maximum(error, 1e-9))


def nonnegative(gram: Vector, target: Vector) -> Vector:
    """Return the b >= 0 that minimises b·gram·b/2 - target·b, `gram` positive definite.

    Raises MissingPackage without SciPy, which only fitting needs.
    """
    try:
        from scipy.optimize import nnls
    except ImportError:
        raise MissingPackage("scipy", "predict") from None
    scale = 1 / np.sqrt(np.diag(gram))
    root = np.linalg.cholesky(gram * scale[:, None] * scale)
    found: Vector = nnls(root.T, np.linalg.solve(root, target * scale))[0]
    return found * scale
