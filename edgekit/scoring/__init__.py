"""How right boxes and masks are against labels, by the measures of their field, with intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

DRAWS = 200
"""Samples of the images, drawn with replacement, that an interval rests on."""

Measure = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From how often each image counts, (N,), to one value a measure, 0 to 1; NaN where undefined."""


def drawn(measure: Measure, images: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """Return a measure of `draws` samples of the images, (draws, MEASURES).

    The draw is seeded: two models on the same images are drawn alike, and may be subtracted.
    """
    draw = np.random.default_rng(0)
    counts = (np.bincount(draw.integers(0, images, images), minlength=images) for _ in range(draws))
    return np.stack([measure(count) for count in counts])


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of one measure, of its draws (N,)."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
