"""COCO's JSON of labelled boxes: its images, annotations and categories, which go by their names.

The file is given itself, or lies in the folder that is given; its pictures lie beside it or in
some folder there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from edgekit.data.dataset import Dataset, Decisions, Sample, SplitName, TrueBox
from edgekit.data.images import is_image
from edgekit.data.splits import SplitPlan, side_of, sided
from edgekit.data.stores import ImageStore
from edgekit.data.true_boxes import MISSING, Picture, boxed_output, look_at, true_box
from edgekit.errors import BadData
from edgekit.json_files import Damaged, decode_json
from edgekit.spec import OutputSpec

MOST_HINTS = 1000
"""Categories up to which the nearest label is looked up; a hostile file may have millions."""
FEW = 4
"""Boxes under which nothing is told of them as a whole."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    id: int | str
    file_name: str
    width: float | None = None
    height: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Annotation:
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | None = 0
    keypoints: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class _Content:
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def looks_like(names: Sequence[str], outputs: Sequence[OutputSpec]) -> bool:
    """Tell whether a JSON file lies there, and the model finds boxes."""
    return any(output.boxes is not None for output in outputs) and bool(_files(names))


def open_coco(
    name: str,
    store: ImageStore,
    plan: SplitPlan,
    outputs: Sequence[OutputSpec],
    side: SplitName | None = None,
    file: str | None = None,
) -> Dataset:
    """Return the pictures of one JSON file with their boxes.

    Of several files in a folder that which is called after the `side` is read; `file` names one.
    A category goes to the label of its name; boxes of one that the model lacks are left out and
    counted. Raises BadData for a file that cannot be read, and where the model has no category.
    """
    output = boxed_output(outputs)
    file = file or _chosen(name, _files(store.names()), side)
    content = _read(store, file)
    decisions = Decisions()
    indices = _indices(content.categories, output, file)
    places = _places(content.images, file, store.names(), decisions)
    pictures = look_at(store, dict.fromkeys(places.values()), decisions)
    _check_form(content, file, places, pictures)
    boxes = _boxes(content, file, output, indices, places, pictures, decisions)
    samples = []
    for image in content.images:
        place = places.get(image.id, "")
        picture = pictures.get(place)
        if picture is None:
            continue
        said = (image.width or picture.size[0], image.height or picture.size[1])
        if said != picture.size:
            decisions.note(f"image left out: it is not of the size that {file} says", place)
            continue
        samples.append(
            Sample(
                name=place,
                sha256=picture.sha256,
                labels={},
                boxes=tuple(boxes[image.id]),
                size=picture.size,
            )
        )
    if not samples:
        raise BadData(
            f"none of the {len(content.images)} images of {file} is there: check its paths"
        )
    return sided(
        plan,
        name=name,
        labels={output.name: output.labels},
        samples=samples,
        store=store,
        decisions=decisions,
        holds="boxes",
    )


def _files(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.endswith(".json") and "__MACOSX" not in name]


def _chosen(name: str, files: Sequence[str], side: SplitName | None) -> str:
    """Return the one JSON file to read. Raises BadData where that is not clear."""
    if len(files) == 1:
        return files[0]
    words = {file: {side_of(f"{part}/x") for part in _words(file)} for file in files}
    chosen = [file for file in files if side in words[file]]
    boxes = [file for file in chosen if "instances" in file] or chosen
    if len(boxes) != 1:
        told = ", ".join(files[:5]) + (", ..." if len(files) > 5 else "")
        raise BadData(
            f"{name} holds {len(files)} JSON files ({told}) and {len(boxes)} of them "
            f"are called after its {side or 'test'} split: give --data the file itself"
        )
    return boxes[0]


def _words(file: str) -> list[str]:
    """Return the parts of a path that may name a side: annotations/instances_val2017.json."""
    for mark in "/_-.":
        file = file.replace(mark, " ")
    return file.split()


def _read(store: ImageStore, file: str) -> _Content:
    try:
        return decode_json(store.read(file), _Content)
    except (OSError, Damaged) as error:
        raise BadData(
            f"{file} is no JSON of COCO's form ({error}): it needs images, annotations with bbox, "
            "and categories"
        ) from None


def _indices(
    categories: Sequence[_Category], output: OutputSpec, file: str
) -> dict[int, int | str]:
    """Return the label's index of each category, or why there is none."""
    assert output.boxes is not None
    found: dict[int, int | str] = {}
    for category in categories:
        if category.id in found:
            raise BadData(f"{file} has two categories of id {category.id}: mend it")
        known = category.name in output.labels
        index = output.labels.index(category.name) if known else None
        if index is not None and index != output.boxes.background:
            found[category.id] = index
            continue
        few = len(categories) <= MOST_HINTS
        near = get_close_matches(category.name, output.labels, n=1) if few else []
        hint = f" (did you mean {near[0]}?)" if near and not known else ""
        found[category.id] = f"box left out: the model has no '{category.name[:60]}'{hint}"
    if not any(isinstance(index, int) for index in found.values()):
        names = ", ".join(category.name for category in categories[:5]) or "none"
        raise BadData(
            f"the model has none of the categories of {file} ({names}); its labels are "
            f"{', '.join(output.labels[:5])}{', ...' if len(output.labels) > 5 else ''}"
        )
    return found


def _places(
    images: Sequence[_Image], file: str, names: Sequence[str], decisions: Decisions
) -> dict[int | str, str]:
    """Return where each image lies, by its id; what is not there, or is several, is noted."""
    known = set(names)
    by_last: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if is_image(name):
            by_last[name.rpartition("/")[2]].append(name)
    folder = file.rpartition("/")[0]
    places: dict[int | str, str] = {}
    taken: set[str] = set()
    for image in images:
        if image.id in places:
            raise BadData(f"{file} has two images of id {image.id}: mend it")
        beside = f"{folder}/{image.file_name}" if folder else image.file_name
        ends = "/" + image.file_name
        found = [n for n in by_last[image.file_name.rpartition("/")[2]] if ("/" + n).endswith(ends)]
        place = next((p for p in (beside, image.file_name) if p in known), None)
        if place is None and len(found) == 1:
            place = found[0]
        if place is None:
            several = "image left out: several files are called so"
            decisions.note(several if found else MISSING, image.file_name)
        elif place in taken:
            decisions.note("image left out: it is listed already", place)
        else:
            taken.add(place)
            places[image.id] = place
    return places


def _check_form(
    content: _Content,
    file: str,
    places: dict[int | str, str],
    pictures: dict[str, Picture],
) -> None:
    """Raise BadData where the boxes as a whole are of another form than x, y, width, height."""
    shown = [(i.bbox, pictures.get(places.get(i.image_id, ""))) for i in content.annotations]
    known = [(bbox, picture.size) for bbox, picture in shown if picture is not None]
    form = "COCO's bbox is x, y, width and height in pixels of the picture"
    if known and all(max(x + w, y + h) <= 1 for (x, y, w, h), _ in known):
        raise BadData(f"{file}: every bbox lies within one pixel, as fractions would: {form}")
    far = [x + w > 1.1 * wide or y + h > 1.1 * high for (x, y, w, h), (wide, high) in known]
    if len(far) >= FEW and sum(far) * 2 > len(far):
        raise BadData(
            f"{file}: {sum(far)} of {len(far)} boxes end far outside of their pictures, as two "
            f"corners would: {form}"
        )


def _boxes(
    content: _Content,
    file: str,
    output: OutputSpec,
    indices: dict[int, int | str],
    places: dict[int | str, str],
    pictures: dict[str, Picture],
    decisions: Decisions,
) -> dict[int | str, list[TrueBox]]:
    """Return the boxes of each image by its id. Raises BadData for one of no category."""
    listed = {image.id for image in content.images}
    boxes: dict[int | str, list[TrueBox]] = defaultdict(list)
    for number, item in enumerate(content.annotations):
        if item.category_id not in indices:
            raise BadData(
                f"{file}, annotation {number} is of category {item.category_id}, which is none of "
                "its categories: mend it"
            )
        if item.image_id not in listed:
            decisions.note("box left out: its image is not listed", f"annotation {number}")
            continue
        picture = pictures.get(places.get(item.image_id, ""))
        if picture is None:
            continue
        place, index = places[item.image_id], indices[item.category_id]
        if isinstance(index, str):
            decisions.note(index, place)
            continue
        points = _points(item, number, file, output)
        x, y, width, height = item.bbox
        found = true_box(
            place, picture.size, index, (x, y, x + width, y + height), decisions,
            area=item.area, crowd=bool(item.iscrowd), points=points,
        )  # fmt: skip
        if found is not None:
            boxes[item.image_id].append(found)
    return boxes


def _points(
    item: _Annotation, number: int, file: str, output: OutputSpec
) -> tuple[tuple[float, float, float], ...]:
    """Return an annotation's points, none marked where it has none.

    Raises BadData where they are of another number than the model's.
    """
    if output.points is None:
        return ()
    count, values = output.points.count, item.keypoints
    if not values:
        return ((0.0, 0.0, 0.0),) * count
    if len(values) != 3 * count or not all(map(math.isfinite, values)):
        raise BadData(
            f"{file}, annotation {number} has {len(values)} numbers as keypoints; the model has "
            f"{count} points: give {3 * count}, x, y and 0, 1 or 2 each"
        )
    return tuple((values[at], values[at + 1], values[at + 2]) for at in range(0, 3 * count, 3))
