"""The accuracy guard: its arithmetic, and int8 artifacts it really repaired."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, one_line_error

from edgekit.artifact import load_artifact
from edgekit.conversion.guard import drop, guard_int8
from edgekit.graph import GuardSet
from edgekit.spec import Boxes, InputSpec, OutputSpec

HERE = Path(__file__).parent
OUTPUTS = (OutputSpec("x", "classification", ("a", "b")),)
LOGITS = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
PIXELS = np.zeros((4, 2, 2, 3), np.uint8)


def flipped(count: int) -> dict[str, np.ndarray]:
    """The reference's outputs with the first `count` decisions turned round."""
    wrong = LOGITS.copy()
    wrong[:count] = wrong[:count, ::-1]
    return {"x": wrong}


def test_the_drop_is_in_points_of_agreement_without_labels() -> None:
    guard = GuardSet(pixels=PIXELS, reference={"x": LOGITS}, labels={})
    assert drop(flipped(0), guard, OUTPUTS) == 0
    assert drop(flipped(1), guard, OUTPUTS) == 25


def test_the_drop_is_in_points_of_accuracy_with_labels() -> None:
    labels = np.array([1, 1, 0, -1])
    guard = GuardSet(pixels=PIXELS, reference={"x": LOGITS}, labels={"x": labels})
    assert drop(flipped(1), guard, OUTPUTS) == pytest.approx(-100 / 3), "a gain, for the better"
    assert drop(flipped(3), guard, OUTPUTS) == pytest.approx(100 / 3)


def test_without_labels_the_models_own_near_ties_cost_no_points() -> None:
    reference = LOGITS * np.array([[1], [1], [1], [0.01]], np.float32)
    guard = GuardSet(pixels=PIXELS, reference={"x": reference}, labels={})
    turned = reference[:, ::-1].copy()
    assert drop({"x": turned}, guard, OUTPUTS) == 75


def test_the_drop_is_in_points_of_map_where_boxes_are_labelled() -> None:
    """Two pictures of twice the network's size, with one thing each."""
    output = OutputSpec("x", "detection", ("a", "b"), "probabilities", boxes=Boxes(format="xyxy"))
    rows = np.zeros((2, 3, 6), np.float32)
    rows[:, 0] = [2, 2, 8, 8, 0.9, 0.1]
    truths = np.array([[0, 0, 4, 4, 16, 16, 144, 0], [1, 0, 4, 4, 16, 16, 144, 0]], np.float64)
    guard = GuardSet(
        pixels=PIXELS[:2],
        reference={"x": rows},
        labels={},
        boxes={"x": truths},
        sizes=np.array([[40, 40], [40, 40]]),
        frame=InputSpec(20, 20),
    )
    assert guard.labelled and drop({"x": rows}, guard, (output,)) == pytest.approx(0)
    lost = rows.copy()
    lost[1, 0, 4:] = [0, 0.9]  # the other label
    half = 100 * (1 - 51 / 101)  # recall 0.5 at precision 1: 51 of COCO's 101 recalls
    assert drop({"x": lost}, guard, (output,)) == pytest.approx(half)
    moved = rows.copy()
    moved[:, 0, :4] += 1  # IoU 25 / 47: right at the overlap of 0.5 alone
    assert drop({"x": moved}, guard, (output,)) == pytest.approx(90)
    first = guard.first(1)
    assert len(first.boxes["x"]) == len(first.pixels) == 1
    assert drop({"x": lost[:1]}, first, (output,)) == pytest.approx(0)


def test_the_drop_is_in_points_of_mean_iou_where_masks_are_labelled() -> None:
    output = OutputSpec("x", "segmentation", ("a", "b"))
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[:, :2] = 1
    scores = np.stack([mask == 0, mask == 1], 1).astype(np.float32)
    guard = GuardSet(
        pixels=PIXELS[:1], reference={"x": scores}, labels={}, masks={"x": mask},
        frame=InputSpec(4, 4),
    )  # fmt: skip
    assert drop({"x": scores}, guard, (output,)) == pytest.approx(0)
    assert drop({"x": scores[:, ::-1]}, guard, (output,)) == pytest.approx(100)


@pytest.mark.parametrize(("limit", "kept"), [(100.0, 0), (50.0, 1), (25.0, 2), (0.0, 3)])
def test_it_keeps_no_more_layers_in_float_than_it_must(limit: float, kept: int) -> None:
    guard = GuardSet(pixels=PIXELS, reference={"x": LOGITS}, labels={})
    hurts = {"one": 1, "two": 1, "three": 1}

    def run(keep_float: tuple[str, ...]) -> dict[str, np.ndarray]:
        return flipped(sum(harm for layer, harm in hurts.items() if layer not in keep_float))

    result = guard_int8(run, tuple(hurts), guard, OUTPUTS, limit, seconds=60)
    assert len(result.keep_float) == kept
    assert result.drop <= limit


def test_the_worst_layer_goes_first() -> None:
    guard = GuardSet(pixels=PIXELS, reference={"x": LOGITS}, labels={})
    hurts = {"harmless": 0, "harmful": 2, "mild": 1}

    def run(keep_float: tuple[str, ...]) -> dict[str, np.ndarray]:
        return flipped(sum(harm for layer, harm in hurts.items() if layer not in keep_float))

    result = guard_int8(run, tuple(hurts), guard, OUTPUTS, 25, seconds=60)
    assert result.keep_float == ("harmful",)


def test_out_of_time_says_so() -> None:
    guard = GuardSet(pixels=PIXELS, reference={"x": LOGITS}, labels={})
    result = guard_int8(lambda keep: flipped(2), ("one",), guard, OUTPUTS, 0, seconds=0)
    assert result.drop == 50
    assert "out of time" in result.reason


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnx", "tflite", "openvino", "ncnn"])
def test_a_real_artifact_is_brought_under_the_limit(
    cli: Cli, tmp_path: Path, pictures: Path, backend: str
) -> None:
    done = cli(
        "convert", "user_models:small", "--backend", backend, "--precision", "int8",
        "--calibration", pictures, "--guard", pictures, "--max-drop", "1", "--json",
        "-o", tmp_path / "out", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = load_artifact(tmp_path / "out" / f"{backend}-int8")
    (note,) = artifact.manifest.notes
    assert "guard: drop" in note and "48 images" in note
    assert note in " ".join(json.loads(done.stdout)["notes"])
    assert float(note.split("drop ")[1].split()[0]) <= 1


def test_damaged_labels_are_not_taken_for_plain_images(
    cli: Cli, tmp_path: Path, pictures: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    (data / "labels.csv").write_text("no such columns\n")
    done = cli(
        "convert", "user_models:small", "--backend", "onnx", "--precision", "int8", "--guard", data,
        "--max-drop", "1", "-q", "-o", tmp_path / "out", cwd=HERE,
    )  # fmt: skip
    assert "labels.csv" in one_line_error(done)


def test_a_limit_without_images_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "multitask-cnn", "--max-drop", "0.5", "-o", tmp_path / "out")
    assert "--guard" in one_line_error(done)
