"""Real image files for those who have none at hand: crops of scikit-image's astronaut.

The photograph is NASA's, of Eileen Collins, in the public domain, and ships inside the
scikit-image package. The crops differ in place, size, mirroring and light; they are enough to
prove parity and to rotate inputs in a benchmark, and say nothing about accuracy.
"""

from __future__ import annotations

from pathlib import Path

from edgekit.data.images import ImageSet, open_images
from edgekit.errors import MissingPackage
from edgekit.files import folder_whole
from edgekit.paths import cache_folder

COUNT = 64
_FACE = (165, 40, 165)
"""Left, top and side, in pixels, of a square around the face in the 512×512 picture."""


def sample_images() -> ImageSet:
    """Return the crops as PNG files in the user's cache, writing them at first use.

    Raises MissingPackage without scikit-image.
    """
    folder = cache_folder() / "sample-images-2"
    if not folder.is_dir():
        with folder_whole(folder) as aside:
            _write_crops(aside)
    return open_images(folder)


def _write_crops(folder: Path) -> None:
    import random

    from PIL import Image, ImageEnhance, ImageOps

    try:
        from skimage import data
    except ImportError:
        raise MissingPackage("scikit-image (its sample picture)", "demo") from None
    picture = Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]
    left, top, side = _FACE
    picture.crop((left, top, left + side, top + side)).save(folder / "astronaut-00.png")
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
