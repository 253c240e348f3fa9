"""Training targets from labels: a distribution over the classes, or a point on their scale."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from edgekit.data.age_bins import ADIENCE_BINS
from edgekit.data.dataset import Sample
from edgekit.spec import OutputSpec
from edgekit.training.recipe import Recipe

Floats = NDArray[np.float32]

AGE_BOUNDARIES = tuple(
    (last + first) / 2 for (_, last), (first, _) in itertools.pairwise(ADIENCE_BINS)
)
"""Middles of the gaps between Adience's age groups, in years: 3, 7, 13.5, ... 56.5."""


def age_distribution(years: float, softness: float) -> list[float]:
    """Return the chance of each age group: a normal distribution around `years`, cut in eight."""
    deviation = (0.5 + softness * years) * sqrt(2)
    below = [0.5 * (1 + erf((edge - years) / deviation)) for edge in AGE_BOUNDARIES]
    return [high - low for low, high in zip([0.0, *below], [*below, 1.0], strict=True)]


def class_targets(
    samples: Sequence[Sample], output: OutputSpec, recipe: Recipe
) -> tuple[Floats, Floats]:
    """Return targets (N, classes), rows summing to 1, and each image's weight (N).

    Weight 0 masks an image that has no label for this output. The mean weight of the labelled
    images is 1 where `recipe.between_weight` plays no part.
    """
    count = len(output.labels)
    targets = np.zeros((len(samples), count), np.float32)
    weights = np.zeros(len(samples), np.float32)
    soft = recipe.age_softness > 0 and output.name == "age"
    for row, sample in enumerate(samples):
        index = sample.labels.get(output.name, -1)
        if soft and sample.years is not None:
            targets[row] = age_distribution(sample.years, recipe.age_softness)
            weights[row] = 1.0 if index >= 0 else recipe.between_weight
        elif index >= 0:
            targets[row, index] = 1.0
            weights[row] = 1.0
    shares = (targets * weights[:, None]).sum(0) / max(weights.sum(), 1.0)
    importance = np.where(shares > 0, np.maximum(shares, 1e-6) ** -recipe.balance, 0.0)
    balanced = targets @ importance.astype(np.float32)
    balanced /= max((balanced * weights).sum() / max(weights.sum(), 1.0), 1e-6)
    smoothed = (1 - recipe.smoothing) * targets + recipe.smoothing / count
    return smoothed.astype(np.float32), (weights * balanced).astype(np.float32)


def scale_targets(
    samples: Sequence[Sample], output: OutputSpec, recipe: Recipe
) -> tuple[Floats, Floats]:
    """Return targets (N, 1) on the scale of the class index, and each image's weight (N).

    A labelled image's target is its class index, as in the paper; an age between two groups is
    the mean of its distribution.
    """
    distribution, weights = class_targets(samples, output, recipe)
    points = distribution @ np.arange(len(output.labels), dtype=np.float32)
    indices = np.array([sample.labels.get(output.name, -1) for sample in samples], np.float32)
    return np.where(indices >= 0, indices, points).astype(np.float32)[:, None], weights
