"""Pictures made from seeded noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.data.images import ImageSet, open_images
from edgekit.data.sample_images import sample_images


def draw_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Write `count` smooth colour pictures, half PNG and half JPEG, of different sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        size = (int(rng.integers(70, 200)), int(rng.integers(70, 200)))
        picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        picture.save(folder / f"picture-{index:03d}.{'jpg' if index % 2 else 'png'}")
    return folder


def face_pictures(folder: Path, count: int) -> Path:
    """Write `count` crops of the sample face, half PNG and half JPEG.

    What a face network decides on noise is all but a tie; on a face it is a decision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    crops = sample_images()
    for index, name in enumerate(crops.names[:count]):
        with Image.open(crops.path / name) as crop:
            kind = "jpg" if index % 2 else "png"
            crop.convert("RGB").save(folder / f"face-{index:03d}.{kind}", quality=95)
    return folder


def centred_square(path: Path, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Write a black picture with a white square around its centre, and return the square's box."""
    width, height = size
    box = (width // 2 - 20, height // 2 - 20, width // 2 + 24, height // 2 + 20)
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), box)
    picture.save(path)
    return box


def few(pictures: Path) -> ImageSet:
    """Two images: decoding is not what is tested here."""
    return replace(open_images(pictures), names=open_images(pictures).names[:2])
