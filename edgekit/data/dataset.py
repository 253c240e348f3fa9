"""What every dataset is: labelled images, and a count of every decision made in reading it.

A reader (utkface.py, adience.py, labelled_folder.py) turns outside files into a `Dataset`; the
rest of edgekit sees only this. Labels are class indices, UNLABELLED where there is none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekit.data.stores import ImageStore
from edgekit.errors import BadData

SplitName = Literal["train", "val", "test"]
Side = Literal["train", "val", "test", "all"]
Holds = Literal["classes", "boxes", "masks"]
"""What of a dataset is taken: one of its splits, or all, images of no split too."""

UNLABELLED = -1

BROKEN = "image left out: cannot be decoded"
"""The decision made on an image whose bytes are there and are no image, or are too many pixels."""


@dataclass(frozen=True, kw_only=True)
class TrueBox:
    """Where one thing is: its class and two corners, x and y of each, in pixels of the picture.

    `area` is that of what is in it, by which small and large things are told apart. `crowd`: many
    things in one box; who finds one of them is neither right nor wrong. `points` are its keypoints,
    x and y in pixels and COCO's mark (0 not marked, 1 hidden, 2 seen), where the model has some.
    """

    index: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    points: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and what is known of it.

    `name` finds its bytes in the dataset's store; `sha256` is of those bytes. `labels` maps an
    output's name to a class index. `years` is the age where it is known exactly: training softens
    its targets with it, no score uses it. Samples of one `group` never part in a grouped split;
    `fold` is the dataset's own fold, where it has some. `split` is empty until one is assigned.
    Where boxes are labelled, `boxes` are those of the picture, whose width and height are `size`;
    where masks are, `mask` finds its bytes in the store.
    """

    name: str
    sha256: str
    labels: Mapping[str, int]
    years: float | None = None
    group: str = ""
    fold: int | None = None
    split: SplitName | Literal[""] = ""
    boxes: tuple[TrueBox, ...] = ()
    size: tuple[int, int] | None = None
    mask: str = ""


@dataclass
class Decisions:
    """Every decision made in reading a dataset: how often, and on which files.

    Reading is the one time this grows; a `Dataset` only shows it.
    """

    counts: Counter[str] = field(default_factory=Counter)
    files: dict[str, list[str]] = field(default_factory=dict)

    def note(self, decision: str, file: str) -> None:
        """Count one decision and remember the file it was made on."""
        self.counts[decision] += 1
        self.files.setdefault(decision, []).append(file)

    def lines(self, listed: int = 3) -> list[str]:
        """Return one line per decision: its count and the first `listed` files."""
        lines = []
        for decision, count in sorted(self.counts.items()):
            shown = ", ".join(self.files[decision][:listed])
            lines.append(f"{count:6d}  {decision} ({shown}{', ...' if count > listed else ''})")
        return lines


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled images under one protocol.

    `labels` maps each output to its class names; `protocol` says how the split was made and is
    recorded with every number that comes of it, for example `UTKFace mapped to Adience bins,
    published split`. `holds` says what each sample is labelled with. `whole`: it has no sides.
    """

    name: str
    protocol: str
    labels: Mapping[str, tuple[str, ...]]
    samples: tuple[Sample, ...]
    store: ImageStore
    decisions: Decisions
    holds: Holds = "classes"
    whole: bool = False

    def read(self, sample: Sample) -> bytes:
        """Return a sample's encoded bytes; raises OSError where they cannot be read."""
        return self.store.read(sample.name)

    def split(self, name: Side) -> Dataset:
        """Return the samples of one side, or all. Raises BadData where it has none.

        A dataset without sides is the test side as it is.
        """
        if name == "all" or (self.whole and name == "test"):
            return self
        chosen = tuple(sample for sample in self.samples if sample.split == name)
        if not chosen:
            counts = Counter(sample.split for sample in self.samples)
            held = ", ".join(f"{side} {count}" for side, count in counts.items() if side)
            raise BadData(
                f"{self.name} has no images in its {name} split ({held or 'nor in any'}): "
                "choose another split, or all"
            )
        return replace(self, samples=chosen)

    def take(self, output: str) -> list[int]:
        """Return every sample's class index of one output, UNLABELLED where it has none."""
        return [sample.labels.get(output, UNLABELLED) for sample in self.samples]


def hash_files(
    store: ImageStore, names: Iterable[str], decisions: Decisions, threads: int = 4
) -> dict[str, str]:
    """Return each readable file's SHA-256 by name; the others are noted as missing or unreadable.

    Reading and hashing release the interpreter lock, so threads share the work.
    """

    def digest(name: str) -> tuple[str, str]:
        try:
            return name, hashlib.sha256(store.read(name)).hexdigest()
        except OSError:
            return name, ""

    with ThreadPoolExecutor(threads) as pool:
        hashes = dict(pool.map(digest, names))
    for name, value in hashes.items():
        if not value:
            decisions.note("image left out: missing or unreadable", name)
    return {name: value for name, value in hashes.items() if value}
