"""Scores of predicted classes against labels, with intervals. NumPy only.

Everywhere `predicted` and `labels` are class indices (N); a label of -1 means there is none, and
the image does not count. Shares are in per cent.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgekit.evaluation.intervals import paired_change, wilson
from edgekit.records import Confusion


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of `count` images in per cent, with its 95 % interval."""

    percent: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class ClassScore:
    """How one class fared: how many images carry it, and how many of them were recognised."""

    label: str
    count: int
    recall: float | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """One output's accuracy.

    `one_off` counts a neighbouring class as right and is None where classes have no order;
    `error` is the mean absolute distance in classes. `confusion[i][j]` counts images of class i
    called j.
    """

    output: str
    exact: Share
    one_off: Share | None
    error: float
    balanced: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def matrix(self) -> Confusion:
        """The confusion counts with the names of their classes."""
        return Confusion(self.output, tuple(item.label for item in self.classes), self.confusion)

    @property
    def lowest_recall(self) -> float:
        """The recall of the class that fared worst, of those that occur."""
        return min(item.recall for item in self.classes if item.recall is not None)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """An output's exact accuracy within each group of people, and best less worst in points."""

    output: str
    by: str
    groups: Mapping[str, Share]
    points: float


def exact_percent(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Return the share predicted exactly; 0 where nothing is labelled."""
    given, known = _labelled(predicted, labels)
    return float(100 * (given == known).mean()) if len(known) else 0.0


def score(output: str, predicted: ArrayLike, labels: ArrayLike, names: Sequence[str]) -> Score:
    """Return one output's score. Raises ValueError where nothing is labelled."""
    given, known = _labelled(predicted, labels)
    if not len(known):
        raise ValueError(f"no image is labelled for {output}")
    distance = np.abs(given - known)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (known, given), 1)
    counts = confusion.sum(1)
    recalls = [
        float(100 * confusion[i, i] / count) if count else None for i, count in enumerate(counts)
    ]
    present = [recall for recall in recalls if recall is not None]
    return Score(
        output=output,
        exact=share(distance == 0),
        one_off=share(distance <= 1) if ordered(names) else None,
        error=float(distance.mean()),
        balanced=float(np.mean(present)),
        classes=tuple(
            ClassScore(name, int(count), recall)
            for name, count, recall in zip(names, counts, recalls, strict=True)
        ),
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
    )


def share(hits: ArrayLike) -> Share:
    """Return the share of true values with its interval (intervals.wilson)."""
    values = np.asarray(hits, dtype=bool)
    count, right = len(values), int(values.sum())
    low, high = wilson(right, count)
    return Share(percent=100 * right / count, low=100 * low, high=100 * high, count=count)


def paired_difference(one: ArrayLike, other: ArrayLike, labels: ArrayLike) -> Share:
    """Return exact accuracy of `one` less that of `other`, in points, on the same images.

    The interval keeps each image's two answers together (intervals.paired_change).
    """
    first, known = _labelled(one, labels)
    second, _ = _labelled(other, labels)
    now, before = first == known, second == known
    gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
    low, high = paired_change(gained, lost, len(known))
    change = 100 * (gained - lost) / len(known)
    return Share(percent=change, low=100 * low, high=100 * high, count=len(known))


def ordered(names: Sequence[str]) -> bool:
    """Tell whether labels are ranges in rising order, so that one can be another's neighbour.

    `0-2`, `4-6`, `60-100` are, and `60+` may end them. Other labels, numbers too, may stand for
    anything: the digit 3 is not nearer to 4 than to 8.
    """
    found = [re.fullmatch(r"(\d+(?:\.\d+)?)(?:\s*[-–]\s*\d+(?:\.\d+)?|\+)", name) for name in names]
    starts = [float(match[1]) for match in found if match]
    return len(starts) == len(names) > 2 and all(a < b for a, b in itertools.pairwise(starts))


def gap(
    output: str,
    predicted: ArrayLike,
    labels: ArrayLike,
    by: str,
    groups: ArrayLike,
    names: Sequence[str],
) -> Gap:
    """Return an output's exact accuracy within each group of `groups` (N, -1: in none)."""
    given, known, member = (np.asarray(a, np.int64) for a in (predicted, labels, groups))
    shares = {}
    for index, name in enumerate(names):
        chosen = (member == index) & (known >= 0)
        if chosen.any():
            shares[name] = share(given[chosen] == known[chosen])
    percents = [item.percent for item in shares.values()]
    return Gap(
        output=output,
        by=by,
        groups=shares,
        points=max(percents) - min(percents) if percents else 0.0,
    )


def _labelled(
    predicted: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    given, known = np.asarray(predicted, np.int64), np.asarray(labels, np.int64)
    if given.shape != known.shape or given.ndim != 1:
        raise ValueError(f"predictions {given.shape} and labels {known.shape} do not match")
    return given[known >= 0], known[known >= 0]
