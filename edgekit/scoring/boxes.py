"""Mean average precision of boxes: pycocotools matches them, and its numbers are given.

The interval draws the images anew. Only the last step is done again for that, from the library's
own matches: precision over recall, each image counted as often as it was drawn.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import TrueBox
from edgekit.errors import MissingPackage
from edgekit.onboard import runner
from edgekit.spec import InputSpec, OutputSpec

FROM = 0.001
"""The score from which boxes count: precision is asked at every recall, so unsure boxes belong."""
MOST = 100
"""Boxes of one class and picture that count, the surest: COCO's rule."""
MOST_POSES = 20
"""The same of things with points."""
_MOST_AREA = 1e10


@dataclass(frozen=True, kw_only=True)
class FoundBoxes:
    """What was found in one picture: boxes (B, 4) in its pixels, scores and class indices (B).

    `points` (B, K, 3), of keypoints: x, y in its pixels and the probability.
    """

    boxes: list[list[float]]
    scores: list[float]
    classes: list[int]
    points: list[list[list[float]]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Class:
    """One class's boxes, the surest first: image (B,), right and not counted (T, B); things (N,).

    T are the ten overlaps from 0.5 to 0.95.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    things: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Boxes matched with the true ones, over N images.

    `map50_95` and `map50` are the library's mean average precision, 0 to 1: the mean over the
    overlaps from 0.5 to 0.95, and at 0.5. NaN where nothing is there to be found.
    """

    map50_95: float
    map50: float
    classes: tuple[_Class, ...]
    recalls: NDArray[np.float64]

    def measure(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return both (map50_95, map50) with each image counted as often as `counts` says, (N,)."""
        found = [_precision(item, counts, self.recalls) for item in self.classes]
        known = [precision for precision in found if precision is not None]
        if not known:
            return np.array([np.nan, np.nan])
        table = np.stack(known)
        return np.array([table.mean(), table[:, 0].mean()])


def check_scorer() -> None:
    """Raise MissingPackage without pycocotools."""
    if importlib.util.find_spec("pycocotools") is None:
        raise MissingPackage("pycocotools (it scores boxes)", "detection")


def found_in(
    rows: NDArray[np.float32], output: OutputSpec, frame: InputSpec, size: tuple[int, int]
) -> FoundBoxes:
    """Return what a detection says of one picture of that width and height, however unsure.

    `rows` are those of `runner.read_with`.
    """
    told, spec = msgspec.to_builtins(output), msgspec.to_builtins(frame)
    places, scores, classes = runner.found_rows(rows, told, FROM, every=True)
    boxes = runner.place(rows[places, :4], told, spec, size)
    kept = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    points: list[list[list[float]]] = []
    if output.points is not None:
        three = runner.points_of(rows[places[kept]], told)
        placed = runner.place(three[..., :2], told, spec, size)
        points = np.concatenate([placed, three[..., 2:]], -1).tolist()
    return FoundBoxes(
        boxes=boxes[kept].tolist(),
        scores=scores[kept].tolist(),
        classes=classes[kept].tolist(),
        points=points,
    )


def match(
    found: Sequence[FoundBoxes],
    truths: Sequence[Sequence[TrueBox]],
    classes: int,
    sigmas: Sequence[float] = (),
) -> Matches:
    """Return what was found in N pictures beside what is there, of so many classes.

    With `sigmas`, one a point, things are matched by their points (COCO's OKS), not by their boxes.
    Raises MissingPackage without pycocotools.
    """
    check_scorer()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": index} for index in range(len(truths))]
    categories = [{"id": index, "name": str(index)} for index in range(classes)]
    there = [
        _annotation(index, item.index, item.box, area=item.area, iscrowd=int(item.crowd))
        | _pointed(item.points)
        for index, items in enumerate(truths)
        for item in items
    ]
    none: list[list[list[float]]] = [[]]
    ours = [
        _annotation(index, label, box, score=score, area=_area(box), iscrowd=0) | _pointed(points)
        for index, item in enumerate(found)
        for box, score, label, points in zip(
            item.boxes,
            item.scores,
            item.classes,
            item.points or none * len(item.boxes),
            strict=True,
        )
    ]
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints its progress
        for annotations in (there, ours):
            side = COCO()
            numbered = [{**item, "id": at + 1} for at, item in enumerate(annotations)]
            side.dataset = {"images": images, "annotations": numbered, "categories": categories}
            side.createIndex()
            sides.append(side)
        judged = COCOeval(*sides, "keypoints" if sigmas else "bbox")
        judged.params.areaRng, judged.params.areaRngLbl = [[0, _MOST_AREA]], ["all"]
        judged.params.maxDets = [MOST_POSES if sigmas else MOST]
        judged.params.kpt_oks_sigmas = np.array(sigmas)
        judged.evaluate()
        judged.accumulate()
    precision = judged.eval["precision"]
    known, at_half = precision[precision > -1], precision[:1][precision[:1] > -1]
    return Matches(
        map50_95=float(known.mean()) if len(known) else float("nan"),
        map50=float(at_half.mean()) if len(at_half) else float("nan"),
        classes=_classes(judged, len(images), classes),
        recalls=np.asarray(judged.params.recThrs, np.float64),
    )


def _annotation(image: int, label: int, box: Sequence[float], **more: Any) -> dict[str, Any]:
    size = [box[2] - box[0], box[3] - box[1]]
    return {"image_id": image, "category_id": label, "bbox": [box[0], box[1], *size], **more}


def _pointed(points: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return a thing's points as COCO has them; one without a mark is not judged by them."""
    flat = [float(number) for point in points for number in point]
    return {"keypoints": flat, "num_keypoints": sum(mark > 0 for mark in flat[2::3])}


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _classes(judged: Any, images: int, classes: int) -> tuple[_Class, ...]:
    """Return each class's matches from the library's list of them: class by class, then image."""
    tables = []
    for label in range(classes):
        parts = judged.evalImgs[label * images : (label + 1) * images]
        things = np.zeros(images, np.int64)
        scores: list[NDArray[np.float64]] = [np.zeros(0)]
        image: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        overlaps = len(judged.params.iouThrs)
        right = [np.zeros((overlaps, 0), bool)]
        ignored = [np.zeros((overlaps, 0), bool)]
        for index, part in enumerate(parts):
            if part is None:
                continue
            things[index] = int((np.asarray(part["gtIgnore"]) == 0).sum())
            scores.append(np.asarray(part["dtScores"], np.float64))
            image.append(np.full(len(part["dtScores"]), index))
            right.append(np.asarray(part["dtMatches"]) > 0)
            ignored.append(np.asarray(part["dtIgnore"], bool))
        if not things.any():
            continue
        order = np.argsort(-np.concatenate(scores), kind="mergesort")
        tables.append(
            _Class(
                image=np.concatenate(image)[order],
                right=np.concatenate(right, axis=1)[:, order],
                ignored=np.concatenate(ignored, axis=1)[:, order],
                things=things,
            )
        )
    return tuple(tables)


def _precision(
    item: _Class, counts: NDArray[np.int64], recalls: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return one class's precision by overlap and recall, (T, R); None where nothing is there."""
    total = int((counts * item.things).sum())
    if not total:
        return None
    weights = counts[item.image] * ~item.ignored
    hits = np.cumsum(weights * item.right, axis=1)
    misses = np.cumsum(weights * ~item.right, axis=1)
    table = np.zeros((len(item.right), len(recalls)))
    if not hits.shape[1]:
        return table
    precision = hits / (hits + misses + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for row, (recall, values) in enumerate(zip(hits / total, precision, strict=True)):
        places = np.searchsorted(recall, recalls, side="left")
        reached = places < len(values)
        table[row, reached] = values[places[reached]]
    return table
