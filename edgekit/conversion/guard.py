"""The accuracy guard: keeps the worst layers of an int8 artifact in float until it holds.

The drop is measured on images that calibration never saw: in points of accuracy where they are
labelled (of boxes, of mAP50-95; of masks, of mean IoU), else in points of agreement with the source
model: of decisions (the model's own near ties aside, outputs.ties), or of the kind's own metric
(shared labels, cosine, mean IoU, matched boxes). Layers are tried one by one; those whose return to
float moves the outputs nearest to the model's go first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgekit.data.dataset import TrueBox
from edgekit.graph import GuardSet
from edgekit.kinds import kind_of
from edgekit.onboard.runner import METRICS, class_map, read_with
from edgekit.outputs import Outputs, decisions, ties
from edgekit.scoring.boxes import found_in, match
from edgekit.scoring.masks import mean_iou, overlaps
from edgekit.spec import OutputSpec


@dataclass(frozen=True)
class GuardResult:
    """What the guard settled on: the layers kept in float, the drop left, and why it stopped."""

    keep_float: tuple[str, ...]
    drop: float
    reason: str


def drop(ours: Outputs, guard: GuardSet, outputs: tuple[OutputSpec, ...]) -> float:
    """Return the largest drop of any output, in percentage points; below 0 is a gain."""
    drops = []
    for output in outputs:
        kind = kind_of(output)
        if output.name in guard.boxes or output.name in guard.masks:
            theirs, mine = (_rated(values, guard, output) for values in (guard.reference, ours))
            drops.append(100 * (theirs - mine))
            continue
        if kind.JUDGED_BY == "metric" and kind.SHARE:
            _, metric = METRICS[output.kind]
            told = msgspec.to_builtins(output)
            mine, theirs = read_with(told, ours), read_with(told, guard.reference)
            drops.append(100 * (1 - metric(mine, theirs, told)))
            continue
        decided = decisions(ours[output.name], output)
        expected = decisions(guard.reference[output.name], output)
        if decided is None or expected is None:
            continue
        labels = guard.labels.get(output.name)
        if labels is not None and (labels >= 0).any():
            known = labels >= 0
            gained = (decided == labels)[known].mean() - (expected == labels)[known].mean()
            drops.append(-100 * float(gained))
        else:
            tied = ties(ours[output.name], guard.reference[output.name], output)
            drops.append(100 * float(((decided != expected) & ~tied).mean()))  # type: ignore[operator]
    return max(drops, default=0.0)


def _rated(values: Outputs, guard: GuardSet, output: OutputSpec) -> float:
    """Return how right boxes or masks are against the labels, 0 to 1: mAP50-95, or mean IoU."""
    import numpy as np

    told = msgspec.to_builtins(output)
    assert guard.frame is not None
    if output.name in guard.masks:
        found = class_map(values[output.name], told)
        count = len(output.labels)
        masks = guard.masks[output.name]
        tables = [overlaps(mine, mask, count) for mine, mask in zip(found, masks, strict=True)]
        return float(mean_iou(np.stack(tables), np.ones(len(tables), np.int64))[0])
    assert guard.sizes is not None
    rows = read_with(told, values)
    pairs = zip(rows, guard.sizes.tolist(), strict=True)
    boxes = [found_in(own, output, guard.frame, (size[0], size[1])) for own, size in pairs]
    truths: list[list[TrueBox]] = [[] for _ in boxes]
    for image, index, *box, area, crowd in guard.boxes[output.name].tolist():
        corners = (box[0], box[1], box[2], box[3])
        true = TrueBox(index=int(index), box=corners, area=area, crowd=bool(crowd))
        truths[int(image)].append(true)
    return match(boxes, truths, len(output.labels)).map50_95


def distance(ours: Outputs, guard: GuardSet) -> float:
    """Return the mean squared distance to the model's outputs, each in units of its spread."""
    total = 0.0
    for name, reference in guard.reference.items():
        spread = float(reference.var()) or 1.0
        total += float(((ours[name] - reference) ** 2).mean()) / spread
    return total


def guard_int8(
    run: Callable[[tuple[str, ...]], Outputs],
    layers: tuple[str, ...],
    guard: GuardSet,
    outputs: tuple[OutputSpec, ...],
    max_drop: float,
    seconds: float,
) -> GuardResult:
    """Return the fewest of the worst layers to keep in float so that the drop is ≤ `max_drop`.

    `run(keep_float)` builds the artifact and returns its outputs on the guard's images. At most
    `seconds` are spent; after that the best found so far is returned, and its reason says so.
    """
    end = time.monotonic() + seconds
    ours = run(())
    left = drop(ours, guard, outputs)
    if left <= max_drop:
        return GuardResult((), left, "int8 throughout holds")
    tried: dict[str, float] = {}
    for layer in layers:
        if time.monotonic() > end:
            break
        tried[layer] = distance(run((layer,)), guard)
    worst = sorted(tried, key=lambda layer: tried[layer])
    best = GuardResult((), left, f"out of time after {seconds / 60:g} minutes")
    for count in range(1, len(worst) + 1):
        if time.monotonic() > end:
            return best
        kept = tuple(worst[:count])
        left = drop(run(kept), guard, outputs)
        if left < best.drop:
            best = GuardResult(kept, left, best.reason)
        if left <= max_drop:
            return GuardResult(kept, left, f"{count} of {len(layers)} layers in float hold")
    reason = best.reason if len(worst) < len(layers) else "no set of layers holds"
    return GuardResult(best.keep_float, best.drop, reason)
