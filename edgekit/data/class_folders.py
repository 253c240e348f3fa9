"""Images or samples in one folder a class: `cat/1.jpg`, or `test/cat/1.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from edgekit.data.dataset import Dataset, Decisions, Sample, hash_files
from edgekit.data.images import is_image
from edgekit.data.samples import SUFFIXES
from edgekit.data.splits import SplitPlan, side_of, sided
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData, nearest
from edgekit.spec import OutputSpec

KINDS = ("classification", "ordinal")
"""What a folder's name can be the class of."""


def looks_like(names: Sequence[str], outputs: Sequence[OutputSpec]) -> bool:
    """Tell whether some file lies in a folder named after a class of the model's."""
    known = {label for output in _labelled(outputs) for label in output.labels}
    return any(_folder(name) in known for name in _files(names))


def open_class_folders(
    name: str, store: ImageStore, plan: SplitPlan, outputs: Sequence[OutputSpec]
) -> Dataset:
    """Return the files of all class folders. Raises BadData for a folder that is no class."""
    output = _output(name, store.names(), outputs)
    files = _files(store.names())
    for file in files:
        folder = _folder(file)
        if folder not in output.labels:
            hint = nearest(folder, output.labels, f"they are {', '.join(output.labels)}")
            raise BadData(
                f"{name}: the folder '{folder}' ({file}) is no class of {output.name}: {hint}"
            )
    decisions = Decisions()
    hashes = hash_files(store, files, decisions)
    samples = [
        Sample(
            name=file,
            sha256=value,
            labels={output.name: output.labels.index(_folder(file))},
            split=side_of(file.rpartition("/")[0]),
        )
        for file, value in hashes.items()
    ]
    return sided(
        plan,
        name=name,
        labels={output.name: output.labels},
        samples=samples,
        store=store,
        decisions=decisions,
    )


def near_miss(names: Sequence[str], outputs: Sequence[OutputSpec]) -> str:
    """Return what may have been meant where no folder is a class, or ''."""
    folders = dict.fromkeys(_folder(name) for name in _files(names))
    for output in _labelled(outputs):
        by_lower = {label.lower(): label for label in output.labels}
        for folder in list(folders)[:100]:
            near = get_close_matches(folder.lower(), list(by_lower), n=1)
            if near:
                return (
                    f"; its folder '{folder}' is no class of {output.name}: "
                    f"did you mean {by_lower[near[0]]}?"
                )
    if folders and _labelled(outputs):
        told = ", ".join(f"'{folder}'" for folder in list(folders)[:3])
        return f"; its folders {told} are not called like classes of the model's"
    return ""


def _labelled(outputs: Sequence[OutputSpec]) -> list[OutputSpec]:
    return [output for output in outputs if output.kind in KINDS]


def _output(name: str, names: Sequence[str], outputs: Sequence[OutputSpec]) -> OutputSpec:
    """Return the output that the folders are classes of. Raises BadData for several."""
    found = [output for output in _labelled(outputs) if looks_like(names, [output])]
    if len(found) != 1:
        told = ", ".join(output.name for output in found)
        raise BadData(
            f"{name}: its folders are named after classes of {told}: say which by a labels.csv"
        )
    return found[0]


def _files(names: Sequence[str]) -> list[str]:
    """Return the images and samples that lie in folders."""
    return [n for n in names if "/" in n and (is_image(n) or n.endswith(SUFFIXES))]


def _folder(file: str) -> str:
    return file.split("/")[-2]
