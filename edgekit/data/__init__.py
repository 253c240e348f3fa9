"""Datasets: Adience, UTKFace and any labelled images, all read to one shape."""

from __future__ import annotations

import typing
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from edgekit.data import class_folders, coco, labelled_arrays, masks, yolo
from edgekit.data.adience import looks_like_adience, open_adience
from edgekit.data.coco import open_coco
from edgekit.data.dataset import UNLABELLED, Dataset, Decisions, Sample, Side, SplitName
from edgekit.data.images import YAML
from edgekit.data.labelled_arrays import ArrayStore, open_labelled_arrays
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
    outputs: Sequence[OutputSpec] = (),
    side: SplitName | None = None,
) -> Dataset:
    """Return the dataset at a path: a folder, a zip archive or a file, recognised by its files.

    Adience by its fold files (`images` and `frontal` choose among its images), a labelled folder
    by its `labels.csv` (`labels` fixes each output's class names), UTKFace by its file names, and
    what plug-ins bring by what they look for. For a model with `outputs` also COCO's JSON, YOLO's
    text files, masks, folders named after classes, and an .npz file with labels; of several JSON
    files that of the `side`.
    Raises BadData where it is none of them.
    """
    plan = plan or SplitPlan()
    path = Path(text).expanduser()
    store = open_store(path)
    if isinstance(store, ArrayStore):
        return open_labelled_arrays(path.stem, store, plan, outputs)
    if path.suffix == ".json" and path.is_file():
        file = path.absolute().relative_to(_folder_of(path)).as_posix()
        return open_coco(path.stem, store, plan, outputs, side, file)
    names = store.names()
    if path.suffix in YAML and path.is_file():
        return yolo.open_yolo(path.stem, store, plan, outputs, path.name)
    if looks_like_adience(names):
        return open_adience(path.stem, store, plan, images, frontal)
    if looks_labelled(names):
        fixed = {o.name: o.labels for o in outputs if o.kind in labelled_arrays.KINDS}
        return open_labelled_folder(path.stem, store, plan, labels or fixed)
    if looks_like_utkface(names):
        return open_utkface(path.stem, store, plan)
    readers, broken = plugin_readers()
    for reader in readers:
        if reader.looks_like(names):
            return reader.open_dataset(path.stem, store, plan)
    if yolo.looks_like(names, outputs):
        return yolo.open_yolo(path.stem, store, plan, outputs)
    if coco.looks_like(names, outputs):
        return open_coco(path.stem, store, plan, outputs, side)
    if masks.looks_like(names, outputs):
        return masks.open_masks(path.stem, store, plan, outputs)
    if class_folders.looks_like(names, outputs):
        return class_folders.open_class_folders(path.stem, store, plan, outputs)
    raise BadData(
        f"{path} is not a dataset that edgekit knows{_needed(outputs)}: it has neither "
        f"Adience's fold files, nor a {LABELS_FILE}, nor files named as UTKFace's"
        f"{class_folders.near_miss(names, outputs)}{''.join(f'; {line}' for line in broken)}"
    )


def forms_of(outputs: Sequence[OutputSpec]) -> list[str]:
    """Return the forms that labels of a model's outputs may have, in few words; of some, none."""
    kinds = {output.kind for output in outputs}
    folders = f"a {LABELS_FILE}, or a folder a class ({_some_labels(outputs)})"
    forms = {
        "detection": "COCO's JSON, or YOLO's images/ and labels/",
        "keypoints": "COCO's JSON with keypoints, or YOLO's images/ and labels/",
        "segmentation": "images/ and masks/, a PNG of the picture's name",
        "classification": folders,
        "ordinal": folders,
        "regression": f"a {LABELS_FILE}",
    }
    return list(dict.fromkeys(form for kind, form in forms.items() if kind in kinds))


def _needed(outputs: Sequence[OutputSpec]) -> str:
    told = forms_of(outputs)
    return f" (of such a model: {'; '.join(told)})" if told else ""


def _some_labels(outputs: Sequence[OutputSpec]) -> str:
    labels = next((o.labels for o in outputs if o.kind in class_folders.KINDS), ())
    return ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")


def is_dataset(text: str, outputs: Sequence[OutputSpec] = ()) -> bool:
    """Tell whether a path's files are named as some dataset's; `open_dataset` may still refuse."""
    path = Path(text).expanduser()
    if path.suffix in {".json", *YAML} and path.is_file():
        return bool(outputs)
    if not path.is_dir() and not zipfile.is_zipfile(path):
        return False
    store = open_store(path)
    if isinstance(store, ArrayStore):
        return any(o.name in store.arrays and o.kind in labelled_arrays.KINDS for o in outputs)
    names = store.names()
    own = (looks_like_adience, looks_labelled, looks_like_utkface)
    if any(looks(names) for looks in own):
        return True
    if any(form.looks_like(names, outputs) for form in (yolo, coco, masks, class_folders)):
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
    kinds = {
        "classes": labelled_arrays.KINDS,
        "boxes": ("detection", "keypoints"),
        "masks": ("segmentation",),
    }
    shared = [output for output in outputs if output.name in dataset.labels]
    judged = [output for output in shared if output.kind in kinds[dataset.holds]]
    if shared and not judged:
        told = ", ".join(f"{output.name} is a {output.kind}" for output in shared)
        raise BadData(f"{dataset.name} holds {dataset.holds}, and {told}: other --data?")
    if not judged:
        names = ", ".join(output.name for output in outputs)
        held = ", ".join(dataset.labels)[:80] or "nothing"
        raise BadData(
            f"{dataset.name} labels {held}, and none of the model's outputs ({names}): call a "
            "column or an array like one of them, or give other --data"
        )
    known = {name for s in dataset.samples for name, i in s.labels.items() if i != UNLABELLED}
    if dataset.holds == "classes" and not known & {output.name for output in judged}:
        reasons = "; ".join(line.strip() for line in dataset.decisions.lines(1))
        raise BadData(f"{dataset.name} labels no image with a class of the model's ({reasons})")
    for output in judged:
        if tuple(dataset.labels[output.name]) != tuple(output.labels):
            raise BadData(
                f"{dataset.name} labels {output.name} as {', '.join(dataset.labels[output.name])}; "
                f"the model as {', '.join(output.labels)}: they must be the same, in order"
            )


def open_store(path: Path) -> ImageStore:
    """Return the files of a folder or zip archive, of the folder that a JSON or YAML file is of, or
    the samples of an .npz file. Raises BadData where there is none of them."""
    if not path.exists():
        raise BadData(f"{path}: no such folder or zip archive: check --data")
    if path.is_dir():
        return FolderStore(path)
    if path.suffix == ".npz":
        return ArrayStore(path)
    if path.suffix == ".json":
        return FolderStore(_folder_of(path))
    if path.suffix in YAML:
        return FolderStore(path.absolute().parent)
    return ZipStore(path)


def _folder_of(path: Path) -> Path:
    """Return the folder with the pictures of a JSON file: one up from COCO's `annotations`."""
    folder = path.absolute().parent
    return folder.parent if folder.name == "annotations" else folder
