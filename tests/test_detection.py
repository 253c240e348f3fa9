"""Detectors: what a row means, suppression, boxes in the picture, judging, whole conversions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import detector_models
import msgspec
import numpy as np
import pytest
import torch
from command_line import Cli, one_line_error
from numpy.typing import NDArray
from pictures import centred_square
from PIL import Image

from edgekit.annotation import COLOURS, Mark, annotated
from edgekit.artifact import load_artifact
from edgekit.conversion.loading import check_shapes
from edgekit.conversion.parity import judge
from edgekit.conversion.spec_files import read_spec
from edgekit.errors import BadModel
from edgekit.graph.scores import with_scores
from edgekit.onboard import runner
from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec

HERE = Path(__file__).parent
RNG = np.random.default_rng(3)
LABELS = ("cat", "dog", "owl")
SIZES = [(96, 64), (300, 200), (200, 300), (640, 97)]
Array = NDArray[Any]


def told(output: OutputSpec) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(output)
    return found


def output(**fields: Any) -> OutputSpec:
    boxes = {"format": "cxcywh", "overlap": 0.5} | fields.pop("boxes", {})
    scores = fields.pop("scores", "probabilities")
    return OutputSpec("x", "detection", LABELS, scores, boxes=Boxes(**boxes), **fields)


def rows_of(count: int = 40) -> Array:
    """(1, count, 7): centre, size and three scores."""
    boxes = np.concatenate([RNG.uniform(10, 90, (count, 2)), RNG.uniform(4, 30, (count, 2))], 1)
    rows: Array = np.concatenate([boxes, RNG.uniform(0, 1, (count, 3)) ** 3], 1)[None]
    return rows.astype(np.float32)


# What a row means


def test_every_form_says_the_same_boxes() -> None:
    rows = rows_of()
    plain = output()
    wanted = runner.read_with(told(plain), {"x": rows})
    boxes, scores = rows[..., :4], rows[..., 4:]
    low, size = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., 2:]
    both = np.concatenate([low, low + size], -1)
    forms: list[tuple[OutputSpec, dict[str, Array]]] = [
        (plain, {"x": rows.transpose(0, 2, 1)}),
        (output(boxes={"format": "xyxy"}), {"x": np.concatenate([both, scores], -1)}),
        (
            output(boxes={"format": "yxyx"}),
            {"x": np.concatenate([both[..., [1, 0, 3, 2]], scores], -1)},
        ),
        (
            output(boxes={"format": "xywh", "output": "b"}),
            {"x": scores.transpose(0, 2, 1), "b": np.concatenate([low, size], -1)},
        ),
        (output(boxes={"output": "b"}, scores="logits"), {"x": np.log(scores / (1 - scores)),
                                                          "b": boxes.transpose(0, 2, 1)}),
        (output(boxes={"row": "objectness"}),
         {"x": np.concatenate([boxes, np.full((1, 40, 1), 0.5), 2 * scores], -1)}),
    ]  # fmt: skip
    for form, values in forms:
        assert np.allclose(runner.read_with(told(form), values), wanted, atol=1e-4), form


def test_a_background_is_a_softmax_and_is_never_found() -> None:
    spec = output(boxes={"output": "b", "background": 0}, scores="logits")
    logits = np.array([[[9, 1, 1], [0, 3, 1]]], np.float32)
    boxes = np.array([[[5, 5, 4, 4], [50, 50, 4, 4]]], np.float32)
    rows = runner.read_with(told(spec), {"x": logits, "b": boxes})
    assert np.allclose(rows[0, :, 4:], torch.softmax(torch.from_numpy(logits[0]), -1))
    found, scores, classes = runner.detections(rows[0], told(spec), 0.5)
    assert classes.tolist() == [1] and scores[0] > 0.8 and found[0].tolist() == [48, 48, 52, 52]


def test_final_rows_are_taken_as_they_are() -> None:
    rows = np.array(
        [[[0, 0, 9, 9, 0.9, 1], [0, 0, 9, 9, 0.8, 1], [1, 1, 2, 2, 0.3, 0], [0, 0, 1, 1, 0, 7]]],
        np.float32,
    )
    spec = output(boxes={"format": "xyxy", "row": "final"})
    decided = runner.decide(runner.read_with(told(spec), {"x": rows}), told(spec))
    assert decided is not None
    assert [(b["label"], round(b["confidence"], 2)) for b in decided["boxes"]] == [
        ("dog", 0.9),
        ("dog", 0.8),
    ]
    apart = output(boxes={"format": "xyxy", "row": "final", "output": "b", "classes": "c"})
    values = {"x": rows[..., 4], "b": rows[..., :4], "c": rows[..., 5]}
    again = runner.read_with(told(apart), values)
    assert np.array_equal(again, rows)


def by_hand(boxes: Array, scores: Array, classes: Array, overlap: float) -> list[int]:
    """Suppression as one would write it with two loops."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        a = boxes[i]
        for j in kept:
            b = boxes[j]
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            shared = max(w, 0) * max(h, 0)
            whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            if classes[i] == classes[j] and shared / whole > overlap:
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.9])
def test_suppression_keeps_the_surest_of_each_label(overlap: float) -> None:
    spec = output(boxes={"overlap": overlap})
    rows = runner.read_with(told(spec), {"x": rows_of(200)})[0]
    boxes, scores, classes = runner.detections(rows, told(spec), 0.2)
    best = rows[:, 4:].max(1)
    sure = np.flatnonzero(best >= 0.2)
    label = rows[:, 4:].argmax(1)
    kept = sure[by_hand(rows[sure, :4], best[sure], label[sure], overlap)]
    assert np.array_equal(boxes, rows[kept, :4])
    assert np.array_equal(scores, best[kept]) and np.array_equal(classes, label[kept])
    assert 0 < len(kept) < len(sure) or overlap == 0.9
    _, every, _ = runner.detections(rows, told(spec), 0.2, every=True)
    assert len(every) > len(scores)


# Where the boxes are in the picture


@pytest.mark.parametrize("size", [(96, 64), (300, 200), (200, 300), (640, 97)])
@pytest.mark.parametrize(
    "frame",
    [
        InputSpec(64, 96),
        InputSpec(64, 64, resize_to=80),
        InputSpec(64, 96, fit="crop"),
        InputSpec(64, 64, fit="crop", resize_to=75),
        InputSpec(64, 96, fit="letterbox"),
    ],
)
def test_what_is_found_in_the_input_is_at_its_place_in_the_picture(
    tmp_path: Path, frame: InputSpec, size: tuple[int, int]
) -> None:
    """A white square around the picture's centre, found again in the pixels the network sees."""
    box = centred_square(tmp_path / "a.png", size)
    data = (tmp_path / "a.png").read_bytes()
    assert runner.picture_size(data) == size
    pixels = runner.decode_for(data, msgspec.to_builtins(frame))
    white = np.argwhere(pixels[..., 0] > 127)
    pixels_per = runner.framing(msgspec.to_builtins(frame), size)[0]
    (top, left), (bottom, right) = white.min(0), white.max(0) + 1
    spec = output(boxes={"format": "xyxy", "row": "final"})
    found = {"boxes": [{"label": "cat", "box": [left, top, right, bottom]}]}
    placed = runner.in_picture(found, told(spec), msgspec.to_builtins(frame), size)
    (item,) = placed["boxes"]
    seen = [side for side in range(4) if (left, top, right, bottom)[side] not in
            (0, (frame.width, frame.height)[side % 2])]  # fmt: skip
    assert seen
    for side in seen:
        assert abs(item["box"][side] - box[side]) <= 0.5 / pixels_per[side % 2] + 1e-6, side


def test_a_box_is_cut_at_the_edge_of_the_picture_or_left_out() -> None:
    frame = msgspec.to_builtins(InputSpec(64, 64, fit="letterbox"))
    spec = told(output(boxes={"format": "xyxy", "unit": "fractions"}))
    found = {"boxes": [{"box": [-0.1, 0.0, 0.5, 1.0]}, {"box": [0.1, 0.0, 0.9, 0.2]}]}
    placed = runner.in_picture(found, spec, frame, (128, 64))
    assert placed["boxes"] == [{"box": [0.0, 0.0, 64.0, 64.0]}]


def test_a_picture_on_its_side_has_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    assert runner.picture_size(data) == runner.upright(data).size == (20, 40)


def test_a_mark_is_drawn_where_it_is_said_the_first_on_top() -> None:
    picture = Image.new("RGB", (600, 480), "white")
    mark = Mark(box=(120, 150, 360, 300), lines=("cat 90%",), colour=2)
    drawn = annotated(picture, [mark, Mark(box=(120, 150, 240, 200), lines=(), colour=1)])
    colour = tuple(int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5))
    assert [drawn.getpixel(p) for p in ((120, 220), (120, 160), (240, 300))] == [colour] * 3
    assert drawn.getpixel((200, 250)) == drawn.getpixel((20, 20)) == (255, 255, 255)
    assert drawn.getpixel((123, 303)) == (16, 20, 24), "the words stand under the box"


# Judging


def judged(ours: Array, reference: Array, spec: OutputSpec | None = None) -> Any:
    images = tuple(map(str, range(len(reference))))
    return judge({"x": ours}, {"x": reference}, (spec or output(),), "int8", images)


def many(count: int = 8) -> Array:
    return np.concatenate([rows_of() for _ in range(count)])


def test_int8_is_judged_by_matched_boxes_and_their_scores() -> None:
    reference = many()
    near = reference + np.array([0.4, 0.4, 0.3, 0.3, 0.01, 0.01, 0.01], np.float32)
    record = judged(near, reference)
    assert record.passed and record.outputs[0].metric == "matched boxes"
    assert 0.97 < record.outputs[0].score < 1
    assert judged(reference, reference).outputs[0].score == 1
    moved = reference.copy()
    moved[..., :2] += 25
    shy = reference.copy()
    shy[..., 4:] *= 0.2
    for ruined in (moved, shy, reference * 0):
        assert not judged(ruined.astype(np.float32), reference).passed
    other = reference[..., [0, 1, 2, 3, 5, 6, 4]]
    assert not judged(other, reference).passed, "the right boxes with the wrong labels"


def test_boxes_that_one_side_invents_count_as_those_it_misses() -> None:
    reference = many()
    few = reference.copy()
    few[:, 20:, 4:] = 0
    missing, invented = (judged(*pair).outputs[0].score for pair in ((few, reference),
                                                                     (reference, few)))  # fmt: skip
    assert missing == pytest.approx(invented) and missing < 0.85


def test_a_model_that_finds_nothing_is_judged_by_what_comes_nearest_and_is_doubted() -> None:
    reference = many()
    reference[..., 4:] *= 0.1
    assert judged(reference, reference).doubts[0].startswith("'x' finds nothing on all 8 images")
    moved = reference.copy()
    moved[..., :2] += 30
    assert not judged(moved, reference).passed


def test_rows_that_change_places_are_the_same_answer_in_fp32() -> None:
    spec = output(boxes={"format": "xyxy", "row": "final"})
    rows = np.concatenate([rows_of()[..., :5], np.ones((1, 40, 1), np.float32)], -1)
    rows[..., 2:4] += rows[..., :2]
    rows[..., 4] = 0.5 + rows[..., 4] / 2
    images = ("a",)
    swapped = judge({"x": rows[:, ::-1]}, {"x": rows}, (spec,), "fp32", images)
    assert swapped.passed
    changed = rows + np.array([0, 0, 0, 0, 0.01, 0], np.float32)
    assert not judge({"x": changed}, {"x": rows}, (spec,), "fp32", images).passed


# Specs that do not fit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'give it boxes, { format = "xyxy" }'),
        (
            'boxes = { format = "ltrb" }',
            "unknown outputs[0].boxes.format 'ltrb': choose from cxcywh, xywh, xyxy, yxyx",
        ),
        ('boxes = { format = "xyxy", output = "where" }', "'where', no other output of the spec"),
        ('boxes = { format = "xyxy", classes = "c" }', "classes needs row = 'final'"),
        ('boxes = { format = "xyxy", overlap = 1.5 }', "overlap is an IoU"),
        ('boxes = { format = "xyxy", shape = 3 }', "unknown field"),
    ],
)
def test_a_detection_that_cannot_be_meant_is_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[input]\nheight = 8\nwidth = 8\n[[outputs]]\nname = "x"\nkind = "detection"\n'
        f'labels = ["a", "b"]\n{text}\n'
    )
    with pytest.raises(BadModel) as refused:
        read_spec(str(spec))
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("boxes", "shapes", "words"),
    [
        ({}, [(1, 84, 100)], "has shape (1, 84, 100), a detection of 3 labels with row = 'scores' "
         "needs (1, 7, N) or (1, N, 7)"),
        ({"row": "final"}, [(1, 100, 7)], "needs (1, 6, N) or (1, N, 6)"),
        ({"output": "b"}, [(1, 3, 100), (1, 100, 5)], "its boxes 'b' have shape (1, 100, 5)"),
        ({"output": "b"}, [(1, 3, 100), (1, 99, 4)], "of other numbers of boxes: 'x' (1, 3, 100)"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_both_named(
    boxes: dict[str, Any], shapes: list[tuple[int, ...]], words: str
) -> None:
    outputs = (output(boxes=boxes), *([OutputSpec("b")] if "output" in boxes else []))
    with pytest.raises(BadModel) as refused:
        check_shapes("net", ModelSpec(InputSpec(8, 8), outputs), shapes)
    assert words in str(refused.value)


def test_scores_are_found_out_without_the_boxes() -> None:
    rows = {"x": rows_of()}
    spec = ModelSpec(InputSpec(8, 8), (output(scores=None),))
    assert with_scores(spec, (False,), rows).outputs[0].scores == "probabilities"
    logits = {"x": rows["x"] * np.array([1, 1, 1, 1, 9, 9, 9], np.float32)}
    assert with_scores(spec, (False,), logits).outputs[0].scores == "logits"
    said = ModelSpec(InputSpec(8, 8), (output(scores="probabilities"),))
    with pytest.raises(BadModel, match="no probabilities"):
        with_scores(said, (False,), logits)


# Whole conversions


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("spots")
    known = {}
    for index in range(24):
        path = folder / f"{index:02d}.png"
        known[str(path)] = detector_models.spotted(path, SIZES[index % 3], index)
    return folder, known


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apart", "combined", "fractions", "final"])
def test_a_detector_is_proven_and_finds_what_is_there(
    cli: Cli, tmp_path: Path, spots: tuple[Path, dict[str, Any]], name: str
) -> None:
    folder, known = spots
    precisions = ["fp32"] if name == "final" else ["fp32", "int8"]
    done = cli(
        "convert", f"detector_models:{name}", "-o", tmp_path / "out", "--calibration", folder,
        "--backend", "onnx", "--json", "--precision", ",".join(precisions), cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    images = list(known)[:4]
    for precision in precisions:
        artifact = load_artifact(tmp_path / "out" / f"onnx-{precision}")
        answered = cli(
            "predict", *images, "-a", artifact.folder, "--json", "--save", tmp_path / precision
        )
        assert answered.returncode == 0, answered.stderr
        rows = json.loads(answered.stdout)["rows"]
        for image in images:
            found = [row for row in rows if row["image"] == image]
            assert len(found) == len(known[image]) == 3
            for label, box in known[image]:
                near = [
                    row
                    for row in found
                    if row["label"] == label
                    and abs(row["left"] + row["right"] - box[0] - box[2]) < (box[2] - box[0])
                    and abs(row["top"] + row["bottom"] - box[1] - box[3]) < (box[3] - box[1])
                ]
                assert len(near) == 1, (image, label, box, found)
            drawn = tmp_path / precision / f"{Path(image).stem}-boxes.png"
            with Image.open(drawn) as picture, Image.open(image) as original:
                assert picture.width * original.height == picture.height * original.width
                pixels = np.asarray(original.convert("RGB"))
                assert picture.tobytes() != original.resize(picture.size).tobytes()
            model = runner.load(artifact.folder)
            assert model(pixels) == model(image), "boxes of an array are in its own pixels"


@pytest.mark.slow
def test_a_detector_is_bundled_with_golden_answers(
    cli: Cli, tmp_path: Path, spots: tuple[Path, dict[str, Any]]
) -> None:
    from edgekit.data.images import open_images
    from edgekit.deployment.golden import write_golden

    done = cli(
        "convert", "detector_models:fractions", "-o", tmp_path / "out", "--calibration", spots[0],
        "--backend", "onnx", "--precision", "int8", "--json", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = load_artifact(tmp_path / "out" / "onnx-int8")
    write_golden(artifact, open_images(spots[0]), artifact.folder / "golden")
    limits = json.loads((artifact.folder / "golden" / "golden.json").read_text())["limits"]
    assert limits == {"corners": {}, "classes": {"min_score": 0.85}}
    assert runner.main(["golden", str(artifact.folder)]) == 0


def test_a_spec_of_other_labels_is_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "detector_models:four_labels", "-o", tmp_path / "out",
               "--backend", "onnx", "--precision", "fp32", cwd=HERE)  # fmt: skip
    assert "a detection of 4 labels with row = 'scores' needs (1, 4, N)" in one_line_error(done)
