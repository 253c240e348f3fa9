"""Any images with labels: a folder or zip with a `labels.csv`.

The CSV (UTF-8, comma-separated, with a header) has a column `file`, relative to itself, and one
column per output, holding class names. An empty cell is no label. `split` (train, val or test)
and `group` (images that must not part) are optional. An `age` column of Adience's groups may
hold whole years too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from edgekit.data.age_bins import strict_age_class
from edgekit.data.dataset import (
    UNLABELLED,
    Dataset,
    Decisions,
    Sample,
    SplitName,
    hash_files,
)
from edgekit.data.splits import WHOLE, Protocol, SplitPlan, choose, random_split, side_of
from edgekit.data.stores import ImageStore
from edgekit.errors import BadData
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS

LABELS_FILE = "labels.csv"
RESERVED = ("file", "split", "group")
FILE_WORDS = ("file", "filename", "file_name", "image", "image_name", "img", "path", "filepath")
"""What others call the column `file`."""
FACE_LABELS = {"age": ADIENCE_AGE_LABELS, "gender": GENDER_LABELS}


def looks_labelled(names: list[str]) -> bool:
    """Tell whether one `labels.csv` is among these files, at the top or one folder down."""
    return _labels_file(names) is not None


def open_labelled_folder(
    name: str,
    store: ImageStore,
    plan: SplitPlan,
    labels: Mapping[str, tuple[str, ...]] | None = None,
) -> Dataset:
    """Return the images of `labels.csv` under the split it gives, or a random one by group.

    Without either it is taken whole where it is only judged. `labels` are the class names of each
    output, in class order; without it `age` and `gender`
    are read as the faces' and any other column's classes are its values, sorted. Raises BadData
    for a CSV that cannot be read and for a value that is no class.
    """
    path = _labels_file(store.names()) or LABELS_FILE
    header, rows = _read_csv(store, path)
    known_protocols: tuple[Protocol, ...] = ("random", "whole")
    if "split" in header:
        known_protocols = ("given", *known_protocols)
    elif plan.judging:
        known_protocols = ("whole", "random")
    protocol = choose(plan, name, known_protocols)
    outputs = [column for column in header if column not in RESERVED]
    known = {column: _classes(column, rows, labels) for column in outputs}
    decisions = Decisions()
    samples: dict[str, Sample] = {}
    for row in rows:
        file = path.removesuffix(LABELS_FILE) + row["file"]
        if file in samples:
            decisions.note("row left out: its image is listed already", file)
        else:
            samples[file] = _sample(file, row, known, decisions)
    hashes = hash_files(store, list(samples), decisions)
    present = [replace(samples[file], sha256=value) for file, value in hashes.items()]
    if not present:
        raise BadData(f"{name}: none of the files that {path} lists is there: check its paths")
    if protocol == "given":
        title = f"{name}, its own split"
    elif protocol == "whole":
        title = f"{name}{WHOLE}"
    else:
        present = list(random_split(present, plan.seed))
        title = f"{name}, random split by group, seed {plan.seed}"
    return Dataset(
        name=name,
        protocol=title,
        labels=known,
        samples=tuple(present),
        store=store,
        decisions=decisions,
        whole=protocol == "whole",
    )


def _labels_file(names: list[str]) -> str | None:
    found = [n for n in names if n.split("/")[-1] == LABELS_FILE and n.count("/") <= 1]
    return found[0] if len(found) == 1 else None


def _read_csv(store: ImageStore, path: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(store.read(path).decode("utf-8-sig")), strict=True)
        read = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path} is not a UTF-8 CSV file: {error}") from error
    if any(None in row for row in read):
        raise BadData(f"{path} has a row with more cells than its header: quote commas in values")
    rows = [{key.strip(): (value or "").strip() for key, value in row.items()} for row in read]
    header = [name.strip() for name in reader.fieldnames or []]
    if "file" not in header or not set(header) - set(RESERVED):
        held = ", ".join(header)[:80] or "nothing"
        raise BadData(
            f"{path} needs a column 'file' and one per output, it has {held}: {_mended(header)}"
        )
    return header, [row for row in rows if row["file"]]


def _mended(header: Sequence[str]) -> str:
    """Return what to do about a header without a `file` or an output."""
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        return "separate columns by commas"
    called = [name for name in header if name.lower().strip("_s") in FILE_WORDS]
    if "file" not in header and called:
        return f"call the column '{called[0]}' file"
    return "add them"


def _classes(
    column: str, rows: list[dict[str, str]], labels: Mapping[str, tuple[str, ...]] | None
) -> tuple[str, ...]:
    if labels is not None and column in labels:
        return labels[column]
    return FACE_LABELS.get(column) or tuple(sorted({row[column] for row in rows} - {""}))


def _is_age(value: str) -> bool:
    return value.isdecimal() and len(value) <= 3


def _unknown_class(column: str, value: str, classes: tuple[str, ...], file: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(value, classes, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"{LABELS_FILE}, {file}: '{value}' is no class of {column}.{hint} "
        f"The classes are {', '.join(classes)}; an empty cell is no label"
    )


def _sample(
    file: str,
    row: dict[str, str],
    known: Mapping[str, tuple[str, ...]],
    decisions: Decisions,
) -> Sample:
    """Return a row's sample, its hash still empty."""
    indices = {}
    years = None
    for column, classes in known.items():
        value = row[column]
        if value in classes:
            indices[column] = classes.index(value)
            continue
        indices[column] = UNLABELLED
        if not value:
            decisions.note(f"no label for {column}", file)
        elif column == "age" and classes == ADIENCE_AGE_LABELS and _is_age(value):
            years = float(value)
            indices[column] = strict_age_class(int(value))
            if indices[column] == UNLABELLED:
                decisions.note("age outside the eight groups: not scored", file)
        elif column == "age" and value.isdecimal():
            decisions.note(f"no age, '{value[:40]}': unlabelled", file)
        else:
            raise BadData(_unknown_class(column, value, classes, row["file"]))
    said = row.get("split", "")
    side = side_of(f"{said}/") or said
    if side and side not in get_args(SplitName):
        decisions.note(f"unknown split '{side}': on no side", file)
        side = ""
    return Sample(
        name=file,
        sha256="",
        labels=indices,
        years=years,
        group=row.get("group", ""),
        split=side,  # type: ignore[arg-type]
    )
