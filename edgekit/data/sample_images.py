"""Real image files for those who have none at hand: crops of scikit-image's astronaut.

The photograph is NASA's, of Eileen Collins, in the public domain, and ships inside the
scikit-image package. The first is the face, framed as face networks here were trained. The others
differ in place, size, mirroring and light. They are enough to prove parity and to rotate inputs in
a benchmark, and say nothing about accuracy.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.data.images import ImageSet, open_images
from edgekit.errors import MissingPackage, OutputExists
from edgekit.files import folder_whole, write_whole
from edgekit.paths import cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNT = 64
_FACE = (173, 74, 99)
"""Left, top and side, in pixels, of the face in the 512×512 picture as UTKFace crops faces: the box
that scikit-image's LBP cascade finds, its centre 8.5 % of the side lower."""

_WIDE = (165, 40, 165)
"""A looser square around it, from which the other crops are drawn."""


def sample_images() -> ImageSet:
    """Return the crops as PNG files in the user's cache, writing them at first use.

    Raises MissingPackage without scikit-image.
    """
    folder = cache_folder() / "sample-images-3"
    if not folder.is_dir():
        with suppress(OutputExists), folder_whole(folder) as aside:  # another run may be first
            _write_crops(aside)
    return open_images(folder)


def sample_photograph() -> Path:
    """Return the whole photograph as a PNG file in the user's cache, written at first use.

    Raises MissingPackage without scikit-image.
    """
    from PIL import Image

    path = cache_folder() / "sample-photograph" / "astronaut.png"
    if not path.is_file():
        buffer = io.BytesIO()
        Image.fromarray(_astronaut()).save(buffer, "PNG")
        write_whole(path, buffer.getvalue())
    return path


def _astronaut() -> NDArray[np.uint8]:
    try:
        from skimage import data
    except ImportError:
        raise MissingPackage("scikit-image (its sample picture)", "demo") from None
    pixels: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    return pixels


def _write_crops(folder: Path) -> None:
    import random

    from PIL import Image, ImageEnhance, ImageOps

    picture = Image.fromarray(_astronaut())
    left, top, side = _FACE
    picture.crop((left, top, left + side, top + side)).save(folder / "astronaut-00.png")
    left, top, side = _WIDE
    draw = random.Random(0)
    for index in range(1, COUNT):
        size = draw.randint(side - 40, side + 90)
        x = min(max(left + draw.randint(-35, 35), 0), 512 - size)
        y = min(max(top + draw.randint(-30, 30), 0), 512 - size)
        crop = picture.crop((x, y, x + size, y + size))
        if draw.random() < 0.5:
            crop = ImageOps.mirror(crop)
        crop = ImageEnhance.Brightness(crop).enhance(draw.uniform(0.6, 1.3))
        crop.save(folder / f"astronaut-{index:02d}.png")
