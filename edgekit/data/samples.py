"""Samples of inputs that are no images: .npz and .npy files in a folder, or one of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.data.images import ImageSet, content_hash
from edgekit.data.stores import FolderStore
from edgekit.errors import BadData
from edgekit.spec import InputSpec, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".npz", ".npy")


@dataclass(frozen=True)
class Samples:
    """Arrays by input name, one dict a sample, and the hash of each sample's file and place."""

    values: tuple[dict[str, NDArray[np.generic]], ...]
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class _Made:
    """Files that exist in memory only."""

    files: dict[str, bytes]

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]


def open_sample_files(path: Path) -> ImageSet:
    """Return the .npz and .npy files of a folder, or the one file. Raises BadData for none."""
    if not path.exists():
        raise BadData(f"no samples at {path}: give a folder of .npz or .npy files, or one of them")
    if path.is_file() and path.suffix in SUFFIXES:
        return ImageSet(path.parent, (path.name,), FolderStore(path.parent))
    names: tuple[str, ...] = ()
    if path.is_dir():
        found = FolderStore(path).names()
        names = tuple(name for name in found if Path(name).suffix in SUFFIXES)
    if not names:
        raise BadData(f"no samples in {path}: the model takes .npz or .npy files, not images")
    return ImageSet(path, names, FolderStore(path))


def read_samples(path: Path, image: InputSpec | None, tensors: tuple[TensorSpec, ...]) -> Samples:
    """Return every sample at `path`, in order. Raises BadData, naming the file and the array."""
    from edgekit.onboard import runner

    contract = {"input": msgspec.to_builtins(image), "tensors": msgspec.to_builtins(tensors)}
    files = open_sample_files(path)
    values, hashes = [], []
    for name in files.names:
        data = files.read(name)
        try:
            held = runner.read_samples(data, contract)
        except ValueError as error:
            raise BadData(f"{files.path / name}: {error}") from None
        values += held
        hashes += [content_hash(data + str(place).encode()) for place in range(len(held))]
    return Samples(tuple(values), tuple(hashes))


def noise_samples(
    image: InputSpec | None, tensors: tuple[TensorSpec, ...], count: int
) -> list[dict[str, NDArray[np.generic]]]:
    """Return seeded noise: over each input's range, or normal where a float has none.

    Integers without a range are 0 or 1, which any table that they index holds.
    """
    import numpy as np

    draw = np.random.default_rng(0)

    def one(tensor: TensorSpec) -> NDArray[np.generic]:
        if tensor.dtype == "float32" and tensor.range is None:
            return draw.normal(size=tensor.shape).astype(np.float32)
        low, high = tensor.range or (0, 1)
        if tensor.dtype == "float32":
            return draw.uniform(low, high, tensor.shape).astype(np.float32)
        return draw.integers(int(low), int(high) + 1, tensor.shape).astype(tensor.dtype)

    samples: list[dict[str, NDArray[Any]]] = []
    for _ in range(count):
        sample: dict[str, NDArray[Any]] = {tensor.name: one(tensor) for tensor in tensors}
        if image is not None:
            size = (image.height, image.width, image.channels)
            sample[image.name] = draw.integers(0, 256, size, dtype=np.uint8)
        samples.append(sample)
    return samples


def as_files(samples: Sequence[dict[str, NDArray[np.generic]]]) -> ImageSet:
    """Return samples as .npz files in memory, one a sample: what a board is sent."""
    from edgekit.onboard.runner import save_arrays

    files = {}
    for place, sample in enumerate(samples):
        buffer = io.BytesIO()
        save_arrays(buffer, sample)
        files[f"sample-{place:02d}.npz"] = buffer.getvalue()
    return ImageSet(Path("samples"), tuple(files), _Made(files))
