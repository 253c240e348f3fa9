"""Draws boxes and their labels on a picture: what `predict` saves, and whoever finds boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UserError
from edgekit.files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
"""One a label, in turn; each is dark enough for white letters."""

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""What an annotated picture is saved as, by the ending of its name."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box, two corners in pixels of the upright picture, with a text and a colour's number."""

    box: tuple[float, float, float, float]
    text: str = ""
    colour: int = 0


def annotate(data: bytes, marks: Sequence[Mark]) -> Image:
    """Return an encoded image, upright, in RGB, with the marks on it; the first lies on top.

    Raises OSError or ValueError where it cannot be decoded.
    """
    from PIL import ImageDraw, ImageFont

    from edgekit.onboard.runner import upright

    picture: Image = upright(data)
    size = max(10, min(picture.size) // 30)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    for mark in reversed(marks):
        colour = COLOURS[mark.colour % len(COLOURS)]
        draw.rectangle(mark.box, outline=colour, width=max(2, size // 8))
        if not mark.text:
            continue
        left, top, right, bottom = draw.textbbox((0, 0), mark.text, font=font)
        width, height = right - left + 6, bottom - top + 6
        # Above the box; inside it where there is no room above.
        x = max(0.0, min(mark.box[0], picture.width - width))
        y = mark.box[1] - height if mark.box[1] >= height else mark.box[1]
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + 3 - left, y + 3 - top), mark.text, fill="white", font=font)
    return picture


def save_annotated(data: bytes, marks: Sequence[Mark], path: Path) -> None:
    """Write an encoded image with the marks on it, whole or not at all, by the name's ending.

    Raises UserError for an ending that is none of FORMATS.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: an annotated picture is one of {', '.join(FORMATS)}")
    buffer = io.BytesIO()
    annotate(data, marks).save(buffer, FORMATS[path.suffix.lower()], quality=92)
    write_whole(path, buffer.getvalue())
