"""Boxes and masks that were found in a dataset, rated against its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset
from edgekit.errors import BadData
from edgekit.evaluation.assessment import Assessment, Rating
from edgekit.evaluation.scores import Share
from edgekit.scoring import Measure, drawn, interval
from edgekit.scoring.boxes import FoundBoxes, match
from edgekit.scoring.masks import mean_iou
from edgekit.spec import OutputSpec


def rate_boxes(
    dataset: Dataset, found: Sequence[FoundBoxes], output: OutputSpec
) -> tuple[Rating, ...]:
    """Return mAP over the overlaps 0.5 to 0.95, and at 0.5. Raises BadData where nothing is there.

    Raises MissingPackage without pycocotools.
    """
    truths = [sample.boxes for sample in dataset.samples]
    if not any(not box.crowd for boxes in truths for box in boxes):
        raise BadData(f"{dataset.name} has no box in {len(truths)} images: nothing can be found")
    matches = match(found, truths, len(output.labels))
    names, values = ("mAP50_95", "mAP50"), (matches.map50_95, matches.map50)
    return _ratings(output, names, values, matches.measure, len(truths))


def rate_masks(tables: NDArray[np.int64], output: OutputSpec) -> tuple[Rating, ...]:
    """Return the mean IoU of overlaps with masks, (N, 3, CLASSES)."""

    def measure(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return mean_iou(tables, counts)

    values = measure(np.ones(len(tables), np.int64))
    return _ratings(output, ("mIoU",), values, measure, len(tables))


def assessed(dataset: Dataset, ratings: tuple[Rating, ...]) -> Assessment:
    """Return ratings as an assessment of a dataset."""
    return Assessment(
        dataset=dataset.name,
        protocol=dataset.protocol,
        images=len(dataset.samples),
        scores=(),
        gaps=(),
        joint=None,
        ratings=ratings,
    )


def change_of(rating: Rating, other: Rating) -> Share:
    """Return a rating less another one on the same images, in points, paired by the draw."""
    low, high = interval(rating.draws - other.draws)
    return Share(
        percent=rating.value.percent - other.value.percent,
        low=100 * low,
        high=100 * high,
        count=rating.value.count,
    )


def _ratings(
    output: OutputSpec,
    names: Sequence[str],
    values: Sequence[float] | NDArray[np.float64],
    measure: Measure,
    images: int,
) -> tuple[Rating, ...]:
    draws = drawn(measure, images)
    found = []
    for at, (name, value) in enumerate(zip(names, values, strict=True)):
        low, high = interval(draws[:, at])
        share = Share(percent=100 * float(value), low=100 * low, high=100 * high, count=images)
        found.append(Rating(output=output.name, measure=name, value=share, draws=draws[:, at]))
    return tuple(found)
