"""Draws boxes and words on a copy of a picture, for people to look at."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import UserError
from edgekit.files import write_whole
from edgekit.onboard.runner import upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageDraw
    from PIL.Image import Image

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
LEAST_SIDE = 480
"""A smaller picture is enlarged to this, so that words fit on it."""
MOST_SIDE = 1600
"""A larger one is made smaller: it is to be looked at."""
COLOURS = (
    "#1cc878", "#e6194b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000",
)  # fmt: skip
"""One a class, in turn."""
GROUND = (16, 20, 24)
COVER = 0.5
"""How much of a place's colour is that of its class."""
POINT = (255, 214, 10)
JOIN = (255, 122, 0)
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box (left, top, right, bottom, in pixels of the upright picture) and what is said of it.

    None is the whole picture, outlined where something is said of it. `colour` is a number, such as
    that of the class. `points` are in the same pixels, None for one that does not show;
    `joins` are the pairs of places among them between which a line is drawn.
    """

    box: Box | None
    lines: tuple[str, ...]
    colour: int = 0
    points: tuple[tuple[float, float] | None, ...] = ()
    joins: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which class is where in a picture: indices (H, W) over all of it, of any size.

    `names` holds the words for each class that is coloured, the first `listed` of which are shown.
    """

    classes: NDArray[np.int64]
    names: Mapping[int, str]
    listed: int


def check_annotation(path: Path) -> None:
    """Raise UserError where a picture cannot be written to `path`."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: an annotated picture ends in {', '.join(FORMATS)}")


def save_annotated(
    data: bytes, marks: Sequence[Mark], path: Path, masks: Sequence[Mask] = ()
) -> None:
    """Write an encoded image with its marks and masks to `path`, whole or not at all.

    Raises UserError for an ending of no picture, OSError or ValueError as `runner.decode`.
    """
    check_annotation(path)
    buffer = io.BytesIO()
    annotated(upright(data), marks, masks).save(buffer, FORMATS[path.suffix.lower()], quality=92)
    write_whole(path, buffer.getvalue())


def annotated(picture: Image, marks: Sequence[Mark], masks: Sequence[Mask] = ()) -> Image:
    """Return a copy of a picture, from LEAST_SIDE to MOST_SIDE long; the first mark is on top.

    Masks lie under the marks.
    """
    from PIL import Image, ImageDraw

    side = max(picture.size)
    scale = min(max(side, LEAST_SIDE), MOST_SIDE) / side
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    drawn = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for mask in masks:
        drawn = _coloured(drawn, mask)
    draw = ImageDraw.Draw(drawn)
    listed = [item for mask in masks for item in list(mask.names.items())[: mask.listed]]
    whole = (0.0, 0.0, float(picture.width), float(picture.height))
    seen = [(mark, box) for mark in marks if (box := _inside(mark.box or whole, scale, size))]
    for mark, box in reversed(seen):
        colour = COLOURS[mark.colour % len(COLOURS)]
        if mark.box is not None or mark.lines:
            draw.rectangle(box, outline=colour, width=max(2, round(max(size) / 300)))
        _draw_points(draw, mark, scale, box)
    taken: list[Box] = []
    labels = []
    for mark, box in seen:
        if mark.lines:
            labels.append(_label(draw, size, box, mark.lines, taken))
            taken.append(labels[-1][0])
    for place, text, font, edge in reversed(labels):
        draw.rectangle(place, fill=GROUND)
        draw.text((place[0] + edge, place[1] + edge), text, fill=(255, 255, 255), font=font)
    _list_classes(draw, size, listed)
    return drawn


def colour_of(index: int) -> tuple[int, int, int]:
    """Return the colour of a class: COLOURS, then others of the same strength."""
    from PIL import ImageColor

    if index < len(COLOURS):
        return ImageColor.getrgb(COLOURS[index])[:3]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.8, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def _coloured(picture: Image, mask: Mask) -> Image:
    """Return a picture through which the colours of a mask's classes shine."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture).astype(np.float32)
    rows = np.arange(pixels.shape[0]) * mask.classes.shape[0] // pixels.shape[0]
    columns = np.arange(pixels.shape[1]) * mask.classes.shape[1] // pixels.shape[1]
    classes = mask.classes[rows][:, columns]
    for index in mask.names:
        here = classes == index
        pixels[here] = (1 - COVER) * pixels[here] + COVER * np.array(colour_of(index), np.float32)
    return Image.fromarray(pixels.round().astype(np.uint8))


def _list_classes(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], listed: Sequence[tuple[int, str]]
) -> None:
    """Write classes with their colours in the upper left corner."""
    from PIL import ImageFont

    if not listed:
        return
    font = ImageFont.load_default(max(size) / 40)
    high = round(max(size) / 30)
    wide = max(round(draw.textlength(words, font)) for _, words in listed)
    draw.rectangle((0, 0, wide + 2 * high, high * len(listed) + high // 3), fill=GROUND)
    for line, (index, words) in enumerate(listed):
        top = line * high + high // 3
        box = (high // 3, top, high, top + high * 2 // 3)
        draw.rectangle(box, fill=colour_of(index))
        draw.text((high * 4 / 3, top), words, fill=(255, 255, 255), font=font)


def _draw_points(draw: ImageDraw.ImageDraw, mark: Mark, scale: float, box: Box) -> None:
    """Draw a mark's points, smaller in a smaller box, and the lines between them."""
    radius = min(max(2.0, (box[3] - box[1]) / 70), 7.0)
    places = [point and (point[0] * scale, point[1] * scale) for point in mark.points]
    for first, second in mark.joins:
        one, other = places[first], places[second]
        if one and other:
            draw.line((*one, *other), fill=JOIN, width=max(1, round(radius * 0.7)))
    for place in places:
        if place:
            x, y = place
            circle = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(circle, fill=POINT, outline=GROUND)


def _inside(box: Box, scale: float, size: tuple[int, int]) -> Box | None:
    """Return what of a box is inside the drawn picture, None for nothing."""
    left, top = max(0.0, box[0] * scale), max(0.0, box[1] * scale)
    right, bottom = min(size[0] - 1.0, box[2] * scale), min(size[1] - 1.0, box[3] * scale)
    return (left, top, right, bottom) if right > left and bottom > top else None


def _label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Box,
    lines: Sequence[str],
    taken: Sequence[Box],
) -> tuple[Box, str, Any, int]:
    """Return where the words of a box go, the words, their font and the edge around them.

    Under the box, above it, or inside at its foot or head: the first that is in the picture and
    hides no words before it.
    """
    from PIL import ImageFont

    left, top, right, bottom = box
    text, edge = "\n".join(lines), max(2, round(max(size) / 400))
    font = ImageFont.load_default(min(max((right - left) / 9, 10), max(size) / 26))
    _, _, wide, high = draw.textbbox((0, 0), text, font=font)
    wide, high = wide + 2 * edge, high + 2 * edge
    x = min(left, max(0.0, size[0] - wide))
    tops = [y for y in (bottom, top - high, bottom - high, top) if 0 <= y <= size[1] - high]
    places = [(x, y, x + wide, y + high) for y in tops or [max(0.0, bottom - high)]]
    free = (place for place in places if not any(_meet(place, other) for other in taken))
    return next(free, places[0]), text, font, edge


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
