"""Draws boxes and words on a copy of a picture, for people to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UserError
from edgekit.files import write_whole
from edgekit.onboard.runner import upright

if TYPE_CHECKING:
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


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box (left, top, right, bottom, in pixels of the upright picture) and what is said of it.

    `colour` is a number, such as that of the class.
    """

    box: tuple[float, float, float, float]
    lines: tuple[str, ...]
    colour: int = 0


def check_annotation(path: Path) -> None:
    """Raise UserError where a picture cannot be written to `path`."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: an annotated picture ends in {', '.join(FORMATS)}")


def save_annotated(data: bytes, marks: Sequence[Mark], path: Path) -> None:
    """Write an encoded image with its marks to `path`, whole or not at all.

    Raises UserError for an ending of no picture, OSError or ValueError as `runner.decode`.
    """
    check_annotation(path)
    buffer = io.BytesIO()
    annotated(upright(data), marks).save(buffer, FORMATS[path.suffix.lower()], quality=92)
    write_whole(path, buffer.getvalue())


def annotated(picture: Image, marks: Sequence[Mark]) -> Image:
    """Return a copy of a picture, from LEAST_SIDE to MOST_SIDE long; the first mark is on top."""
    from PIL import Image, ImageDraw

    side = max(picture.size)
    scale = min(max(side, LEAST_SIDE), MOST_SIDE) / side
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    drawn = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(drawn)
    for mark in reversed(marks):
        _draw(draw, size, tuple(edge * scale for edge in mark.box), mark)
    return drawn


def _draw(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: tuple[float, ...],
    mark: Mark,
) -> None:
    """Draw a box and, under it or where there is room, its lines."""
    from PIL import ImageFont

    width = max(2, round(max(size) / 300))
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(size[0] - 1.0, box[2]), min(size[1] - 1.0, box[3])
    if right <= left or bottom <= top:
        return
    draw.rectangle(
        (left, top, right, bottom), outline=COLOURS[mark.colour % len(COLOURS)], width=width
    )
    if not mark.lines:
        return
    text = "\n".join(mark.lines)
    font = ImageFont.load_default(min(max((right - left) / 7, 11), max(size) / 26))
    edge = width + 2
    _, _, wide, high = draw.textbbox((0, 0), text, font=font)
    wide, high = wide + 2 * edge, high + 2 * edge
    x = min(max(0.0, left), max(0.0, size[0] - wide))
    # Under the box; else above it; else inside, at its foot.
    y = bottom if bottom + high <= size[1] else top - high if top >= high else bottom - high
    draw.rectangle((x, y, x + wide, y + high), fill=GROUND)
    draw.text((x + edge, y + edge), text, fill=(255, 255, 255), font=font)
