"""The same pictures framed otherwise: a judge of a network that learned its data's framing.

Each picture is cut anew: 0.8 to 1.5 times as wide and high as it is, its centre moved by up to
15 % of the side. What lies outside repeats the edge. The draw depends on the picture alone.
"""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import Dataset, Sample
from edgekit.data.stores import FolderStore
from edgekit.files import folder_whole
from edgekit.onboard.runner import decode
from edgekit.paths import cache_folder

SIDES = (0.8, 1.5)
SHIFT = 0.15
SIDE = 256
"""Pictures are squared to this many pixels first, as every network squares them."""

TITLE = "reframed: 0.8 to 1.5 of the picture, moved by up to 15 %"
INDEX = "reframed.json"


def reframe(dataset: Dataset) -> Dataset:
    """Return the dataset with every picture reframed; its store is a folder in the user's cache.

    The labels are the same. A picture that cannot be decoded stays as it is.
    """
    digest = hashlib.sha256(f"{SIDES} {SHIFT} {SIDE}".encode())
    for sample in dataset.samples:
        digest.update(f"{sample.sha256} {sample.name}\n".encode())
    folder = cache_folder() / "reframed" / digest.hexdigest()[:24]
    if not (folder / INDEX).is_file():

        def one(sample: Sample) -> tuple[str, bytes]:
            data = dataset.read(sample)
            try:
                return f"{sample.sha256}.png", _png(_cut(data, sample.sha256))
            except (OSError, ValueError):
                return f"{sample.sha256}.broken", data

        with folder_whole(folder, force=True) as aside, ThreadPoolExecutor(2) as pool:
            hashes = {}
            for name, data in pool.map(one, dataset.samples):
                (aside / name).write_bytes(data)
                hashes[name.partition(".")[0]] = (name, hashlib.sha256(data).hexdigest())
            (aside / INDEX).write_bytes(msgspec.json.encode(hashes))
    known = msgspec.json.decode((folder / INDEX).read_bytes(), type=dict[str, tuple[str, str]])
    samples = []
    for sample in dataset.samples:
        name, sha256 = known[sample.sha256]
        samples.append(replace(sample, name=name, sha256=sha256))
    return replace(
        dataset,
        protocol=f"{dataset.protocol}, {TITLE}",
        samples=tuple(samples),
        store=FolderStore(folder),
    )


def _cut(data: bytes, sha256: str) -> NDArray[np.uint8]:
    """Return a picture's new frame (H, W, 3)."""
    pixels: NDArray[np.uint8] = decode(data, SIDE, SIDE)
    draws = np.random.default_rng(int(sha256[:16], 16))
    side = draws.uniform(*SIDES) * SIDE
    rows, columns = (
        np.arange(round(middle - side / 2), round(middle + side / 2)).clip(0, SIDE - 1)
        for middle in SIDE / 2 + draws.uniform(-SHIFT, SHIFT, 2) * SIDE
    )
    framed: NDArray[np.uint8] = pixels[rows][:, columns]
    return framed


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
