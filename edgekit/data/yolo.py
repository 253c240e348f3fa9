"""YOLO's text files: `images/1.jpg` and `labels/1.txt`, a line a box.

A line is a class index and, in fractions of the picture, the box's centre and size. The `names` of
a `data.yaml`, or a `classes.txt` with one name a line, say what the indices mean; without them they
are the model's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.data.dataset import Dataset, Decisions, Sample, TrueBox
from edgekit.data.images import is_image
from edgekit.data.splits import SplitPlan, side_of, sided
from edgekit.data.stores import ImageStore
from edgekit.data.true_boxes import beside, boxed_output, classes_of, look_at, true_box
from edgekit.data.yolo_names import REMEDY, names_in
from edgekit.errors import BadData, nearest
from edgekit.spec import OutputSpec

CLASSES = "classes.txt"
FILLED = 0.53
"""The share of its box that a thing is taken to fill, as ultralytics takes it for its own score of
points: these files do not say it."""
EMPTY = "picture without a label file: taken as one that shows nothing"


def looks_like(names: Sequence[str], outputs: Sequence[OutputSpec]) -> bool:
    """Tell whether pictures lie in `images` and text files in `labels`; the model finds boxes."""
    if not any(output.boxes is not None for output in outputs):
        return False
    known = set(names)
    return any(_label_file(name) in known for name in names if is_image(name))


def open_yolo(
    name: str,
    store: ImageStore,
    plan: SplitPlan,
    outputs: Sequence[OutputSpec],
    yaml: str | None = None,
) -> Dataset:
    """Return the pictures of `images` with their boxes.

    `yaml` is the data.yaml that was given, where one was. Raises BadData for a line that is no box.
    """
    output = boxed_output(outputs)
    names = store.names()
    if yaml and not looks_like(names, outputs):
        raise BadData(f"beside {yaml} are no images/ and labels/: give --data their folder")
    known = set(names)
    decisions = Decisions()
    classes = _classes(store, names, output, yaml)
    files = [file for file in names if is_image(file) and _label_file(file)]
    pictures = look_at(store, files, decisions)
    labelled = {_label_file(file) for file in files}
    for text in (n for n in names if _is_label(n) and n not in labelled):
        decisions.note("label file left out: it has no picture", text)
    samples = []
    for file, picture in pictures.items():
        boxes: list[TrueBox] = []
        if _label_file(file) in known:
            count = output.points.count if output.points else 0
            boxes = _boxes(store, _label_file(file), file, picture.size, classes, decisions, count)
        else:
            decisions.note(EMPTY, file)
        samples.append(
            Sample(
                name=file,
                sha256=picture.sha256,
                labels={},
                boxes=tuple(boxes),
                size=picture.size,
                split=side_of(file),
            )
        )
    if not samples:
        raise BadData(f"{name}: no picture in its folder images can be read")
    return sided(
        plan,
        name=name,
        labels={output.name: output.labels},
        samples=samples,
        store=store,
        decisions=decisions,
        holds="boxes",
    )


def _label_file(name: str) -> str:
    """Return the text file of a picture: its last folder `images` is `labels`; '' for no such."""
    return beside(name, "labels", ".txt")


def _is_label(name: str) -> bool:
    parts = name.split("/")
    return name.endswith(".txt") and "labels" in parts[:-1] and parts[-1] != CLASSES


def _classes(
    store: ImageStore, names: Sequence[str], output: OutputSpec, yaml: str | None
) -> list[int]:
    """Return the label's index of each class. Raises BadData for one that the model lacks."""
    things = classes_of(output)
    file, own = _named(store, names, yaml)
    unknown = [name for name in own if name not in things]
    if unknown:
        hint = nearest(unknown[0], things, f"its labels are {', '.join(things[:8])}")
        raise BadData(f"{file}: the model has no label '{unknown[0][:60]}': {hint}")
    return [output.labels.index(label) for label in own or things]


def _named(store: ImageStore, names: Sequence[str], yaml: str | None) -> tuple[str, list[str]]:
    """Return the file that names the classes, and its names; nothing where there is none.

    `yaml` is the one that was given, else it is the one called data.yaml or the only one on top.
    """
    on_top = [name for name in names if "/" not in name and name.endswith((".yaml", ".yml"))]
    called = [name for name in on_top if name.rpartition(".")[0] == "data"]
    files = [yaml] if yaml else called[:1] or on_top
    found = {file: held for file in files if (held := names_in(_text(store, file), file))}
    if yaml and not found:
        raise BadData(f"{yaml} has no names: {REMEDY}")
    if len(found) > 1 and len({tuple(held) for held in found.values()}) > 1:
        raise BadData(f"{', '.join(found)} name other classes: give --data one of them")
    if found:
        return next(iter(found.items()))
    listed = [name for name in names if name.rpartition("/")[2] == CLASSES]
    if not listed:
        return "", []
    lines = _text(store, listed[0]).rstrip().splitlines()
    return listed[0], [line.strip() for line in lines]


def _text(store: ImageStore, name: str) -> str:
    try:
        return store.read(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise BadData(f"{name} cannot be read as text: replace it") from None


def _boxes(
    store: ImageStore,
    name: str,
    file: str,
    size: tuple[int, int],
    classes: Sequence[int],
    decisions: Decisions,
    count: int,
) -> list[TrueBox]:
    """Return the boxes of one text file, each with `count` points after it."""
    boxes = []
    for number, line in enumerate(_text(store, name).splitlines(), 1):
        if not line.strip():
            continue
        where, words = f"{name}, line {number}", line.split()
        try:
            index, values = float(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise BadData(f"{where} is no class index and four numbers: '{line[:60]}'") from None
        if count and len(values) - 4 not in {2 * count, 3 * count}:
            raise BadData(
                f"{where} has {len(values) - 4} numbers after its box; the model has {count} "
                f"points: give {2 * count} or {3 * count}"
            )
        values, after = (values[:4], values[4:]) if count else (values, [])
        if len(values) != 4 or not math.isfinite(index) or index != int(index):
            form = " (outlines are not read: give boxes)" if len(values) > 5 else ""
            raise BadData(f"{where} is no class index and four numbers: '{line[:60]}'{form}")
        if not 0 <= index < len(classes):
            raise BadData(
                f"{where} is of class {index:g}; the model has {len(classes)}, from 0 on: "
                f"give its own labels, or a data.yaml or {CLASSES} with their names"
            )
        if any(abs(value) > 2 for value in values):
            raise BadData(f"{where} has no fractions of the picture: '{line[:60]}'")
        x, y, w, h = (value * size[at % 2] for at, value in enumerate(values))
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        points = _points(after, size, count)
        area = w * h * FILLED if count else None
        found = true_box(file, size, classes[int(index)], box, decisions, area, points=points)
        if found is not None:
            boxes.append(found)
    return boxes


def _points(
    values: Sequence[float], size: tuple[int, int], count: int
) -> tuple[tuple[float, float, float], ...]:
    """Return points in pixels with COCO's mark; without one, what is at 0, 0 is not marked."""
    width = len(values) // count if count else 1
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    return tuple(
        (row[0] * size[0], row[1] * size[1], row[2] if width == 3 else 2.0 * any(row))
        for row in rows
    )
