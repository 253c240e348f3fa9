"""One .npz file of samples and their labels: an array an input name, and one an output name.

The first axis counts the samples in all of them. Labels are class indices, -1 for none, or names.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import UNLABELLED, Dataset, Decisions, Sample
from edgekit.data.splits import SplitPlan, sided
from edgekit.errors import BadData, nearest
from edgekit.onboard.runner import DAMAGED_ARRAYS, save_arrays
from edgekit.spec import OutputSpec

KINDS = ("classification", "ordinal", "regression")
MAX_BYTES = 4 << 30
"""Of all arrays together, unpacked."""


@dataclass(frozen=True)
class ArrayStore:
    """The samples of one .npz file, each as an .npz file of its own."""

    path: Path

    def names(self) -> list[str]:
        """Return a name for every sample, in order."""
        return [f"{number:06d}.npz" for number in range(self.count)]

    def read(self, name: str) -> bytes:
        """Return one sample as a file; OSError where there is no such."""
        stem = name.removesuffix(".npz")
        if not stem.isdecimal() or int(stem) >= self.count:
            raise OSError(f"{self.path} has no sample {name}")
        place = int(stem)
        buffer = io.BytesIO()
        save_arrays(buffer, {key: v[place : place + 1] for key, v in self.arrays.items()})
        return buffer.getvalue()

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.arrays.values())))

    @cached_property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every array by its name. Raises BadData for a file that holds none, or uneven ones."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise BadData(f"{self.path} unpacks to {size:,} bytes: split it")
            with np.load(self.path, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
        except (*DAMAGED_ARRAYS, MemoryError) as error:
            reason = " ".join(str(error).split())[:100]
            raise BadData(f"{self.path} is no .npz file, or damaged ({reason})") from None
        lengths = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            told = ", ".join(f"{length} of '{name}'" for name, length in lengths.items())
            raise BadData(
                f"{self.path}: the first axis of each array counts the samples, and they hold "
                f"{told or 'nothing'}"
            )
        return arrays


def open_labelled_arrays(
    name: str, store: ArrayStore, plan: SplitPlan, outputs: Sequence[OutputSpec]
) -> Dataset:
    """Return the samples with their labels. Raises BadData for a label that is no class."""
    judged = [output for output in outputs if output.kind in KINDS]
    labelled = {output.name: output for output in judged if output.name in store.arrays}
    if not labelled:
        wanted = ", ".join(output.name for output in judged) or "a classification"
        raise BadData(
            f"{store.path} has no labels: give it an array named like an output of the model "
            f"({wanted}); it holds {', '.join(store.arrays)}"
        )
    known = {key: _indices(store, output) for key, output in labelled.items()}
    samples = [
        Sample(
            name=file,
            sha256=hashlib.sha256(store.read(file)).hexdigest(),
            labels={key: int(indices[place]) for key, indices in known.items()},
        )
        for place, file in enumerate(store.names())
    ]
    return sided(
        plan,
        name=name,
        labels={key: output.labels for key, output in labelled.items()},
        samples=samples,
        store=store,
        decisions=Decisions(),
    )


def _indices(store: ArrayStore, output: OutputSpec) -> NDArray[np.int64]:
    """Return the class index of each sample, (N,)."""
    given = store.arrays[output.name]
    flat = given.reshape(len(given), -1)
    where = f"{store.path}, array '{output.name}'"
    if flat.shape[1] != 1 or flat.dtype.kind not in "iuU":
        raise BadData(
            f"{where} is {given.dtype} {given.shape}: give a class index or a name for each sample"
        )
    labels = list(output.labels)
    if flat.dtype.kind == "U":
        for text in np.unique(flat):
            if text and str(text) not in labels:
                hint = nearest(str(text), labels, f"they are {', '.join(labels)}")
                raise BadData(f"{where}: '{text}' is no class of {output.name}: {hint}")
        named = [labels.index(str(text)) if text else UNLABELLED for text in flat[:, 0]]
        return np.array(named, np.int64)
    low, high = int(flat.min()), int(flat.max())
    if low < UNLABELLED or high >= len(labels):
        raise BadData(
            f"{where} holds classes from {low} to {high}; the model has {len(labels)}, from 0 on"
        )
    return flat[:, 0].astype(np.int64)
