"""mAP and mean IoU: the library's own numbers, and intervals that mean something."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgekit.data.dataset import TrueBox
from edgekit.errors import MissingPackage
from edgekit.onboard import runner
from edgekit.scoring import drawn, interval
from edgekit.scoring.boxes import FoundBoxes, Matches, match
from edgekit.scoring.masks import framed_mask, mean_iou, overlaps

CLASSES = 4
Truths = list[list[TrueBox]]


def scene(images: int, seed: int = 0) -> tuple[list[FoundBoxes], Truths]:
    """True boxes, some of them crowds, and found ones: moved, doubled, invented, mislabelled."""
    draw = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(images):
        there = []
        boxes: list[list[float]] = []
        scores: list[float] = []
        classes: list[int] = []
        for _ in range(int(draw.integers(0, 6))):
            x, y = draw.uniform(0, 80, 2)
            w, h = draw.uniform(5, 40, 2)
            index = int(draw.integers(0, 3))
            crowd = bool(draw.random() < 0.1)
            there.append(
                TrueBox(index=index, box=(x, y, x + w, y + h), area=float(w * h), crowd=crowd)
            )
            for _ in range(int(draw.integers(0, 3))):
                moved = draw.normal(0, 0.12, 4) * [w, h, w, h]
                boxes.append((np.array([x, y, x + w, y + h]) + moved).tolist())
                scores.append(round(float(draw.uniform(0.01, 1)), 2))  # many are equal
                classes.append(index if draw.random() < 0.8 else int(draw.integers(0, CLASSES)))
        truths.append(there)
        found.append(FoundBoxes(boxes=boxes, scores=scores, classes=classes))
    return found, truths


def by_the_library(found: list[FoundBoxes], truths: Truths) -> tuple[float, float]:
    """mAP as its documentation says to compute it, from its own two forms of files."""
    there = [
        {"id": 0, "image_id": image, "category_id": b.index + 1, "area": b.area,
         "iscrowd": int(b.crowd), "bbox": [*b.box[:2], b.box[2] - b.box[0], b.box[3] - b.box[1]]}
        for image, boxes in enumerate(truths) for b in boxes
    ]  # fmt: skip
    results = [
        {"image_id": image, "category_id": label + 1, "score": score,
         "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]]}
        for image, item in enumerate(found)
        for box, score, label in zip(item.boxes, item.scores, item.classes, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(len(truths))],
            "annotations": [{**item, "id": at + 1} for at, item in enumerate(there)],
            "categories": [{"id": at + 1} for at in range(CLASSES)],
            "info": {},
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[0]), float(judged.stats[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_numbers_are_the_librarys_own(seed: int) -> None:
    found, truths = scene(60, seed)
    matches = match(found, truths, CLASSES)
    assert (matches.map50_95, matches.map50) == pytest.approx(by_the_library(found, truths))
    assert 0.05 < matches.map50_95 < matches.map50 < 0.95
    once = matches.measure(np.ones(60, np.int64))
    assert tuple(once) == pytest.approx((matches.map50_95, matches.map50), abs=1e-12)


def test_an_image_that_is_drawn_twice_counts_as_two() -> None:
    found, truths = scene(30)
    matches = match(found, truths, CLASSES)
    counts = np.random.default_rng(1).integers(0, 4, 30)
    places = np.repeat(np.arange(30), counts)
    twice = [found[at] for at in places], [truths[at] for at in places]
    assert tuple(matches.measure(counts)) == pytest.approx(by_the_library(*twice), abs=1e-9)


def test_an_interval_narrows_with_the_images_and_is_seeded() -> None:
    widths = []
    for images in (20, 320):
        matches = match(*scene(images), CLASSES)
        draws = drawn(matches.measure, images)[:, 0]
        low, high = interval(draws)
        assert low < matches.map50_95 < high
        assert np.array_equal(draws, drawn(matches.measure, images)[:, 0])
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_what_finds_all_or_nothing() -> None:
    _, truths = scene(20)
    perfect = [
        FoundBoxes(boxes=[list(b.box) for b in boxes], scores=[0.9] * len(boxes),
                   classes=[b.index for b in boxes])
        for boxes in truths
    ]  # fmt: skip
    assert match(perfect, truths, CLASSES).map50_95 == pytest.approx(1)
    nothing = [FoundBoxes(boxes=[], scores=[], classes=[])] * 20
    assert match(nothing, truths, CLASSES).map50_95 == 0
    empty: Matches = match(nothing, [[]] * 20, CLASSES)
    assert np.isnan(empty.map50) and np.isnan(empty.measure(np.ones(20, np.int64))).all()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'edgekit-deploy\[detection\]'"):
        match([], [], CLASSES)


# Masks


def test_mean_iou_is_that_of_all_images_together() -> None:
    draw = np.random.default_rng(0)
    found, masks = draw.integers(0, 3, (9, 8, 8)), draw.integers(0, 3, (9, 8, 8)).astype(np.uint8)
    masks[:, 0] = 255
    tables = np.stack([overlaps(a, b, 4) for a, b in zip(found, masks, strict=True)])
    judged = masks != 255
    ious = [
        ((found == i) & (masks == i)).sum() / (((found == i) | (masks == i)) & judged).sum()
        for i in range(3)
    ]
    assert mean_iou(tables, np.ones(9, np.int64))[0] == pytest.approx(np.mean(ious))
    twice = np.array([2] + [0] * 8)
    assert mean_iou(tables, twice) == pytest.approx(mean_iou(tables[:1], np.ones(1, np.int64)))


def test_a_map_of_another_size_is_enlarged_and_a_class_of_none_is_wrong() -> None:
    mask = np.zeros((6, 4), np.uint8)
    mask[:, 2:] = 1
    assert overlaps(np.array([[0, 1]]), mask, 2).tolist() == [[12, 12]] * 3
    assert overlaps(np.array([[0, 7]]), mask, 2).tolist() == [[12, 0], [12, 0], [12, 12]]


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
def test_a_mask_is_framed_as_its_picture(fit: str) -> None:
    from PIL import Image

    spec: dict[str, Any] = {"height": 24, "width": 32, "fit": fit}
    mask = np.zeros((40, 80), np.uint8)
    mask[10:30, 20:60] = 1
    framed = framed_mask(mask, spec)
    picture = runner.fit_picture(
        Image.fromarray(255 * mask), 24, 32, None, fit, "bilinear", (114,), True
    )[..., 0]
    assert set(np.unique(framed)) == ({0, 1, 255} if fit == "letterbox" else {0, 1})
    clear = (picture < 10) | (picture > 245)
    assert np.array_equal(
        framed[clear & (framed != 255)] == 1, picture[clear & (framed != 255)] > 9
    )
    assert clear.mean() > 0.5 or fit == "letterbox"
