"""Decoded images, kept as one uint8 array in the user's cache folder so each is decoded once.

The pixels are those of `runner.decode`, the one path that training, accuracy and boards share.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import BROKEN, Dataset, Sample
from edgekit.errors import BadData
from edgekit.files import write_whole
from edgekit.onboard.runner import decode, decode_subject
from edgekit.paths import cache_folder
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

Pixels = TypeVar("Pixels", "NDArray[np.uint8]", "Tensor")

CHUNK = 512
DECODE = 2
"""Raised whenever `runner.decode` changes the pixels of any kind of file."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What images are decoded to: height × width, three channels RGB or one grey, by `fit`.

    With a `subject` the largest face of each image, cut out by `margin` and `shift`.
    """

    height: int
    width: int
    grey: bool = False
    fit: str = "stretch"
    filter: str = "bilinear"
    pad: tuple[int, ...] = (114,)
    resize_to: int | None = None
    subject: str | None = None
    margin: float = 0.0
    shift: float = 0.0

    def __str__(self) -> str:
        """What the cache's key holds: of a plain frame the words that it always had."""
        plain = f"Frame(height={self.height}, width={self.width}, grey={self.grey})"
        more = (self.fit, self.filter, self.pad, self.resize_to)
        words = plain if more == ("stretch", "bilinear", (114,), None) else f"{plain} {more}"
        if self.subject is None:
            return words
        found = f"{self.subject} {self.margin} {self.shift} dlib {metadata.version('dlib-bin')}"
        return f"{words} {found}"


def subject_frame_of(spec: InputSpec) -> Frame:
    """Return `frame_of` the largest face in each picture."""
    return replace(frame_of(spec), subject=spec.subject, margin=spec.margin, shift=spec.shift)


def frame_of(spec: InputSpec, margin: float = 0.0) -> Frame:
    """Return what to decode at: before the centre crop of `stretch`, or larger by the margin.

    `crop` and `letterbox` are decoded at the network's size: no margin is left to move in.
    """
    grey = spec.colour == "GREY"
    if spec.fit != "stretch":
        return Frame(
            height=spec.height,
            width=spec.width,
            grey=grey,
            fit=spec.fit,
            filter=spec.filter,
            pad=spec.pad,
            resize_to=spec.resize_to,
        )
    height, width = spec.resize_to or spec.height, spec.resize_to or spec.width
    if spec.resize_to is None:
        height, width = round(height * (1 + margin)), round(width * (1 + margin))
    return Frame(height=height, width=width, grey=grey, filter=spec.filter)


def centre(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Return the centre height × width of N×H×W×C pixels, as `runner.decode` cuts it."""
    top, left = (pixels.shape[1] - spec.height) // 2, (pixels.shape[2] - spec.width) // 2
    return pixels[:, top : top + spec.height, left : left + spec.width]


@dataclass(frozen=True)
class Decoded:
    """A dataset's readable images: `pixels[i]` (uint8, H × W × C) is that of `samples[i]`.

    `pixels` is mapped from the cache, read-only. `broken` names the images that could not be
    decoded; they are in neither.
    """

    dataset: Dataset
    pixels: NDArray[np.uint8]
    broken: tuple[str, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The readable samples, in the order of `pixels`."""
        return self.dataset.samples


def decode_all(dataset: Dataset, frame: Frame, workers: int = 2) -> Decoded:
    """Return every image decoded at `frame`, from the cache where it is there.

    `workers` threads decode at once (Pillow releases the interpreter lock). The cache's key is
    the images' hashes, the frame, DECODE and Pillow's version. Broken images are noted in the
    dataset's decisions. Raises BadData where no image can be decoded, or one has changed since it
    was hashed.
    """
    images = decode_readable(dataset, frame, workers)
    if not images.samples:
        raise BadData(f"none of the {len(images.broken)} images of {dataset.name} can be decoded")
    return images


def decode_readable(dataset: Dataset, frame: Frame, workers: int = 2) -> Decoded:
    """Return what `decode_all` does, but it may be zero images."""
    pixels_path = cache_folder() / "decoded" / f"{_key(dataset, frame)}.npy"
    broken_path = pixels_path.with_suffix(".json")
    if not (pixels_path.is_file() and broken_path.is_file()):
        _fill(dataset, frame, workers, pixels_path, broken_path)
    broken = set(msgspec.json.decode(broken_path.read_bytes(), type=list[str]))
    for name in sorted(broken - set(dataset.decisions.files.get(BROKEN, ()))):
        dataset.decisions.note(BROKEN, name)
    readable = tuple(sample for sample in dataset.samples if sample.name not in broken)
    pixels: NDArray[np.uint8] = np.load(pixels_path, mmap_mode="r", allow_pickle=False)
    return Decoded(
        replace(dataset, samples=readable), pixels[: len(readable)], tuple(sorted(broken))
    )


def _fill(
    dataset: Dataset, frame: Frame, workers: int, pixels_path: Path, broken_path: Path
) -> None:
    """Decode everything into the two cache files; broken images leave no row behind."""

    def one(sample: Sample) -> NDArray[np.uint8] | None:
        try:
            data = dataset.read(sample)
            if hashlib.sha256(data).hexdigest() != sample.sha256:
                raise BadData(f"{sample.name} is not the file its hash was taken of: start again")
            return _decode(data, frame)
        except (OSError, ValueError):
            return None

    shape = (len(dataset.samples), frame.height, frame.width, 1 if frame.grey else 3)
    pixels_path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=pixels_path.parent, suffix=".partial")
    os.close(handle)
    try:
        array = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=shape)
        row, broken = 0, []
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(dataset.samples), CHUNK):  # bounds what waits in memory
                chunk = dataset.samples[start : start + CHUNK]
                for sample, pixels in zip(chunk, pool.map(one, chunk), strict=True):
                    if pixels is None:
                        broken.append(sample.name)
                    else:
                        array[row] = pixels
                        row += 1
        array.flush()
        write_whole(broken_path, msgspec.json.encode(broken))
        Path(aside).replace(pixels_path)
    finally:
        Path(aside).unlink(missing_ok=True)


def _decode(data: bytes, frame: Frame) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8]
    if frame.subject is not None:
        spec = {**asdict(frame), "colour": "GREY" if frame.grey else "RGB"}
        pixels = decode_subject(data, spec)
        return pixels
    pixels = decode(
        data,
        frame.height,
        frame.width,
        frame.resize_to,
        frame.grey,
        frame.fit,
        frame.filter,
        frame.pad,
    )
    return pixels


def _key(dataset: Dataset, frame: Frame) -> str:
    text = f"{frame} decode {DECODE} Pillow {metadata.version('Pillow')}"
    digest = hashlib.sha256(text.encode())
    for sample in dataset.samples:
        digest.update(f"{sample.sha256} {sample.name}\n".encode())
    return f"{frame.width}x{frame.height}-{digest.hexdigest()[:24]}"
