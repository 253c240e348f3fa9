"""UTKFace, a zip or a folder, mapped to Adience's age groups.

Files are named `[age]_[gender]_[race]_[date].jpg`, gender 0 male, 1 female. The race label is
not read. Ages outside the eight groups keep their gender and are left out of the age score.
Terms of the data: non-commercial research only.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec

from edgekit.data.age_bins import strict_age_class
from edgekit.data.dataset import (
    UNLABELLED,
    Dataset,
    Decisions,
    Sample,
    SplitName,
    hash_files,
)
from edgekit.data.near_duplicates import RADIUS, group_near_duplicates, hash_images, stack
from edgekit.data.splits import FRACTIONS, Protocol, SplitPlan, choose, random_split
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData
from edgekit.paths import shelf
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS

NAME = re.compile(r"(?:.*/)?(\d{1,3})_([01])_[0-4]_\d+(?:\.[a-z]+)+", re.IGNORECASE)
"""The whole file name; some of the original set lack a field, and are counted."""

TITLE = "UTKFace mapped to Adience bins"

PUBLISHED_SEED = 2019
"""Seed of the published split: the year of the seed paper, chosen once."""


class PublishedSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The split as a list of file hashes; no names and no images.

    `train`, `val` and `test` map a file's SHA-256 to [age class or -1, gender class].
    """

    schema: int
    title: str
    seed: int
    radius: int
    fractions: dict[str, float]
    terms: str
    command: str
    train: dict[str, tuple[int, int]]
    val: dict[str, tuple[int, int]]
    test: dict[str, tuple[int, int]]

    def sides(self) -> dict[str, SplitName]:
        """Return the side of every file by its SHA-256."""
        sides: tuple[tuple[SplitName, dict[str, tuple[int, int]]], ...] = (
            ("train", self.train),
            ("val", self.val),
            ("test", self.test),
        )
        return {sha256: name for name, files in sides for sha256 in files}


def looks_like_utkface(names: list[str]) -> bool:
    """Tell whether most of these files carry UTKFace's names."""
    return 2 * sum(NAME.fullmatch(name) is not None for name in names) > len(names) > 0


def open_utkface(name: str, store: ImageStore, plan: SplitPlan) -> Dataset:
    """Return UTKFace under the published split, or under a random one grouped by look.

    Without a protocol the published split is taken where it lists at least half of the files;
    files that it does not list are then left out and counted. Hashing reads every file; a random
    split also decodes them all.
    """
    decisions = Decisions()
    parsed = [_sample(file, decisions) for file in store.names()]
    named = [sample for sample in parsed if sample is not None]
    hashes = hash_files(store, [sample.name for sample in named], decisions)
    samples = [replace(s, sha256=hashes[s.name]) for s in named if s.name in hashes]
    sides = published_split().sides() if published_path().is_file() else {}
    listed = sum(sample.sha256 in sides for sample in samples)
    known: tuple[Protocol, ...] = ("random", "published")
    if choose(plan, name, known[:: -1 if 2 * listed > len(samples) else 1]) == "published":
        chosen = _published(samples, sides, decisions)
        title = f"{TITLE}, published split"
    else:
        chosen = random_split(group_by_look(samples, store, decisions), plan.seed)
        title = f"{TITLE}, random split grouped by look, seed {plan.seed}"
    if not chosen:
        raise BadData(f"no file of {name} is in the published split: use --protocol random")
    labels = {"age": ADIENCE_AGE_LABELS, "gender": GENDER_LABELS}
    return Dataset(
        name=name, protocol=title, labels=labels, samples=chosen, store=store, decisions=decisions
    )


def group_by_look(
    samples: list[Sample], store: ImageStore, decisions: Decisions
) -> tuple[Sample, ...]:
    """Return the samples that decode, near-duplicates in one group named by a member's hash."""
    hashes = hash_images(store, [sample.name for sample in samples], decisions)
    readable = [sample for sample in samples if sample.name in hashes]
    if not readable:
        raise BadData("none of the images can be decoded: is the data set damaged?")
    groups = group_near_duplicates(stack(hashes[sample.name] for sample in readable))
    for index, group in enumerate(groups):
        if index != group:
            decisions.note("image grouped with a near-duplicate", readable[index].name)
    return tuple(
        replace(sample, group=readable[group].sha256)
        for sample, group in zip(readable, groups, strict=True)
    )


def _published(
    samples: list[Sample], sides: dict[str, SplitName], decisions: Decisions
) -> tuple[Sample, ...]:
    """Return the samples that the published split lists, each on its side."""
    for sample in samples:
        if sample.sha256 not in sides:
            decisions.note("image left out: not in the published split", sample.name)
    return tuple(replace(s, split=sides[s.sha256]) for s in samples if s.sha256 in sides)


def published_path() -> Path:
    """Return where the published split is."""
    return shelf("benchmarks") / "training" / "utkface-split.json"


def published_split() -> PublishedSplit:
    """Return the published split. Raises BadData where the file is not one."""
    path = published_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=PublishedSplit)
    except (OSError, msgspec.DecodeError) as error:
        raise BadData(f"{path} is not a split list ({error}): restore it") from error


def make_published_split(store: ImageStore, command: str) -> PublishedSplit:
    """Return the split to publish: seeded, grouped by look. `command` is recorded in it."""
    dataset = open_utkface("UTKFace", store, SplitPlan(protocol="random", seed=PUBLISHED_SEED))
    sides: dict[str, dict[str, tuple[int, int]]] = {"train": {}, "val": {}, "test": {}}
    for sample in sorted(dataset.samples, key=lambda sample: sample.sha256):
        sides[sample.split][sample.sha256] = (sample.labels["age"], sample.labels["gender"])
    return PublishedSplit(
        schema=1,
        title=TITLE,
        seed=PUBLISHED_SEED,
        radius=RADIUS,
        fractions=dict(FRACTIONS),
        terms="UTKFace: non-commercial research only; this list holds hashes and labels, no images",
        command=command,
        **sides,
    )


def _sample(file: str, decisions: Decisions) -> Sample | None:
    """Return the labels in a file's name, the hash still empty; None for another kind of name."""
    match = NAME.fullmatch(file)
    if match is None:
        decisions.note("file left out: not named [age]_[gender]_[race]_[date].jpg", file)
        return None
    years, gender = int(match[1]), int(match[2])
    age = strict_age_class(years)
    if age == UNLABELLED:
        decisions.note("age outside the eight groups: gender kept, age not scored", file)
    return Sample(name=file, sha256="", labels={"age": age, "gender": gender}, years=float(years))
