"""How far confidences can be believed: calibration error, temperature, the cost of abstaining.

Everywhere `sure` is the confidence of each image's decision, (N), 0 to 1, and `right` whether the
decision was right, (N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgekit.evaluation.scores import Share, share

BINS = 15
"""Of the calibration error, each as wide as the others."""

COOLEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is looked for."""


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """What withholding answers less sure than `threshold` costs and gains.

    `coverage` is the share of images that are answered; `accuracy` of those, None where none is.
    """

    threshold: float
    coverage: Share
    accuracy: Share | None


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How far one output's confidences are from its accuracy.

    `ece` is the expected calibration error over BINS bins, in points; `plain_ece` that of the
    network's own confidences, without the output's `temperature`. `mean` is the mean confidence,
    in per cent.
    """

    output: str
    temperature: float
    ece: float
    plain_ece: float
    mean: float
    abstention: Abstention | None = None


def calibration_error(sure: ArrayLike, right: ArrayLike) -> float:
    """Return the expected calibration error in points; 0 for no image.

    The mean distance of confidence and accuracy in BINS bins of confidence, by their images.
    """
    given, hits = np.asarray(sure, np.float64), np.asarray(right, np.float64)
    if not len(given):
        return 0.0
    places = np.clip((given * BINS).astype(int), 0, BINS - 1)
    gaps = np.bincount(places, given - hits, BINS)
    return float(100 * np.abs(gaps).sum() / len(given))


def abstention(sure: ArrayLike, right: ArrayLike, threshold: float) -> Abstention:
    """Return what answering only from `threshold` on costs."""
    kept = np.asarray(sure, np.float64) >= threshold
    hits = np.asarray(right, bool)[kept]
    return Abstention(
        threshold=threshold, coverage=share(kept), accuracy=share(hits) if len(hits) else None
    )


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature that makes known labels most likely; 1 where no label is known.

    `logits` are (N, C), `labels` class indices (N), -1 for none. The likelihood has one maximum
    over the temperature's inverse; it is found by halving (Guo et al., On Calibration of Modern
    Neural Networks, 2017).
    """
    values, known = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    values, known = values[known >= 0], known[known >= 0]
    if not len(known):
        return 1.0
    values = values - values.max(1, keepdims=True)
    own = values[np.arange(len(known)), known]

    def slope(inverse: float) -> float:
        """Return the derivative of the mean loss by the inverse temperature."""
        shares = np.exp(values * inverse)
        shares /= shares.sum(1, keepdims=True)
        return float(((shares * values).sum(1) - own).mean())

    low, high = 1 / HOTTEST, 1 / COOLEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(round(1 / (low * high) ** 0.5, 4))
