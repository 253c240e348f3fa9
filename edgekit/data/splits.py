"""Seeded splits: by group, so that what belongs together stays on one side, or by image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgekit.data.dataset import Dataset, Decisions, Holds, Sample, SplitName
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData

FRACTIONS: tuple[tuple[SplitName, float], ...] = (("test", 0.12), ("val", 0.08))
"""The shares of the images that are held out; the rest trains."""

By = Literal["group", "image"]

Protocol = Literal["published", "folds", "random", "given", "whole"]
WHOLE = ", all of it"
"""How the title of data that are judged whole ends."""


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a dataset is to be divided; without a `protocol`, as that dataset's custom is.

    `fold` is the test side of the protocol `folds`; `seed` is that of whatever is drawn.
    `judging`: nothing is trained on it, so a dataset without a split of its own is taken whole.
    """

    protocol: Protocol | None = None
    fold: int = 0
    seed: int = 0
    judging: bool = False


def choose(plan: SplitPlan, name: str, known: tuple[Protocol, ...]) -> Protocol:
    """Return the plan's protocol, or the first of those known. Raises BadData for another."""
    chosen = plan.protocol or known[0]
    if chosen not in known:
        raise BadData(f"{name} has no protocol '{chosen}': choose from {', '.join(known)}")
    return chosen


def random_split(
    samples: Sequence[Sample],
    seed: int,
    by: By = "group",
    fractions: tuple[tuple[SplitName, float], ...] = FRACTIONS,
) -> tuple[Sample, ...]:
    """Return the samples with a split assigned, the same on every machine for one seed.

    Groups (or images: files of equal bytes count as one) are ordered by the SHA-256 of seed and
    name, and fill each held-out side until it has its share of the images.
    """
    sizes: dict[str, int] = {}
    for sample in samples:
        sizes[_key(sample, by)] = sizes.get(_key(sample, by), 0) + 1
    sides: dict[str, SplitName] = {}
    ordered = iter(sorted(sizes, key=lambda key: _draw(seed, key)))
    for side, fraction in fractions:
        filled = 0
        while filled < round(fraction * len(samples)):
            key = next(ordered)
            sides[key] = side
            filled += sizes[key]
    return tuple(replace(s, split=sides.get(_key(s, by), "train")) for s in samples)


WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders that hold one side of a split."""


def side_of(path: str) -> SplitName | Literal[""]:
    """Return the side that one of a file's folders is named after; '' for none.

    COCO's years are no part of the name: val2017.
    """
    folders = (part.lower().rstrip("0123456789") for part in path.split("/")[:-1])
    return next((WORDS[part] for part in folders if part in WORDS), "")


def sided(
    plan: SplitPlan,
    *,
    name: str,
    labels: Mapping[str, tuple[str, ...]],
    samples: Sequence[Sample],
    store: ImageStore,
    decisions: Decisions,
    holds: Holds = "classes",
) -> Dataset:
    """Return a dataset of these samples, with the sides that the plan gives them.

    Samples that lie in folders named after the sides of a split have them already; others are one
    whole, or are split at random.
    """
    given = any(sample.split for sample in samples)
    protocol = choose(plan, name, ("given", "random", "whole") if given else ("whole", "random"))
    title, drawn = f"{name}, its own split", tuple(samples)
    if protocol == "random":
        title, drawn = f"{name}, random split, seed {plan.seed}", random_split(samples, plan.seed)
    elif protocol == "whole":
        title = f"{name}{WHOLE}"
    return Dataset(
        name=name,
        protocol=title,
        labels=labels,
        samples=drawn,
        store=store,
        decisions=decisions,
        holds=holds,
        whole=protocol == "whole",
    )


def fold_split(samples: Sequence[Sample], fold: int, seed: int) -> tuple[Sample, ...]:
    """Return the samples with fold `fold` as the test side and a tenth of the rest for validation.

    Validation is drawn by group (the subject, where it is known). Raises BadData where the
    dataset has no such fold.
    """
    folds = sorted({sample.fold for sample in samples if sample.fold is not None})
    if fold not in folds:
        known = ", ".join(map(str, folds)) or "none"
        raise BadData(f"there is no fold {fold} (folds here: {known}): choose one, or random")
    test = tuple(replace(s, split="test") for s in samples if s.fold == fold)
    rest = [sample for sample in samples if sample.fold not in (fold, None)]
    return test + random_split(rest, seed, fractions=(("val", 0.1),))


def _key(sample: Sample, by: By) -> str:
    return sample.group if by == "group" and sample.group else sample.sha256


def _draw(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
