"""What an accuracy number rests on: scores and gaps of predictions on one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgekit.data.dataset import UNLABELLED, Dataset
from edgekit.evaluation.confidence import Confidence, abstention, calibration_error
from edgekit.evaluation.scores import Gap, Score, Share, gap, score


@dataclass(frozen=True, kw_only=True)
class Rating:
    """One output by a measure that is no share of right answers: mAP, mean IoU; in per cent.

    `draws` are its values on samples of the images, of which the interval is made (scoring.drawn).
    """

    output: str
    measure: str
    value: Share
    draws: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Scores on `images` images of a dataset; `protocol` says which, and how they were split.

    `gaps` compares men with women and the age groups with each other, where those are labelled.
    `joint` is the share of images with both labels of which both were recognised, in per cent.
    """

    dataset: str
    protocol: str
    images: int
    scores: tuple[Score, ...]
    gaps: tuple[Gap, ...]
    joint: float | None
    confidence: tuple[Confidence, ...] = ()
    ratings: tuple[Rating, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sure:
    """How sure the decisions of one output are, (N,), 0 to 1: as told, and as the network says."""

    temperature: float
    told: ArrayLike
    plain: ArrayLike


def assess(
    dataset: Dataset,
    predicted: Mapping[str, ArrayLike],
    sure: Mapping[str, Sure] | None = None,
    abstain: float | None = None,
) -> Assessment:
    """Return the assessment of class indices (N), by output name, of the dataset's N samples.

    Outputs without any label in the dataset are left out. `sure` are the confidences of outputs
    that have one; `abstain` the least with which an answer would be given.
    """
    labels = {name: np.array(dataset.take(name)) for name in predicted}
    labelled = {name: known for name, known in labels.items() if (known != UNLABELLED).any()}
    scores = tuple(
        score(name, predicted[name], known, dataset.labels[name])
        for name, known in labelled.items()
    )
    gaps = tuple(
        gap(name, predicted[name], known, by, dataset.take(by), dataset.labels[by])
        for name, known in labelled.items()
        for by in ("gender", "age")
        if by in dataset.labels
    )
    both = np.all([known != UNLABELLED for known in labelled.values()], axis=0)
    right = np.all([np.asarray(predicted[n]) == known for n, known in labelled.items()], axis=0)
    joint = float(100 * right[both].mean()) if len(labelled) > 1 and both.any() else None
    return Assessment(
        dataset=dataset.name,
        protocol=dataset.protocol,
        images=len(dataset.samples),
        scores=scores,
        gaps=gaps,
        joint=joint,
        confidence=tuple(
            _confidence(name, np.asarray(predicted[name]), known, sure[name], abstain)
            for name, known in labelled.items()
            if sure and name in sure
        ),
    )


def _confidence(
    name: str,
    predicted: NDArray[np.int64],
    known: NDArray[np.int64],
    sure: Sure,
    abstain: float | None,
) -> Confidence:
    counts = known != UNLABELLED
    told, plain = (np.asarray(v, np.float64)[counts] for v in (sure.told, sure.plain))
    right = (predicted == known)[counts]
    return Confidence(
        output=name,
        temperature=sure.temperature,
        ece=calibration_error(told, right),
        plain_ece=calibration_error(plain, right),
        mean=float(100 * told.mean()),
        abstention=None if abstain is None else abstention(told, right, abstain),
    )


def shares(assessment: Assessment) -> dict[str, float]:
    """Return the shares by the names that records and tables use, in per cent.

    `age_accuracy`, `age_1off`, `boxes_mAP50` and so on, each with `_low` and `_high`.
    """
    named: dict[str, float] = {}
    for item in assessment.scores:
        for name, value in (("accuracy", item.exact), ("1off", item.one_off)):
            if value is not None:
                key = f"{item.output}_{name}"
                named |= {key: value.percent, f"{key}_low": value.low, f"{key}_high": value.high}
    for rating in assessment.ratings:
        key, value = f"{rating.output}_{rating.measure}", rating.value
        named |= {key: value.percent, f"{key}_low": value.low, f"{key}_high": value.high}
    return named
