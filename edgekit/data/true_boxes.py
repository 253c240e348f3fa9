"""What the readers of labelled boxes share: the pictures they are in, and which boxes can be meant.

A box that cannot be is left out and counted, with the file it is of; it costs no other box.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgekit.data.dataset import BROKEN, Decisions, TrueBox
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData
from edgekit.onboard.runner import picture_size
from edgekit.spec import OutputSpec

MISSING = "image left out: missing or unreadable"
NO_SIZE = "box left out: it has no width or no height"
OUTSIDE = "box left out: it lies outside of the picture"
CUT = "box cut off at the edge of the picture"
EDGE = 1.0
"""Pixels by which a box may reach over the edge unsaid: tools round."""


@dataclass(frozen=True)
class Picture:
    """A picture's hash, and its width and height as it is upright."""

    sha256: str
    size: tuple[int, int]


def boxed_output(outputs: Sequence[OutputSpec]) -> OutputSpec:
    """Return the one output with boxes among all. Raises BadData for several."""
    found = [output for output in outputs if output.boxes is not None]
    if len(found) != 1:
        told = ", ".join(output.name for output in outputs)
        raise BadData(f"labelled boxes need a model with one detection; its outputs are {told}")
    return found[0]


def classes_of(output: OutputSpec) -> list[str]:
    """Return the labels of things, without that of the background."""
    assert output.boxes is not None
    return [label for at, label in enumerate(output.labels) if at != output.boxes.background]


def beside(name: str, folder: str, suffix: str) -> str:
    """Return a picture's file of labels: in `folder` for its last `images`; '' where in none."""
    parts = name.split("/")
    places = [at for at, part in enumerate(parts[:-1]) if part == "images"]
    if not places:
        return ""
    parts[places[-1]] = folder
    return "/".join(parts).rpartition(".")[0] + suffix


def look_at(
    store: ImageStore, names: Iterable[str], decisions: Decisions, threads: int = 4
) -> dict[str, Picture]:
    """Return what is known of each picture that can be read; the others are noted."""

    def one(name: str) -> tuple[str, Picture | str]:
        try:
            data = store.read(name)
        except OSError:
            return name, MISSING
        try:
            size = picture_size(data)
        except (OSError, ValueError):
            return name, BROKEN
        return name, Picture(hashlib.sha256(data).hexdigest(), size)

    seen: dict[str, Picture] = {}
    with ThreadPoolExecutor(threads) as pool:
        for name, found in pool.map(one, names):
            if isinstance(found, str):
                decisions.note(found, name)
            else:
                seen[name] = found
    return seen


def true_box(
    file: str,
    size: tuple[int, int],
    index: int,
    box: tuple[float, float, float, float],
    decisions: Decisions,
    area: float | None = None,
    crowd: bool = False,
    points: tuple[tuple[float, float, float], ...] = (),
) -> TrueBox | None:
    """Return a box, cut off at the edges of its picture, or None, noted, where it cannot be."""
    if not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
        decisions.note(NO_SIZE, file)
        return None
    width, height = size
    if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
        decisions.note(OUTSIDE, file)
        return None
    if box[0] < -EDGE or box[1] < -EDGE or box[2] > width + EDGE or box[3] > height + EDGE:
        decisions.note(CUT, file)
    cut = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height))
    known = area is not None and math.isfinite(area) and area > 0
    filled = (cut[2] - cut[0]) * (cut[3] - cut[1])
    held = float(area) if known and area else filled
    return TrueBox(index=index, box=cut, area=held, crowd=crowd, points=points)
