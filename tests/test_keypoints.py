"""Keypoints: how they are read, placed in the picture, judged and drawn; whole conversions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import detector_models
import msgspec
import numpy as np
import pose_models
import pytest
import torch
from command_line import Cli, one_line_error
from numpy.typing import NDArray
from PIL import Image

from edgekit.annotation import GROUND, JOIN, POINT, Mark, annotated
from edgekit.artifact import load_artifact
from edgekit.conversion.loading import check_shapes
from edgekit.conversion.parity import judge
from edgekit.conversion.spec_files import read_spec
from edgekit.data import Dataset, SplitPlan, check_labels, open_dataset
from edgekit.data.dataset import TrueBox
from edgekit.errors import BadData, BadModel
from edgekit.evaluation.answer import Decision
from edgekit.graph.scores import with_scores
from edgekit.onboard import runner
from edgekit.scoring.boxes import FoundBoxes, match
from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec, Points

HERE = Path(__file__).parent
RNG = np.random.default_rng(7)
Array = NDArray[Any]
THREE = Points(count=3, values=3)


def told(output: OutputSpec) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(output)
    return found


def pose(points: Points = THREE, **boxes: Any) -> OutputSpec:
    form = Boxes(**({"format": "xyxy"} | boxes))
    return OutputSpec("x", "keypoints", ("cat", "dog"), "probabilities", boxes=form, points=points)


def landmarks(**fields: Any) -> OutputSpec:
    return OutputSpec("x", "keypoints", points=Points(**({"count": 3} | fields)))


def things(count: int = 20, images: int = 1) -> Array:
    """(images, count, 4 + 2 + 9): corners, two scores, and three points inside the box."""
    low = RNG.uniform(0, 400, (images, count, 2))
    side = RNG.uniform(30, 60, (images, count, 2))
    scores = RNG.uniform(0.3, 1, (images, count, 2))
    points = low[..., None, :] + side[..., None, :] * RNG.uniform(0, 1, (images, count, 3, 2))
    shown = RNG.uniform(0.6, 1, (images, count, 3, 1))
    three = np.concatenate([points, shown], -1).reshape(images, count, 9)
    return np.concatenate([low, low + side, scores, three], -1).astype(np.float32)


# How they are read


def test_every_form_says_the_same_points() -> None:
    rows = things()
    points = rows[..., 6:].reshape(1, 20, 3, 3)
    xy, shown = points[..., :2], points[..., 2]
    own = Points(count=3, output="p", shown="s")
    parts = {"x": rows[..., 4:6], "b": rows[..., :4]}
    forms: list[tuple[OutputSpec, dict[str, Array]]] = [
        (pose(), {"x": rows}),
        (pose(), {"x": rows.transpose(0, 2, 1)}),
        (pose(own, output="b"), {**parts, "p": xy.reshape(1, 20, 6), "s": shown}),
        (pose(own, output="b"),
         {**parts, "p": xy, "s": shown.transpose(0, 2, 1)}),
        (pose(Points(count=3, values=3, output="p"), output="b"),
         {**parts, "p": points.reshape(1, 20, 9).transpose(0, 2, 1)}),
        (pose(Points(count=3, values=3, output="p")), {"x": rows[..., :6], "p": points}),
    ]  # fmt: skip
    for form, values in forms:
        assert np.array_equal(runner.read_with(told(form), values), rows), form


def test_end_to_end_rows_keep_their_points() -> None:
    rows = things(4)
    final = np.concatenate(
        [rows[..., :4], [[[0.9, 1], [0.2, 0], [0.8, 0], [0.6, 1]]], rows[..., 6:]], -1
    ).astype(np.float32)
    spec = pose(row="final")
    decided = runner.decide(runner.read_with(told(spec), {"x": final}), told(spec))
    assert decided is not None
    assert [item["label"] for item in decided["boxes"]] == ["dog", "cat", "dog"]
    wanted = final[0, [0, 2, 3], 6:].reshape(3, 3, 3)
    assert np.array_equal([item["points"] for item in decided["boxes"]], wanted)


def test_points_go_with_the_box_that_suppression_keeps() -> None:
    rows = np.repeat(things(1), 3, axis=1)
    rows[0, :, 4:6] = [[0.6, 0.1], [0.9, 0.1], [0.7, 0.1]]
    rows[0, :, 6] = [10, 20, 30]
    decided = runner.decide(runner.read_with(told(pose()), {"x": rows}), told(pose()))
    assert decided is not None
    (item,) = decided["boxes"]
    assert item["confidence"] == pytest.approx(0.9) and item["points"][0][0] == 20


@pytest.mark.parametrize("shape", [(1, 3, 2), (1, 6)])
def test_landmarks_are_points_of_the_picture(shape: tuple[int, ...]) -> None:
    values = np.arange(6.0).reshape(shape)
    spec = landmarks()
    decided = runner.decide(runner.read_with(told(spec), {"x": values}), told(spec))
    assert decided == {"points": [[0, 1], [2, 3], [4, 5]]}
    said = msgspec.convert(decided, Decision)
    assert said.text == "3 points" and said.plain == ((0, 1), (2, 3), (4, 5))
    sure = landmarks(shown="s")
    values_of = {"x": values, "s": np.array([[0.9, 0.2, 0.5]])}
    decided = runner.decide(runner.read_with(told(sure), values_of), told(sure))
    assert msgspec.convert(decided, Decision).text == "2 of 3 points"


def test_points_are_in_pixels_of_the_picture_and_move_to_its_edge() -> None:
    frame = msgspec.to_builtins(InputSpec(64, 64, fit="letterbox"))
    found = {
        "boxes": [
            {"box": [0.0, 16.0, 32.0, 48.0], "points": [[32.0, 16.0, 0.9], [0.0, 0.0, 0.1]]},
            {"box": [0.0, 0.0, 9.0, 9.0], "points": [[0.0, 0.0, 1.0]]},
        ]
    }
    placed = runner.in_picture(found, told(pose()), frame, (128, 64))
    assert placed["boxes"] == [
        {"box": [0.0, 0.0, 64.0, 64.0], "points": [[64.0, 0.0, 0.9], [0.0, 0.0, 0.1]]}
    ], "the second box lies in the letterbox's edge"
    spec = told(landmarks(unit="fractions"))
    placed = runner.in_picture({"points": [[0.5, 0.25], [1.5, 0.5]]}, spec, frame, (128, 64))
    assert placed == {"points": [[64.0, 0.0], [128.0, 32.0]]}


# Judging


def judged(ours: Array, reference: Array, spec: OutputSpec) -> Any:
    images = tuple(map(str, range(len(reference))))
    return judge({"x": np.asarray(ours, np.float32)}, {"x": reference}, (spec,), "int8", images)


def test_the_similarity_is_coco_s() -> None:
    """By hand: area 10000, sigma 0.05, so k = 0.1 and 2 area k² = 200; a distance of 10 gives
    exp(-0.5)."""
    spec = told(landmarks())
    reference = np.array([[0, 0, 1], [50, 0, 1], [99, 9, 0.2]], np.float32)
    ours = reference + np.array([[6, 8, 0], [0, 0, 0], [40, 40, 0]], np.float32)
    wanted = (np.exp(-0.5) + 1) / 2
    assert runner.similarity(ours, reference, 1e4, spec) == pytest.approx(wanted), "the hidden one"
    unsure = ours - np.array([0, 0, 0.3], np.float32)
    unsure[2, 2] = 0.2
    assert runner.similarity(unsure, reference, 1e4, spec) == pytest.approx(0.7 * wanted)
    lenient = told(landmarks(sigmas=(0.1, 0.1, 0.1)))
    assert runner.similarity(ours, reference, 1e4, lenient) == pytest.approx(
        (np.exp(-0.125) + 1) / 2
    )


def test_int8_poses_are_judged_by_matched_boxes_and_points() -> None:
    reference = things(12, 6)
    spec = pose()
    assert judged(reference, reference, spec).outputs[0].score == 1
    near = reference.copy()
    near[..., 6:] += np.tile([0.5, 0.5, 0.0], 3)
    record = judged(near, reference, spec)
    assert record.passed and record.outputs[0].metric == "matched points"
    assert 0.9 < record.outputs[0].score < 1
    lost = reference.copy()
    lost[..., [6, 9, 12]] += 25
    hidden = reference.copy()
    hidden[..., [8, 11, 14]] = 0
    moved = reference.copy()
    moved[..., :4] += 70
    for ruined in (lost, hidden, moved):
        assert not judged(ruined, reference, spec).passed
    nothing = reference.copy()
    nothing[..., 4:6] = 0
    assert judged(nothing, nothing, spec).doubts[0].startswith("'x' finds nothing on all 6 images")


def test_int8_landmarks_are_judged_against_the_size_of_what_they_span() -> None:
    reference = RNG.uniform(0, 200, (8, 3, 2)).astype(np.float32)
    off = np.ones_like(reference)
    assert judged(reference + off, reference, landmarks()).passed
    assert not judged(reference + 30 * off, reference, landmarks()).passed
    assert not judged((reference + 30 * off) / 200, reference / 200, landmarks()).passed
    one = RNG.uniform(0, 200, (8, 1, 2)).astype(np.float32)
    assert judged(one + 1, one, landmarks(count=1)).passed, "one point has no size of its own"
    assert not judged(one + 60, one, landmarks(count=1)).passed


def test_fp32_is_held_to_rounding() -> None:
    rows = things(12, 6)
    images = tuple("abcdef")
    assert judge({"x": rows}, {"x": rows}, (pose(),), "fp32", images).passed
    assert not judge({"x": rows * np.float32(1.001)}, {"x": rows}, (pose(),), "fp32", images).passed


def test_scores_are_found_out_without_boxes_and_points() -> None:
    spec = ModelSpec(InputSpec(8, 8), (replace(pose(), scores=None),))
    found = with_scores(spec, (False,), {"x": things().transpose(0, 2, 1)}).outputs[0]
    assert found.scores == "probabilities"
    alone = ModelSpec(InputSpec(8, 8), (landmarks(),))
    assert (
        with_scores(alone, (True,), {"x": np.zeros((2, 3, 2), np.float32)}).outputs[0].scores
        is None
    )


# Specs that do not fit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'x' is keypoints: give it points, { count = 17, values = 3 }"),
        ("points = { count = 0 }", "points.count is a whole number from 1 to 10,000"),
        ("points = { count = 3, values = 4 }", "points.values is 2 (x, y) or 3"),
        ('points = { count = 3, values = 3, shown = "s" }', "are values = 2: x and y"),
        ("points = { count = 3, lines = [[0, 3]] }", "[0, 3]: points count from 0 to 2"),
        ("points = { count = 3, sigmas = [0.1] }", "points.sigmas has 1 values for 3 points"),
        ("points = { count = 1, sigmas = [0.0] }", "shares of a thing's size: over 0, at most 1"),
        ('points = { count = 3, output = "p" }', "points of the whole picture are its own"),
        ('points = { count = 3, shown = "s" }', "'s', no other output of the spec"),
        ('scores = "logits"\npoints = { count = 3 }', "it has no scores"),
        ('points = { count = 3 }\nboxes = { format = "xyxy" }', "give it labels"),
        (
            'labels = ["a"]\npoints = { count = 3 }\nboxes = { format = "xyxy", output = "b" }',
            "points are too: give points.output",
        ),
        (
            'labels = ["a"]\npoints = { count = 3, unit = "fractions" }\n'
            'boxes = { format = "xyxy" }',
            "boxes and points need one unit",
        ),
    ],
)  # fmt: skip
def test_keypoints_that_cannot_be_meant_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[input]\nheight = 8\nwidth = 8\n[[outputs]]\nname = "x"\nkind = "keypoints"\n' + text
    )
    with pytest.raises(BadModel) as refused:
        read_spec(str(spec))
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("output", "shapes", "words"),
    [
        (pose(), [(1, 84, 100)], "keypoints of 2 labels with row = 'scores' needs (1, 15, N) or "
         "(1, N, 15), 9 of each row for its points"),
        (landmarks(), [(1, 4, 2)], "3 points of 2 values need (1, 3, 2) or (1, 6)"),
        (pose(Points(count=3, output="p"), output="b"), [(1, 2, 9), (1, 4, 9), (1, 9, 9)],
         "its points' output 'p' has shape (1, 9, 9), needed is (1, N, 6)"),
        (pose(Points(count=3, output="p"), output="b"), [(1, 2, 9), (1, 4, 9), (1, 6, 8)],
         "of other numbers of boxes: 'x' (1, 2, 9), 'b' (1, 4, 9), 'p' (1, 6, 8)"),
        (landmarks(shown="s"), [(1, 3, 2), (1, 4)],
         "its points' output 's' has shape (1, 4), needed is (1, 3)"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_both_named(
    output: OutputSpec, shapes: list[tuple[int, ...]], words: str
) -> None:
    outputs = (output, *map(OutputSpec, output.parts))
    with pytest.raises(BadModel) as refused:
        check_shapes("net", ModelSpec(InputSpec(8, 8), outputs), shapes)
    assert words in str(refused.value)


def test_pixels_where_probabilities_are_said_are_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "pose_models:unsure", "-o", tmp_path / "out", "--backend", "onnx",
               "--precision", "fp32", cwd=HERE)  # fmt: skip
    said = one_line_error(done)
    assert "'shown' goes from 0.9 to 8.1, no probability: let forward apply a sigmoid" in said


# Drawing


def test_points_that_show_are_drawn_and_joined() -> None:
    mark = Mark(box=None, lines=(), points=((100, 100), None, (300, 100)), joins=((0, 2), (0, 1)))
    drawn = annotated(Image.new("RGB", (600, 480), "white"), [mark])
    assert drawn.getpixel((100, 100)) == drawn.getpixel((300, 100)) == POINT
    assert drawn.getpixel((200, 100)) == JOIN
    assert drawn.getpixel((0, 240)) == (255, 255, 255) != GROUND, "nothing is said of the whole"


# Labelled data


def labelled(folder: Path, line: str) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    Image.new("RGB", (200, 100)).save(folder / "images" / "1.png")
    (folder / "labels" / "1.txt").write_text(line + "\n")
    return folder


def opened(path: Path) -> Dataset:
    dataset = open_dataset(str(path), SplitPlan(judging=True), outputs=(pose(),))
    check_labels(dataset, (pose(),))
    return dataset


def test_yolo_s_points_are_read_with_and_without_a_mark(tmp_path: Path) -> None:
    box = "1 0.5 0.5 0.2 0.4"
    (item,) = opened(labelled(tmp_path / "a", f"{box} .1 .2 2 .3 .4 1 0 0 0")).samples[0].boxes
    assert item.index == 1 and item.area == pytest.approx(40 * 40 * 0.53)
    assert list(item.points) == [(20, 20, 2), (60, 40, 1), (0, 0, 0)]
    (item,) = opened(labelled(tmp_path / "b", f"{box} .1 .2 .3 .4 0 0")).samples[0].boxes
    assert list(item.points) == [(20, 20, 2), (60, 40, 2), (0, 0, 0)]
    with pytest.raises(BadData) as refused:
        opened(labelled(tmp_path / "c", f"{box} .1 .2 2 .3"))
    assert str(refused.value) == (
        "labels/1.txt, line 1 has 4 numbers after its box; the model has 3 points: give 6 or 9"
    )


def test_coco_s_keypoints_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "1.png")
    thing = {"image_id": 1, "category_id": 4, "bbox": [80, 30, 40, 40], "area": 900}
    points = [20, 20, 2, 60, 40, 1, 0, 0, 0]
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "1.png", "width": 200, "height": 100}],
        "annotations": [{**thing, "keypoints": points}, thing],
        "categories": [{"id": 4, "name": "dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    marked, plain = opened(tmp_path).samples[0].boxes
    assert list(marked.points) == [(20, 20, 2), (60, 40, 1), (0, 0, 0)]
    assert marked.area == 900
    assert list(plain.points) == [(0, 0, 0)] * 3
    content["annotations"][0]["keypoints"] = points[:6]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(BadData, match=r"annotation 0 has 6 numbers as keypoints; the model has 3"):
        opened(tmp_path)


def test_points_are_scored_by_coco_s_similarity() -> None:
    """By hand: every point is off by d, so that OKS is exp(-d²/(2 area k²)) = 0.72: right at five
    of the ten overlaps from 0.5 to 0.95."""
    area, truths, found = 1600.0, [], []
    off = float(np.sqrt(-2 * area * 0.1**2 * np.log(0.72)))
    for at in range(4):
        box = (10.0 + at, 10.0, 50.0 + at, 50.0)
        points = [(20.0 + at, 20.0), (30.0, 40.0), (45.0, 15.0)]
        marked = tuple((x, y, 2.0) for x, y in points)
        truths.append([TrueBox(index=0, box=box, area=area, points=marked)])
        moved = [[x + off, y, 0.9] for x, y in points]
        found.append(FoundBoxes(boxes=[list(box)], scores=[0.9], classes=[0], points=[moved]))
    assert match(found, truths, 1).map50_95 == pytest.approx(1)
    by_points = match(found, truths, 1, (0.05,) * 3)
    assert (by_points.map50_95, by_points.map50) == pytest.approx((0.5, 1))
    assert by_points.measure(np.ones(4, np.int64)) == pytest.approx((0.5, 1))


# Whole conversions


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poses", "joined"])
def test_poses_are_proven_and_found_in_the_picture(cli: Cli, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "spots"
    folder.mkdir()
    size = (300, 200)
    known = {
        str(folder / f"{at:02d}.png"): detector_models.spotted(folder / f"{at:02d}.png", size, at)
        for at in range(12)
    }
    done = cli("convert", f"pose_models:{name}", "-o", tmp_path / "out", "--calibration", folder,
               "--backend", "onnx", "--precision", "fp32,int8", "--json", cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for precision in ("fp32", "int8"):
        artifact = load_artifact(tmp_path / "out" / f"onnx-{precision}")
        image = next(iter(known))
        answered = cli("predict", image, "-a", artifact.folder, "--json", "--save", tmp_path,
                       "--csv", tmp_path / "a.csv")  # fmt: skip
        assert answered.returncode == 0, answered.stderr
        rows = json.loads(answered.stdout)["rows"]
        assert len(rows) == len(known[image]) == 3
        for row in rows:
            middle, corner, hidden = row["points"]
            width = row["right"] - row["left"]
            near = 0.1 * width + 2
            assert abs(middle[0] - (row["left"] + row["right"]) / 2) < near
            assert abs(corner[0] - row["left"]) < near and abs(corner[1] - row["top"]) < near
            assert middle[2] > 0.7 and hidden[2] < 0.3
        assert "[[" in (tmp_path / "a.csv").read_text()
        with Image.open(tmp_path / f"{Path(image).stem}-boxes.png") as drawn:
            scale = drawn.width / size[0]
            for row in rows:
                x, y = (round(number * scale) for number in row["points"][0][:2])
                assert drawn.getpixel((x, y)) == POINT
        table = cli("predict", image, "-a", artifact.folder)
        assert "2 of 3 points" in table.stdout
    if name == "poses":
        data = pose_labels(tmp_path / "data", known, size)
        done = cli("evaluate", tmp_path / "out", "--data", data, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        for row in json.loads(done.stdout)["rows"]:
            assert row["scores_points_mAP50"] > 90 and row["scores_mAP50"] > 90, row


def pose_labels(folder: Path, known: dict[str, Any], size: tuple[int, int]) -> Path:
    """Write YOLO's files of pictures with spots, their points where the network puts them."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for image, spots in known.items():
        Image.open(image).save(folder / "images" / Path(image).name)
        lines = []
        for label, box in spots:
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            wide, high = box[2] - box[0], box[3] - box[1]
            side = (4 + 8 * 230 / 255) / 8
            corner = x - side * wide / 2, y - side * high / 2
            index = detector_models.LABELS.index(label)
            pixels = (x, y, wide, high), (x, y), corner
            shares = [[v / size[at % 2] for at, v in enumerate(part)] for part in pixels]
            numbers = [index, *shares[0], *shares[1], 2, *shares[2], 2, 0, 0, 0]
            lines.append(" ".join(map(str, numbers)))
        text = "\n".join(lines) + "\n"
        (folder / "labels" / Path(image).with_suffix(".txt").name).write_text(text)
    return folder


@pytest.mark.slow
def test_landmarks_go_to_a_golden_bundle(cli: Cli, tmp_path: Path) -> None:
    from edgekit.data.images import open_images
    from edgekit.deployment.golden import write_golden

    folder = tmp_path / "marks"
    folder.mkdir()
    for at in range(12):
        picture = Image.new("RGB", (64, 48), (60, 60, 60))
        picture.paste((250, 60, 60), (4 + 2 * at, 10, 12 + 2 * at, 18))
        picture.paste((60, 60, 250), (30, 6 + 2 * at, 38, 14 + 2 * at))
        picture.save(folder / f"{at:02d}.png")
    done = cli("convert", "pose_models:landmarks", "-o", tmp_path / "out", "--calibration", folder,
               "--backend", "onnx", "--precision", "fp32", "--json", cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    artifact = load_artifact(tmp_path / "out" / "onnx-fp32")
    answer = runner.load(artifact.folder)(folder / "03.png")["marks"]
    (red, blue) = answer["points"]
    assert np.allclose(red, [14, 14], atol=1) and np.allclose(blue, [34, 16], atol=1)
    table = cli("predict", folder / "03.png", "-a", artifact.folder, "--save", tmp_path)
    assert "2 points" in table.stdout and table.returncode == 0, table.stderr
    with Image.open(tmp_path / "03-boxes.png") as drawn:
        scale = drawn.width / 64
        assert drawn.getpixel((round(red[0] * scale), round(red[1] * scale))) == POINT
    write_golden(artifact, open_images(folder), artifact.folder / "golden")
    assert runner.main(["golden", str(artifact.folder)]) == 0


def test_landmarks_of_a_face_are_in_the_photograph() -> None:
    moved = runner._moved({"points": [[1.0, 2.0, 0.5]]}, 30, 40)
    assert moved == {"points": [[31.0, 42.0, 0.5]]}
    moved = runner._moved({"boxes": [{"box": [0, 0, 4, 5], "points": [[1, 2]]}]}, 30, 40)
    assert moved == {"boxes": [{"box": [30, 40, 34, 45], "points": [[31, 42]]}]}


def test_a_network_s_points_are_torch_s_own() -> None:
    """The hand-made network's two forms say the same, which the conversions rest on."""
    image = torch.rand(1, 3, 64, 96)
    apart, whole = pose_models.Poses()(image), pose_models.Joined()(image)
    assert whole.shape == (1, 4 + 2 + 9, 96)
    assert torch.equal(whole[:, 6:8], apart["points"][:, :2])
