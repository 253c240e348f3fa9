"""Datasets: Adience, UTKFace and any labelled images, all read to one shape."""

from __future__ import annotations

import typing
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from edgekit.data.adience import looks_like_adience, open_adience
from edgekit.data.dataset import UNLABELLED, Dataset, Decisions, Sample, Side, SplitName
from edgekit.data.labelled_folder import LABELS_FILE, looks_labelled, open_labelled_folder
from edgekit.data.splits import Protocol, SplitPlan
from edgekit.data.stores import FolderStore, ImageStore, ZipStore
from edgekit.data.utkface import looks_like_utkface, open_utkface
from edgekit.errors import BadData, BrokenPlugin
from edgekit.plugins import plugins
from edgekit.spec import OutputSpec

__all__ = [
    "UNLABELLED",
    "Dataset",
    "Decisions",
    "Protocol",
    "Reader",
    "Sample",
    "Side",
    "SplitName",
    "SplitPlan",
    "check_labels",
    "is_dataset",
    "open_dataset",
    "open_store",
]


READER_MEMBERS = ("looks_like", "open_dataset")
"""What a plug-in's module must have: the members of `Reader`."""


class Reader(typing.Protocol):
    """Another package's dataset; ours are asked first."""

    def looks_like(self, names: list[str]) -> bool:
        """Tell by its files' names whether a folder or archive is this dataset."""

    def open_dataset(self, name: str, store: ImageStore, plan: SplitPlan) -> Dataset:
        """Return the dataset in `store`. Raises BadData where it cannot be read."""


def open_dataset(
    text: str,
    plan: SplitPlan | None = None,
    *,
    labels: Mapping[str, tuple[str, ...]] | None = None,
    images: Literal["aligned", "faces"] = "aligned",
    frontal: bool = False,
) -> Dataset:
    """Return the dataset at a path: a folder or a zip archive, recognised by its files.

    Adience by its fold files (`images` and `frontal` choose among its images), a labelled folder
    by its `labels.csv` (`labels` fixes each output's class names), UTKFace by its file names, and
    what plug-ins bring by what they look for.
    Raises BadData where it is none of them.
    """
    plan = plan or SplitPlan()
    path = Path(text).expanduser()
    store = open_store(path)
    names = store.names()
    if looks_like_adience(names):
        return open_adience(path.stem, store, plan, images, frontal)
    if looks_labelled(names):
        return open_labelled_folder(path.stem, store, plan, labels)
    if looks_like_utkface(names):
        return open_utkface(path.stem, store, plan)
    readers, broken = plugin_readers()
    for reader in readers:
        if reader.looks_like(names):
            return reader.open_dataset(path.stem, store, plan)
    raise BadData(
        f"{path} is not a dataset that edgekit knows: it has neither Adience's fold files, nor a "
        f"{LABELS_FILE}, nor files named as UTKFace's{''.join(f'; {line}' for line in broken)}"
    )


def is_dataset(text: str) -> bool:
    """Tell whether a path's files are named as some dataset's; `open_dataset` may still refuse."""
    path = Path(text).expanduser()
    if not path.is_dir() and not zipfile.is_zipfile(path):
        return False
    names = open_store(path).names()
    own = (looks_like_adience, looks_labelled, looks_like_utkface)
    if any(looks(names) for looks in own):
        return True
    readers, _ = plugin_readers()
    return any(reader.looks_like(names) for reader in readers)


def plugin_readers() -> tuple[list[Reader], list[str]]:
    """Return the readers of other packages, and one line on each that cannot be loaded."""
    readers: list[Reader] = []
    broken: list[str] = []
    for plugin in plugins("datasets").values():
        try:
            readers.append(plugin.load(READER_MEMBERS))
        except BrokenPlugin as error:
            broken.append(str(error))
    return readers, broken


def check_labels(dataset: Dataset, outputs: Sequence[OutputSpec]) -> None:
    """Raise BadData unless some output is labelled, and by the model's own class names."""
    shared = [output for output in outputs if output.name in dataset.labels]
    if not shared:
        names = ", ".join(output.name for output in outputs)
        raise BadData(f"{dataset.name} labels none of the model's outputs ({names}): other --data?")
    known = {name for s in dataset.samples for name, i in s.labels.items() if i != UNLABELLED}
    if not known & {output.name for output in shared}:
        reasons = "; ".join(line.strip() for line in dataset.decisions.lines(1))
        raise BadData(f"{dataset.name} labels no image with a class of the model's ({reasons})")
    for output in shared:
        if tuple(dataset.labels[output.name]) != tuple(output.labels):
            raise BadData(
                f"{dataset.name} labels {output.name} as {', '.join(dataset.labels[output.name])}; "
                f"the model as {', '.join(output.labels)}: they must be the same, in order"
            )


def open_store(path: Path) -> ImageStore:
    """Return the files of a folder or zip archive. Raises BadData where there is neither."""
    if not path.exists():
        raise BadData(f"{path}: no such folder or zip archive: check --data")
    return FolderStore(path) if path.is_dir() else ZipStore(path)
