"""Boxes and masks that were found in a dataset, rated against its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset
from edgekit.errors import BadData
from edgekit.evaluation.assessment import Assessment, Rating
from edgekit.evaluation.scores import Share
from edgekit.onboard.runner import SIGMA
from edgekit.scoring import Measure, drawn, interval
from edgekit.scoring.boxes import FoundBoxes, match
from edgekit.scoring.masks import mean_iou
from edgekit.spec import OutputSpec


def rate_boxes(
    dataset: Dataset, found: Sequence[FoundBoxes], output: OutputSpec
) -> tuple[Rating, ...]:
    """Return mAP over the overlaps 0.5 to 0.95, and at 0.5; of keypoints first that of the points.

    Raises BadData where nothing is there, MissingPackage without pycocotools.
    """
    truths = [sample.boxes for sample in dataset.samples]
    if not any(not box.crowd for boxes in truths for box in boxes):
        raise BadData(f"{dataset.name} has no box in {len(truths)} images: nothing can be found")
    ratings: tuple[Rating, ...] = ()
    labels, names = len(output.labels), ("mAP50_95", "mAP50")
    if output.points is not None:
        if not any(point[2] for boxes in truths for box in boxes for point in box.points):
            raise BadData(f"{dataset.name} has no point in {len(truths)} images: nothing to judge")
        sigmas = output.points.sigmas or (SIGMA,) * output.points.count
        by_points = match(found, truths, labels, sigmas)
        values = by_points.map50_95, by_points.map50
        told = tuple(f"points_{name}" for name in names)
        ratings = _ratings(output, told, values, by_points.measure, len(truths))
    matches = match(found, truths, labels)
    values = matches.map50_95, matches.map50
    return ratings + _ratings(output, names, values, matches.measure, len(truths))


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
