"""Statistics of latencies: which percentiles may be printed, and how sure a number is.

Samples within one round share a process, a clock and a memory layout, so rounds, not samples,
are what is independent. Every interval here resamples rounds first and samples second.
All times are in seconds; `rounds` is a sequence of one-dimensional sample arrays, one a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Percentile = Literal["p50", "p90", "p95", "p99"]
SHARES: dict[Percentile, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}

GATE_CONFIDENCE = 0.99
RESAMPLES = 2000
TICK_S = 1e-9
"""The clock's own step: a shorter sample is taken as one tick, since logarithms need above 0."""

DRIFT = 0.05
"""Medians of a round's halves further apart than this are a drift, if it is not chance."""
DRIFT_Z = 3.29
"""Two-sided 0.1 % of a normal: the chance allowed to call steady samples drifting."""
ROUNDS_APART = 0.10
"""Rounds whose medians are further apart than this did not measure the same thing."""

# Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; any table.
_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether `value` is inside."""
        return self.low <= value <= self.high


@cache
def samples_needed(share: float, confidence: float = GATE_CONFIDENCE) -> int:
    """Return how many samples a percentile needs: 11, 64, 130 and 662 for p50, p90, p95 and p99.

    With that many, at least two of them lie above the true percentile at `confidence`, so that
    the second largest bounds it (Wilks 1941, one-sided tolerance limits: the smallest n with
    1 − pⁿ − n(1 − p)pⁿ⁻¹ ≥ confidence). MLPerf LoadGen's early stopping asks for the same 64
    and 662 queries.
    """
    count = 2
    while 1 - share**count - count * (1 - share) * share ** (count - 1) < confidence:
        count += 1
    return count


def percentile(samples: ArrayLike, name: Percentile) -> float | None:
    """Return a percentile of `samples`, or None where there are too few of them for it."""
    values = np.asarray(samples, dtype=np.float64)
    share = SHARES[name]
    if len(values) < samples_needed(share):
        return None
    return float(np.quantile(values, share))


def interval(rounds: Sequence[ArrayLike], name: Percentile, seed: int = 0) -> Interval | None:
    """Return a percentile over all rounds with its interval.

    None where the percentile lacks its samples, or with fewer than two rounds: one round says
    nothing of the next. The interval is symmetric in the logarithm.
    """
    pooled = percentile(np.concatenate([np.asarray(r) for r in rounds]) if rounds else [], name)
    if pooled is None or len(rounds) < 2:
        return None
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(rounds), (RESAMPLES, len(rounds)))
    draws = _draws(_sorted_logs(rounds), SHARES[name], picks, rng)
    around = _around(math.log(max(pooled, TICK_S)), draws, len(rounds))
    # The way through the logarithm rounds: an interval of no width could miss its own estimate.
    return Interval(pooled, min(around.low, pooled), max(around.high, pooled))


def speed_ratio(
    rounds: Sequence[ArrayLike], other: Sequence[ArrayLike], *, paired: bool, seed: int = 0
) -> Interval | None:
    """Return how many times as fast `rounds` is as `other`: the ratio of their medians.

    It is the geometric mean over rounds of other's median / ours. `paired`: round i of both ran
    side by side, so rounds are resampled together and what a round did to both cancels; a round
    that only one of them has is left out. None with fewer than two rounds of either.
    """
    common = min(len(rounds), len(other))
    if common < 2:
        return None
    ours, theirs = _sorted_logs(rounds), _sorted_logs(other)
    if paired:
        ours, theirs = ours[:common], theirs[:common]
    rng = np.random.default_rng(seed)
    our_picks = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    their_picks = our_picks if paired else rng.integers(0, len(theirs), (RESAMPLES, len(theirs)))
    draws = _draws(theirs, 0.5, their_picks, rng) - _draws(ours, 0.5, our_picks, rng)
    value = float(np.mean([np.median(t) for t in theirs]) - np.mean([np.median(o) for o in ours]))
    return _around(value, draws, common)


def drifts(samples: ArrayLike) -> bool:
    """Tell whether a round's second half is slower or faster than its first, and not by chance.

    The halves' medians must differ by more than DRIFT, and a rank-sum test (Mann and Whitney
    1947, normal approximation) must agree.
    """
    values = np.asarray(samples, dtype=np.float64)
    half = len(values) // 2
    if half < 5:
        return False
    first, second = np.sort(values[:half]), values[-half:]
    before, after = np.median(first), np.median(second)
    if abs(after - before) <= DRIFT * before:
        return False
    below = np.searchsorted(first, second, "left").sum()
    up_to = np.searchsorted(first, second, "right").sum()
    u = (below + up_to) / 2
    z = (u - half * half / 2) / math.sqrt(half * half * (2 * half + 1) / 12)
    return bool(abs(z) > DRIFT_Z)


def rounds_spread(rounds: Sequence[ArrayLike]) -> float:
    """Return how far the rounds' medians are apart: largest / smallest − 1; 0 for one round."""
    medians = [max(float(np.median(np.asarray(r))), TICK_S) for r in rounds]
    return max(medians) / min(medians) - 1 if medians else 0.0


def student_t(degrees: int) -> float:
    """Return Student's t for a two-sided 95 % interval, exact to three decimals."""
    if degrees <= len(_T_95):
        return _T_95[degrees - 1]
    # Cornish and Fisher's expansion, its first three terms (Abramowitz and Stegun 26.7.5).
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    value: float = z + sum(term / degrees**power for power, term in enumerate(terms, 1))
    return value


def _sorted_logs(rounds: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    return [np.sort(np.log(np.maximum(np.asarray(r, dtype=np.float64), TICK_S))) for r in rounds]


def _draws(
    logs: Sequence[NDArray[np.float64]],
    share: float,
    picks: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return, per row of `picks` (round indices), the mean log percentile of resampled rounds.

    A round's resample is not drawn value by value: the k-th smallest of n values drawn with
    replacement is the sorted sample at a Beta(k, n + 1 − k) place, exactly, at any n.
    """
    values = np.empty(picks.shape)
    for index, log in enumerate(logs):
        chosen = picks == index
        count = len(log)
        rank = min(max(math.ceil(share * count), 1), count)
        places = rng.beta(rank, count + 1 - rank, int(chosen.sum()))
        values[chosen] = log[np.minimum((places * count).astype(np.int64), count - 1)]
    mean: NDArray[np.float64] = values.mean(axis=1)
    return mean


def _around(value: float, draws: NDArray[np.float64], rounds: int) -> Interval:
    """Return e^value with an interval of the draws' spread, widened for few rounds.

    Quantiles of the draws themselves would be far too narrow with three rounds: a bootstrap's
    spread is short by √((n − 1)/n) and knows no Student's t (Hesterberg 2015, "What Teachers
    Should Know About the Bootstrap", narrowness bias). Both are put back here.
    """
    reach = student_t(rounds - 1) * math.sqrt(rounds / (rounds - 1)) * float(draws.std())
    return Interval(math.exp(value), math.exp(value - reach), math.exp(value + reach))
