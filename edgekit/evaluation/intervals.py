"""Intervals of counted shares: never of no width, never outside what a share can be. NumPy only."""

from __future__ import annotations

import math

import numpy as np

Z_95 = 1.959964
"""Two-sided 95 % of a normal."""
_STEPS = 60


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, 0 to 1, by Wilson's score method (1927).

    6 of 6 gives 0.61 to 1, not 1 to 1. Raises ValueError where `count` is not above 0.
    """
    if count <= 0 or not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no share")
    share, square = hits / count, Z_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = Z_95 / (1 + square / count)
    half *= math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    # The ends are exact where all or none were hits; rounding must not cut them off.
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    high = 1.0 if hits == count else min(middle + half, 1.0)
    return low, high


def exact(hits: int, count: int, miss: float = 0.05) -> tuple[float, float]:
    """Return Clopper and Pearson's exact interval of a share (1934).

    It misses the true share in at most `miss` of all samples, half of that on either side.
    """
    low = 0.0 if hits == 0 else 1 - _upper(count - hits, count, miss / 2)
    high = 1.0 if hits == count else _upper(hits, count, miss / 2)
    return low, high


def paired_change(gained: int, lost: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of (gained − lost) / count, in -1 to 1, of paired answers.

    `gained` were right only now and `lost` only before. Each has an exact interval of its own that
    misses in at most 2.5 % of samples; together they miss in at most 5 % (Bonferroni). So the
    promise holds for any sample, and no change at all on few images still says how little that is.
    """
    least_gain, most_gain = exact(gained, count, 0.025)
    least_loss, most_loss = exact(lost, count, 0.025)
    return max(least_gain - most_loss, -1.0), min(most_gain - least_loss, 1.0)


def _upper(hits: int, count: int, tail: float) -> float:
    """Return the share at which `hits` or fewer of `count` have the probability `tail`."""
    places = np.arange(hits + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((count - places[:-1]) / (places[:-1] + 1)))])
    low, high = hits / count, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        terms = ways + places * math.log(share) + (count - places) * math.log1p(-share)
        largest = terms.max()
        probability = math.exp(largest) * float(np.exp(terms - largest).sum())
        low, high = (share, high) if probability > tail else (low, share)
    return high
