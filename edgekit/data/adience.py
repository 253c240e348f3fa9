"""Adience in its own layout: fold files beside `aligned/` or `faces/`.

`fold_{0..4}_data.txt` (or `fold_frontal_{0..4}_data.txt`) are tab-separated with a header line;
an image is `aligned/<user>/landmark_aligned_face.<face_id>.<image>` or
`faces/<user>/coarse_tilt_aligned_face.<face_id>.<image>`. The folds share no user.

Labels are cleaned by three rules, each counted: one of the eight groups is taken as it is; a
single age, or a range that lies within one group, goes to that group; anything else leaves the
age unlabelled (so `35`, `(38, 48)`, `(25 23)` and `None`). Gender is `m` or `f`; `u` and empty
are unlabelled. An image with neither label is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from edgekit.data.age_bins import ADIENCE_BINS, strict_age_class
from edgekit.data.dataset import UNLABELLED, Dataset, Decisions, Sample, hash_files
from edgekit.data.splits import SplitPlan, choose, fold_split, random_split
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS

Images = Literal["aligned", "faces"]

FOLD_FILE = re.compile(r"(.*/)?fold_(frontal_)?(\d{1,4})_data\.txt")

PREFIXES: dict[Images, str] = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}

COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
"""The first five; the pose and box columns after them are not used."""

AGE = re.compile(r"\(?\s*(\d{1,3})(?:\s*,\s*(\d{1,3}))?\s*\)?")


def looks_like_adience(names: list[str]) -> bool:
    """Tell whether Adience's fold files are among these files."""
    return any(FOLD_FILE.fullmatch(name) for name in names)


def open_adience(
    name: str, store: ImageStore, plan: SplitPlan, images: Images, frontal: bool
) -> Dataset:
    """Return Adience under its five official folds (the default) or a random split by image.

    A random split puts one person on both sides and reads higher. `frontal` takes the frontal
    subset's fold files. Raises BadData without fold files or without any usable image.
    """
    protocol = choose(plan, name, ("folds", "random"))
    decisions = Decisions()
    samples: dict[str, Sample] = {}
    for sample in _rows(store, images, frontal, decisions):
        if sample.name in samples:
            decisions.note("row left out: its image is listed already", sample.name)
        else:
            samples[sample.name] = sample
    hashes = hash_files(store, list(samples), decisions)
    present = [replace(samples[file], sha256=value) for file, value in hashes.items()]
    if not present:
        raise BadData(f"{name}: no image of the fold files is under {images}/: check the folder")
    subset = f"{images}{', frontal' if frontal else ''}"
    if protocol == "folds":
        chosen = fold_split(present, plan.fold, plan.seed)
        title = f"Adience ({subset}), official fold {plan.fold}, subject-exclusive"
    else:
        chosen = random_split(present, plan.seed, by="image")
        title = f"Adience ({subset}), random split by image (subjects on both sides), seed"
        title = f"{title} {plan.seed}"
    labels = {"age": ADIENCE_AGE_LABELS, "gender": GENDER_LABELS}
    return Dataset(
        name=name, protocol=title, labels=labels, samples=chosen, store=store, decisions=decisions
    )


def age_class(text: str) -> tuple[int, str]:
    """Return the class of a fold file's age, or UNLABELLED, and the decision made."""
    match = AGE.fullmatch(text.strip())
    if match is None:
        return UNLABELLED, f"age '{text}' is no age: unlabelled"
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    index = strict_age_class(first)
    if index != UNLABELLED and (first, min(last, 200)) == _bounds(index):
        return index, f"age '{text}' is a group"
    if index != UNLABELLED and first <= last <= ADIENCE_BINS[index][1]:
        return index, f"age '{text}' taken for {ADIENCE_AGE_LABELS[index]}"
    return UNLABELLED, f"age '{text}' is in none of the groups: unlabelled"


def _bounds(index: int) -> tuple[int, int]:
    """Return a group as the label files print it: the last one ends at 100 there."""
    first, last = ADIENCE_BINS[index]
    return first, min(last, 100)


def _rows(
    store: ImageStore, images: Images, frontal: bool, decisions: Decisions
) -> Iterator[Sample]:
    """Yield a sample per usable row of every fold file, its hash still empty."""
    matches = [match for name in store.names() if (match := FOLD_FILE.fullmatch(name))]
    wanted = [match for match in matches if bool(match[2]) == frontal]
    if not wanted:
        raise BadData(f"there is no fold_{'frontal_' if frontal else ''}0_data.txt: check --data")
    for match in wanted:
        text = store.read(match[0]).decode(errors="replace")
        for number, line in enumerate(text.splitlines()[1:], start=2):
            sample = _row(line, f"{match[0]}:{number}", match[1] or "", images, decisions)
            if sample is not None:
                yield replace(sample, fold=int(match[3]))


def _row(line: str, where: str, root: str, images: Images, decisions: Decisions) -> Sample | None:
    fields = dict(zip(COLUMNS, line.split("\t"), strict=False))
    if not all(fields.get(column) for column in ("user_id", "original_image", "face_id")):
        decisions.note("row left out: damaged", where)
        return None
    age, decision = age_class(fields.get("age", ""))
    decisions.note(decision, where)
    gender = {"m": 0, "f": 1}.get(fields.get("gender", ""), UNLABELLED)
    if gender == UNLABELLED:
        decisions.note(f"gender '{fields.get('gender', '')}' is neither m nor f: unlabelled", where)
    if age == gender == UNLABELLED:
        decisions.note("row left out: neither age nor gender", where)
        return None
    file = f"{PREFIXES[images]}.{fields['face_id']}.{fields['original_image']}"
    path = f"{root}{images}/{fields['user_id']}/{file}"
    return Sample(
        name=path, sha256="", labels={"age": age, "gender": gender}, group=fields["user_id"]
    )
