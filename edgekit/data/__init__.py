"""Datasets: Adience, UTKFace and any labelled images, all read to one shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edgekit.data.adience import looks_like_adience, open_adience
from edgekit.data.dataset import UNLABELLED, Dataset, Decisions, Sample, SplitName
from edgekit.data.labelled_folder import LABELS_FILE, looks_labelled, open_labelled_folder
from edgekit.data.splits import Protocol, SplitPlan
from edgekit.data.stores import FolderStore, ImageStore, ZipStore
from edgekit.data.utkface import looks_like_utkface, open_utkface
from edgekit.errors import BadData

__all__ = [
    "UNLABELLED",
    "Dataset",
    "Decisions",
    "Protocol",
    "Sample",
    "SplitName",
    "SplitPlan",
    "open_dataset",
]


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
    by its `labels.csv` (`labels` fixes each output's class names), UTKFace by its file names.
    Raises BadData where it is none of them.
    """
    plan = plan or SplitPlan()
    path = Path(text).expanduser()
    if not path.exists():
        raise BadData(f"{path}: no such folder or zip archive: check --data")
    store: ImageStore = FolderStore(path) if path.is_dir() else ZipStore(path)
    names = store.names()
    if looks_like_adience(names):
        return open_adience(path.stem, store, plan, images, frontal)
    if looks_labelled(names):
        return open_labelled_folder(path.stem, store, plan, labels)
    if looks_like_utkface(names):
        return open_utkface(path.stem, store, plan)
    raise BadData(
        f"{path} is no dataset edgekit knows: it has neither Adience's fold files, nor a "
        f"{LABELS_FILE}, nor files named as UTKFace's"
    )
