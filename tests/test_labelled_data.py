"""Labelled data of other people's forms: what each is read to, and what is said of bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import Dataset, SplitPlan, check_labels, is_dataset, open_dataset
from edgekit.data.images import open_images
from edgekit.data.masks import read_mask
from edgekit.data.true_boxes import CUT, MISSING, NO_SIZE, OUTSIDE
from edgekit.data.yolo_names import names_in
from edgekit.errors import BadData
from edgekit.spec import Boxes, OutputSpec

WORD = OutputSpec("word", "classification", ("yes", "no", "stop"))
SPOTS = OutputSpec(
    "spots", "detection", ("nothing", "cat", "dog"), boxes=Boxes(format="xyxy", background=0)
)
FIELD = OutputSpec("field", "segmentation", ("ground", "sky", "tree"))
Edit = Callable[[dict[str, Any]], None]


def picture(path: Path, size: tuple[int, int] = (40, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (size[0], 90, 120)).save(path)


def opened(path: Path, *outputs: OutputSpec, **more: Any) -> Dataset:
    dataset = open_dataset(str(path), SplitPlan(judging=True), outputs=outputs, **more)
    check_labels(dataset, outputs)
    return dataset


def refused(path: Path, *outputs: OutputSpec, **more: Any) -> str:
    with pytest.raises(BadData) as error:
        opened(path, *outputs, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


# One folder a class


def test_a_folder_a_class_is_read_whole_or_by_its_sides(tmp_path: Path) -> None:
    for at, name in enumerate(("yes/a.png", "no/b.png", "no/c.png")):
        picture(tmp_path / "one" / name, (30 + at, 20))
        picture(tmp_path / "two" / ("test" if at else "train") / name, (30 + at, 20))
    one = opened(tmp_path / "one", WORD)
    assert one.whole and one.split("test").take("word") == [1, 1, 0]
    two = opened(tmp_path / "two", WORD)
    assert two.split("test").take("word") == [1, 1] and two.split("train").take("word") == [0]
    with pytest.raises(BadData, match=r"no images in its val split \(test 2, train 1\)"):
        two.split("val")


def test_links_are_followed_wherever_they_lead_and_in_no_circle(tmp_path: Path) -> None:
    """Splits are made of links to the pictures of another folder, or to whole folders."""
    picture(tmp_path / "all" / "1.png")
    picture(tmp_path / "all" / "2.png", (30, 20))
    split = tmp_path / "split"
    (split / "stop").mkdir(parents=True)
    (split / "stop" / "1.png").symlink_to(tmp_path / "all" / "1.png")
    (tmp_path / "other" / "no").mkdir(parents=True)
    (tmp_path / "other" / "no" / "2.png").symlink_to(tmp_path / "all" / "2.png")
    (split / "no").symlink_to(tmp_path / "other" / "no")
    (split / "no" / "round").symlink_to(split)
    dataset = opened(split, WORD)
    assert [sample.name for sample in dataset.samples] == ["no/2.png", "stop/1.png"]
    assert dataset.store.read("no/2.png") == (tmp_path / "all" / "2.png").read_bytes()
    for name in ("../all/1.png", "no/../../all/1.png", str(tmp_path / "all" / "1.png")):
        with pytest.raises(OSError, match="lies outside"):
            dataset.store.read(name)


def test_a_folder_of_arrays_is_a_dataset_too(tmp_path: Path) -> None:
    (tmp_path / "stop").mkdir()
    np.save(tmp_path / "stop" / "a.npy", np.zeros((1, 1, 49, 10)))
    assert opened(tmp_path, WORD).take("word") == [2]


def test_a_folder_that_is_no_class_names_the_nearest(tmp_path: Path) -> None:
    picture(tmp_path / "yes" / "a.png")
    picture(tmp_path / "stpo" / "b.png")
    words = refused(tmp_path, WORD)
    assert "the folder 'stpo' (stpo/b.png) is no class of word: did you mean stop?" in words


def test_folders_of_other_names_are_no_dataset(tmp_path: Path) -> None:
    picture(tmp_path / "holiday" / "a.png")
    assert not is_dataset(str(tmp_path), [WORD])
    assert "a labels.csv, or a folder a class (yes, no, stop)" in refused(tmp_path, WORD)
    picture(tmp_path / "Stop" / "a.png")
    assert "its folder 'Stop' is no class of word: did you mean stop?" in refused(tmp_path, WORD)


# labels.csv


def test_labels_without_a_split_are_judged_whole_and_by_the_models_classes(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png", (30, 20 + ord(name) % 7))
    (tmp_path / "labels.csv").write_text("file,word\na.png,no\nb.png,stop\nmissing.png,no\n")
    dataset = opened(tmp_path, WORD)
    assert dataset.split("test").take("word") == [1, 2]
    assert dataset.decisions.files[MISSING] == ["missing.png"]
    assert open_dataset(str(tmp_path)).protocol.endswith("random split by group, seed 0")
    (tmp_path / "labels.csv").write_text("file,word\na.png,sotp\n")
    assert "Did you mean 'stop'?" in refused(tmp_path, WORD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\tword\na.png\tno\n", "it has file\tword: separate columns by commas"),
        ("filename,word\na.png,no\n", "call the column 'filename' file"),
        ("file,label\na.png,no\n", "labels label, and none of the model's outputs (word): call"),
    ],
)
def test_a_header_that_is_not_meant_names_the_way_out(
    tmp_path: Path, text: str, words: str
) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    assert words in refused(tmp_path, WORD)


def test_spaces_after_commas_and_other_words_for_a_side_are_no_matter(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        picture(tmp_path / f"{name}.png", (30 + number, 20))
    (tmp_path / "labels.csv").write_text(
        "file, word, split\na.png, no, training\nb.png, stop, validation\nc.png, no, testing\n"
    )
    dataset = opened(tmp_path, WORD)
    assert [s.split for s in dataset.samples] == ["train", "val", "test"]
    assert dataset.split("val").take("word") == [2]


def test_a_value_is_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,speed\na.png,3.5\n")
    words = refused(tmp_path, OutputSpec("speed", "value"))
    assert "holds classes, and speed is a value" in words


# COCO


def coco(folder: Path, edit: Edit | None = None) -> Path:
    """Two pictures; the first has a dog, the second a crowd of cats."""
    picture(folder / "val2017" / "1.png", (40, 20))
    picture(folder / "val2017" / "2.png", (30, 30))
    content: dict[str, Any] = {
        "images": [
            {"id": 7, "file_name": "1.png", "width": 40, "height": 20},
            {"id": 9, "file_name": "2.png", "width": 30, "height": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 8], "area": 60},
            {"id": 2, "image_id": 9, "category_id": 17, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
    }
    if edit:
        edit(content)
    path = folder / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_coco_is_read_by_its_folder_or_its_file(tmp_path: Path) -> None:
    path = coco(tmp_path)
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    for dataset in (opened(path, SPOTS), opened(tmp_path, SPOTS, side="val")):
        first, second = dataset.samples
        assert (first.name, first.size) == ("val2017/1.png", (40, 20))
        (dog,), (cats,) = first.boxes, second.boxes
        assert (dog.index, dog.box, dog.area, dog.crowd) == (2, (4, 5, 14, 13), 60, False)
        assert (cats.index, cats.area, cats.crowd) == (1, 81, True)
    assert "2 JSON files" in refused(tmp_path, SPOTS, side="train")


def annotation(**fields: Any) -> Edit:
    return lambda content: content["annotations"][0].update(fields)


def all_boxes(*boxes: list[float]) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"] = [
            {"id": number, "image_id": 7, "category_id": 18, "bbox": box}
            for number, box in enumerate(boxes)
        ]

    return edit


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[0.1, 0.2, 0.3, 0.3], [0.5, 0.5, 0.4, 0.5]], "lies within one pixel, as fractions would"),
        ([[9, 5, 39, 19], [22, 8, 38, 18], [30, 1, 39, 9], [25, 12, 39, 19]],
         "4 of 4 boxes end far outside of their pictures, as two corners would: COCO's bbox is x"),
    ],
)  # fmt: skip
def test_boxes_of_another_form_are_not_scored_as_nothing(
    tmp_path: Path, boxes: list[list[float]], words: str
) -> None:
    """Fractions, and two corners: every box would be there, small or cut off, and none be right."""
    assert words in refused(coco(tmp_path, all_boxes(*boxes)), SPOTS)


def test_numbers_that_other_programs_write_are_read(tmp_path: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["images"][0].update(width=40.0, height=20.0)
        content["annotations"][0]["iscrowd"] = None

    first, _ = opened(coco(tmp_path, edit), SPOTS).samples
    assert first.size == (40, 20) and not first.boxes[0].crowd


@pytest.mark.parametrize(
    ("edit", "decision"),
    [
        (annotation(bbox=[4, 5, 0, 8]), NO_SIZE),
        (annotation(bbox=[4, 5, -3, 8]), NO_SIZE),
        (annotation(bbox=[50, 5, 10, 8]), OUTSIDE),
        (annotation(bbox=[-9, -9, 9, 9]), OUTSIDE),
        (annotation(bbox=[30, 5, 20, 8]), CUT),
        (annotation(image_id=8), "box left out: its image is not listed"),
        (lambda c: c["images"][0].update(file_name="3.png"), MISSING),
        (lambda c: c["images"][0].update(file_name="../../../etc/passwd"), MISSING),
        (lambda c: c["images"][0].update(width=20, height=40),
         "image left out: it is not of the size that annotations/instances_val2017.json says"),
        (lambda c: c["categories"][1].update(name="dogs"),
         "box left out: the model has no 'dogs' (did you mean dog?)"),
        (lambda c: c["categories"][1].update(name="nothing"),
         "box left out: the model has no 'nothing'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_counted_and_costs_nothing_else(
    tmp_path: Path, edit: Edit, decision: str
) -> None:
    dataset = opened(coco(tmp_path, edit), SPOTS)
    assert dict(dataset.decisions.counts) == {decision: 1}
    assert dataset.samples[-1].boxes[0].crowd, "the other picture keeps its box"
    if decision == CUT:
        assert dataset.samples[0].boxes[0].box == (30, 5, 40, 13)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.pop("images"), "missing required field `images`"),
        (annotation(bbox=[1, 2, 3]), "Expected `array` of length 4"),
        (annotation(bbox=["a", 2, 3, 4]), "Expected `float`, got `str`"),
        (annotation(category_id=3), "annotation 0 is of category 3, which is none of"),
        (lambda c: c["images"][1].update(id=7), "two images of id 7"),
        (lambda c: c["categories"][1].update(id=17), "two categories of id 17"),
        (lambda c: [item.update(name="x") for item in c["categories"]],
         "the model has none of the categories"),
        (lambda c: [item.update(file_name="9.png") for item in c["images"]],
         "none of the 2 images"),
    ],
)  # fmt: skip
def test_a_json_that_cannot_be_read_is_one_line(tmp_path: Path, edit: Edit, words: str) -> None:
    assert words in refused(coco(tmp_path, edit), SPOTS)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, '{"images":' * 50_000, "\xff"])
def test_a_hostile_json_is_one_line(tmp_path: Path, content: str) -> None:
    path = coco(tmp_path)
    path.write_text(content, "latin-1")
    assert "is no JSON of COCO's form" in refused(path, SPOTS)
    deep = '{"images": [], "annotations": [], "categories": [], "x": ' + "[" * 100_000
    path.write_text(deep)
    assert "is no JSON of COCO's form" in refused(path, SPOTS)


def test_a_picture_on_its_side_is_of_its_upright_size(tmp_path: Path) -> None:
    path = coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 40)).save(tmp_path / "val2017" / "1.png", exif=exif)
    assert opened(path, SPOTS).samples[0].size == (40, 20)


# YOLO


def yolo(folder: Path, line: str = "1 0.25 0.5 0.2 0.4") -> Path:
    for name in ("1", "2"):
        picture(folder / "images" / f"{name}.png", (40, 20))
    (folder / "labels").mkdir()
    (folder / "labels" / "1.txt").write_text(line + "\n\n")
    return folder


def test_yolo_is_read_with_and_without_names(tmp_path: Path) -> None:
    dataset = opened(yolo(tmp_path / "a"), SPOTS)
    (box,) = dataset.samples[0].boxes
    assert box.index == 2 and box.box == pytest.approx((6, 6, 14, 14))
    assert dataset.samples[1].boxes == () and dataset.decisions.counts.total() == 1
    (tmp_path / "a" / "classes.txt").write_text("dog\ncat\n")
    assert opened(tmp_path / "a", SPOTS).samples[0].boxes[0].index == 1
    (tmp_path / "a" / "classes.txt").write_text("dog\ncta\n")
    assert "the model has no label 'cta': did you mean cat?" in refused(tmp_path / "a", SPOTS)


@pytest.mark.parametrize(
    "text",
    [
        "names: [dog, cat]",
        "nc: 2\nnames: [\"dog\", 'cat']  # two\n",
        "names: [dog,\n        cat]\ntrain: images",
        "names:\n  0: dog\n  1: cat\nnc: 2",
        "# mine\npath: ../x\nnames:\n  1: 'cat'  # c\n\n  0: dog # d\ndownload: |\n  names: no",
        "names:\n- dog\n- cat\nval: images",
        'names:\n  - dog\n  - "cat"',
        "names: {0: dog, 1: cat}",
    ],
)
def test_a_data_yaml_names_the_classes(tmp_path: Path, text: str) -> None:
    folder = yolo(tmp_path / "a")
    (folder / "data.yaml").write_text(text)
    (folder / "classes.txt").write_text("cat\ndog\n")
    (folder / "notes.yaml").write_text("names: [owl]")
    for given in (folder, folder / "data.yaml"):
        assert opened(given, SPOTS).samples[0].boxes[0].index == 1, given
        assert is_dataset(str(given), [SPOTS])
    (folder / "data.yaml").unlink()
    assert "no label 'owl'" in refused(folder, SPOTS), "the only YAML on top"
    (folder / "notes.yaml").write_text("note: 3")
    assert opened(folder, SPOTS).samples[0].boxes[0].index == 2


def test_a_data_yaml_stands_for_its_pictures(tmp_path: Path) -> None:
    """For --calibration and --images, which need no labels."""
    folder = yolo(tmp_path)
    (folder / "data.yaml").write_text("names: [dog, cat]")
    assert open_images(folder / "data.yaml").names == ("images/1.png", "images/2.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "data.yaml").write_text("names: [dog, cat]")
    with pytest.raises(BadData, match=r"no images in .*empty: it needs files ending in"):
        open_images(tmp_path / "empty" / "data.yaml")


def test_names_are_read_as_they_are_written() -> None:
    text = 'names: [\'it\'\'s\', "a \\"b\\"", hot dog, t#3, "x, y"]  # five'
    assert names_in(text, "d") == ["it's", 'a "b"', "hot dog", "t#3", "x, y"]
    assert names_in("names:\n  0: driver's seat  # no quotes\n", "d") == ["driver's seat"]
    assert names_in("names: [no, 1, ~]", "d") == ["no", "1", "~"], "not what YAML makes of them"
    assert names_in("nc: 3\n", "d") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: dog", "names is no list of names, and no mapping"),
        ("names: [dog, cat", "is no YAML"),
        ("names: []", "names is no list of names, and no mapping"),
        ("names: [[dog], cat]", "names is no list of names, and no mapping"),
        ("names: [" + 4000 * "[", "is no YAML"),
        ("names: !!python/object/apply:os.getcwd []", "names is no list of names, and no mapping"),
        ("names:\n  dogs: dog", "names counts dogs, not from 0 on"),
        ("names:\n  0: dog\n  2: cat", "names counts 0, 2, not from 0 on"),
        ("names:\n  0: dog\n  - cat", "is no YAML"),
        ("names: [dog, cta]", "the model has no label 'cta': did you mean cat?"),
    ],
)
@pytest.mark.unmeasured
def test_a_data_yaml_that_cannot_be_meant_is_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    folder = yolo(tmp_path)
    (folder / "data.yaml").write_text(text)
    told = refused(folder, SPOTS)
    assert told.startswith("data.yaml") and words in told
    (folder / "data.yaml").write_text("nc: 2")
    assert "data.yaml has no names: write names: [" in refused(folder / "data.yaml", SPOTS)
    alone = tmp_path / "labels" / "set.yaml"
    alone.write_text("names: [dog]")
    assert "beside set.yaml are no images/ and labels/" in refused(alone, SPOTS)


def test_yolo_by_sides(tmp_path: Path) -> None:
    for side in ("train", "valid"):
        picture(tmp_path / side / "images" / "1.png")
        (tmp_path / side / "labels").mkdir()
        (tmp_path / side / "labels" / "1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    dataset = opened(tmp_path, SPOTS)
    assert [s.name for s in dataset.split("val").samples] == ["valid/images/1.png"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "is of class 2; the model has 2, from 0 on"),
        ("-1 0.5 0.5 0.1 0.1", "is of class -1"),
        ("0 0.5 0.5 0.1", "is no class index and four numbers"),
        ("dog 0.5 0.5 0.1 0.1", "is no class index and four numbers"),
        ("0 20 10 8 8", "has no fractions of the picture"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "outlines are not read"),
        ("nan 0.5 0.5 0.1 0.1", "is no class index and four numbers"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str, words: str) -> None:
    told = refused(yolo(tmp_path, line), SPOTS)
    assert told.startswith("labels/1.txt, line 1") and words in told


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("0 0.5 0.5 0 0.1", NO_SIZE),
        ("0 0.5 nan 0.1 0.1", NO_SIZE),
        ("0 1.5 0.5 0.2 0.2", OUTSIDE),
        ("0 1 0.5 0.4 0.2", CUT),
    ],
)
def test_a_box_that_cannot_be_is_counted(tmp_path: Path, line: str, decision: str) -> None:
    dataset = opened(yolo(tmp_path, line), SPOTS)
    assert dataset.decisions.files[decision] == ["images/1.png"]


# Masks


def masked(folder: Path, values: Any, mode: str = "L") -> Path:
    array = np.array(values, np.uint8)
    picture(folder / "images" / "1.png", (array.shape[1], array.shape[0]))
    (folder / "masks").mkdir(exist_ok=True)
    image = Image.fromarray(array)
    if mode == "P":
        image.putpalette([9, 90, 200] * 256)
    (image.convert(mode) if mode == "RGB" else image).save(folder / "masks" / "1.png")
    return folder


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_hold_indices(tmp_path: Path, mode: str) -> None:
    values = [[0, 1, 2], [255, 1, 0]]
    dataset = opened(masked(tmp_path, values, mode), FIELD)
    (sample,) = dataset.samples
    assert np.array_equal(read_mask(dataset.store, sample.mask, 3), values)


def test_a_mask_of_16_bits_holds_indices_too(tmp_path: Path) -> None:
    folder = masked(tmp_path, [[0, 1, 2]])
    values = np.array([[0, 1, 2]], np.uint16)
    Image.fromarray(values).save(folder / "masks" / "1.png")
    dataset = opened(folder, FIELD)
    (sample,) = dataset.samples
    assert np.array_equal(read_mask(dataset.store, sample.mask, 3), values)


def test_masks_of_black_and_white_are_not_passed_over_as_not_judged(tmp_path: Path) -> None:
    """The ordinary mask of one thing: 255 is that thing for its maker, and nothing for us."""
    folder = masked(tmp_path, [[0, 255, 255]])
    told = refused(folder, FIELD)
    assert "hold 0 and 255 alone, and 255 is not judged: save class indices, 1 for" in told
    opened(masked(tmp_path, [[0, 255, 1]]), FIELD)  # a border that is not judged


def test_masks_that_cannot_be_meant(tmp_path: Path) -> None:
    folder = masked(tmp_path, [[0, 3]])
    assert "masks/1.png holds class 3; the model has 3, from 0 on" in refused(folder, FIELD)
    masked(folder, [[0, 1]], "RGB")
    assert "has colours (mode RGB), no class indices" in refused(folder, FIELD)
    masked(folder, [[0, 1]])
    picture(folder / "images" / "1.png", (9, 9))
    assert "masks/1.png is 2x1, its picture 9x9" in refused(folder, FIELD)
    (folder / "masks" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    assert "cannot be read as a PNG" in refused(folder, FIELD)


# One .npz file


def arrays(path: Path, **given: Any) -> Path:
    np.savez(path, **{"sound": np.zeros((3, 1, 49, 10)), "word": np.array([0, 2, -1])} | given)
    return path


def test_an_npz_is_read_sample_by_sample(tmp_path: Path) -> None:
    dataset = opened(arrays(tmp_path / "a.npz"), WORD)
    assert dataset.take("word") == [0, 2, -1] and dataset.whole
    again = opened(tmp_path / "a.npz", WORD)
    assert [s.sha256 for s in again.samples] == [s.sha256 for s in dataset.samples]
    named = opened(arrays(tmp_path / "b.npz", word=np.array(["no", "stop", ""])), WORD)
    assert named.take("word") == [1, 2, -1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"word": np.array([0, 1, 3])}, "holds classes from 0 to 3; the model has 3"),
        ({"word": np.array(["yes", "stpo", "no"])}, "'stpo' is no class of word: did you mean"),
        ({"word": np.array([0.5, 1, 2])}, "'word' is float64 (3,)"),
        ({"word": np.array([0, 1])}, "3 of 'sound', 2 of 'word'"),
        ({"word": np.array(["a", None, 3], object)}, "or damaged"),
    ],
)
def test_an_npz_with_other_labels_is_one_line(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    assert words in refused(arrays(tmp_path / "a.npz", **given), WORD)


def test_an_npz_without_labels_or_damaged_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", sound=np.zeros((3, 4)))
    assert "it holds sound" in refused(tmp_path / "a.npz", WORD)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04rubbish")
    assert "is no .npz file, or damaged" in refused(tmp_path / "a.npz", WORD)
