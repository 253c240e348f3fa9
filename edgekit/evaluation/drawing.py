"""Answers as what is drawn on their pictures: boxes, words, points and coloured classes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.annotation import FORMATS, MOST_SIDE, Mark, Mask, save_annotated
from edgekit.artifact import Manifest
from edgekit.evaluation.answer import Answer, ClassMap, in_words, shows
from edgekit.onboard.runner import framing, picture_size
from edgekit.spec import InputSpec, OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LISTED = 8
"""Classes of one picture that are named beside their colours, the largest."""


def save_drawn(data: bytes, answers: Sequence[Answer], path: Path, manifest: Manifest) -> None:
    """Write an encoded image with its answers to `path`. Raises as `annotation.save_annotated`."""
    marks = [mark for answer in answers for mark in marks_of(answer, manifest.outputs)]
    size = picture_size(data)
    masks = [mask for answer in answers for mask in masks_of(answer, manifest, size)]
    save_annotated(data, marks, path, masks)


def save_pictures(answers: Sequence[Answer], folder: Path, manifest: Manifest) -> list[Path]:
    """Write each picture with its answers into `folder`, as NAME-boxes.jpg (.png of other formats).

    Returns the files, in order. One that could not be read is left out.
    """
    pictures: dict[str, list[Answer]] = {}
    for answer in answers:
        if not answer.unreadable:
            pictures.setdefault(answer.image, []).append(answer)
    saved: list[Path] = []
    taken: set[Path] = set()
    for image, own in pictures.items():
        source = Path(image)
        suffix = source.suffix.lower() if source.suffix.lower() in FORMATS else ".png"
        path, number = folder / f"{source.stem}-boxes{suffix}", 1
        while path in taken:
            number += 1
            path = folder / f"{source.stem}-{number}-boxes{suffix}"
        taken.add(path)
        save_drawn(source.read_bytes(), own, path, manifest)
        saved.append(path)
    return saved


def marks_of(answer: Answer, outputs: Sequence[OutputSpec]) -> list[Mark]:
    """Return what is said of a face or of the whole picture, and every box and point found.

    `outputs` are the model's: they say which points are joined.
    """
    joined = {output.name: output.points.lines for output in outputs if output.points}
    marks = []
    said = tuple(
        f"{name}: {words}"
        for name, words in in_words(answer).items()
        if (decision := answer.outputs[name]) and not (decision.points or decision.map)
    )
    if answer.box is not None or said:
        marks.append(Mark(box=answer.box, lines=said))
    for name, decision in answer.outputs.items():
        if decision is None:
            continue
        joins = joined.get(name, ())
        if decision.points is not None:
            marks.append(Mark(box=None, lines=(), points=_seen(decision.points), joins=joins))
        for found in decision.boxes or ():
            marks.append(
                Mark(
                    box=found.box,
                    lines=(f"{found.label} {found.confidence:.0%}",),
                    colour=found.index,
                    points=_seen(found.points or ()),
                    joins=joins,
                )
            )
    return marks


def _seen(points: Sequence[Sequence[float]]) -> tuple[tuple[float, float] | None, ...]:
    """Return where each point is, None for one that does not show."""
    return tuple((point[0], point[1]) if shows(point) else None for point in points)


def masks_of(answer: Answer, manifest: Manifest, size: tuple[int, int]) -> list[Mask]:
    """Return the maps of an answer, if it holds some, for a picture of `size` (width, height).

    A class whose name says that it is the background has no colour.
    """
    masks: list[Mask] = []
    if answer.box is not None or manifest.input is None:
        return masks
    for output in manifest.outputs:
        decision = answer.outputs.get(output.name)
        if decision is None or decision.map is None:
            continue
        largest = list((decision.shares or {}).items())
        names = {
            output.labels.index(label): f"{label} {share:.0%}"
            for label, share in largest
            if label in output.labels and "background" not in label.lower()
        }
        classes = over_picture(decision.map, manifest.input, size)
        masks.append(Mask(classes=classes, names=names, listed=LISTED))
    return masks


def over_picture(held: ClassMap, frame: InputSpec, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the class at each place of a picture of `size` (width, height), -1 where none is said.

    It is no larger than MOST_SIDE. What the network did not see, beside a crop, has no class.
    """
    import numpy as np

    classes = np.frombuffer(zlib.decompress(held.classes), "<u2").reshape(held.height, held.width)
    scales, offsets = framing(msgspec.to_builtins(frame), size)
    shrunk = max(1.0, max(size) / MOST_SIDE)
    places = []
    for axis, (inside, count) in enumerate(
        ((frame.width, held.width), (frame.height, held.height))
    ):
        length = max(1, round(size[axis] / shrunk))
        middles = (np.arange(length) + 0.5) * size[axis] / length
        seen = (middles * scales[axis] + offsets[axis]) / inside
        places.append(np.where((seen >= 0) & (seen < 1), np.floor(seen * count), -1).astype(int))
    columns, rows = places
    found: NDArray[np.int64] = classes.astype(np.int64)[rows][:, columns]
    found[rows < 0] = -1
    found[:, columns < 0] = -1
    return found
