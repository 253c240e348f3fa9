"""Sound, boxes and masks from labelled files to a score, by the commands as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import detector_models
import mask_models
import numpy as np
import pytest
import tensor_models
import torch
from command_line import Cli, one_line_error
from conftest import convert_once
from PIL import Image

from edgekit.artifact import load_artifact
from edgekit.onboard import runner
from edgekit.results import load_accuracy

HERE = Path(__file__).parent
WORDS = tensor_models.WORDS
SIZES = [(96, 64), (300, 200), (200, 300)]

pytestmark = pytest.mark.slow


def rows_of(done: Any) -> tuple[list[dict[str, Any]], list[str]]:
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    return answer["rows"], answer["notes"]


# Sound


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 sounds with the words that the network hears, every sixth of them labelled wrong."""
    folder = tmp_path_factory.mktemp("sounds")
    values = np.random.default_rng(5).normal(0, 3, (48, 1, 49, 10)).astype(np.float32)
    with torch.no_grad():
        words = tensor_models.spotter()[0](torch.from_numpy(values)).argmax(1).numpy()
    words[::6] = (words[::6] + 1) % 3
    np.savez(folder / "all.npz", spectrogram=values, word=words)
    (folder / "classes").mkdir()
    lines = ["file,word"]
    for at, (value, word) in enumerate(zip(values, words, strict=True)):
        place = folder / "classes" / WORDS[word]
        place.mkdir(exist_ok=True)
        np.save(place / f"{at:02d}.npy", value)
        lines.append(f"{WORDS[word]}/{at:02d}.npy,{WORDS[word]}")
    shutil.copytree(folder / "classes", folder / "listed")
    (folder / "listed" / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def spotter(tmp_path_factory: pytest.TempPathFactory, sounds: Path) -> Path:
    return convert_once(
        tmp_path_factory, "tensor_models:spotter", "--calibration", sounds / "all.npz",
        "--backend", "onnx", "--backend", "openvino", "--backend", "tflite",
        "--max-drop", "2", "--guard", sounds / "all.npz",
    )  # fmt: skip


def test_a_spotter_is_scored_alike_from_every_form_of_labels(
    cli: Cli, spotter: Path, sounds: Path
) -> None:
    for name in ("all.npz", "classes", "listed"):
        rows, notes = rows_of(cli("evaluate", spotter, "--data", sounds / name, "--json"))
        assert {row["precision"] for row in rows} == {"fp32", "int8"} and len(rows) == 6
        for row in rows:
            assert row["word_accuracy_count"] == 48
            wanted = 100 * 40 / 48
            assert row["word_accuracy"] == pytest.approx(wanted, abs=0.01 if row["precision"]
                                                         == "fp32" else 5)  # fmt: skip
        assert any("all of it: the model must not have learned" in note for note in notes)
    guarded = load_artifact(spotter / "onnx-int8").manifest.notes
    assert any(note.startswith("guard: drop ") and "on 48 images" in note for note in guarded)


def test_a_damaged_sample_costs_itself_and_a_wrong_one_is_named(
    cli: Cli, spotter: Path, sounds: Path, tmp_path: Path
) -> None:
    shutil.copytree(sounds / "classes", tmp_path / "some")
    (tmp_path / "some" / "yes" / "bad.npy").write_bytes(b"no array")
    np.save(tmp_path / "some" / "no" / "many.npy", np.zeros((5, 1, 49, 10)))
    rows, notes = rows_of(
        cli("evaluate", spotter / "onnx-fp32", "--data", tmp_path / "some", "--json")
    )
    assert rows[0]["images"] == 48
    assert any("2 samples could not be read" in note for note in notes)
    (tmp_path / "none" / "yes").mkdir(parents=True)
    np.save(tmp_path / "none" / "yes" / "a.npy", np.zeros((1, 1, 40, 10)))
    done = cli("evaluate", spotter / "onnx-fp32", "--data", tmp_path / "none")
    assert (
        "(yes/a.npy: its array 'spectrogram' is (1, 1, 40, 10), the model takes (1, 1, 49, 10))"
        in (one_line_error(done))
    )
    moved = cli("evaluate", spotter / "onnx-fp32", "--data", sounds / "all.npz", "--reframe")
    assert "this works with artifacts that take one image alone" in one_line_error(moved)


@pytest.mark.parametrize("backend", ["onnx", "openvino", "tflite"])
def test_a_spotter_is_explained(cli: Cli, spotter: Path, backend: str) -> None:
    done = cli("explain", spotter / f"{backend}-int8", "--json")
    assert done.returncode == 0, done.stderr
    findings, operators = (table["rows"] for table in json.loads(done.stdout))
    assert not any("pixels" in row["what"] for row in findings)
    assert len(operators) > 2 and sum(row["share_percent"] or 0 for row in operators) > 99


def test_two_inputs_are_explained_and_scored(cli: Cli, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    weather = draw.normal(size=(48, 1, 3)).astype(np.float32)
    photo = draw.integers(0, 256, (48, 24, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", weather=weather, photo=photo, word=np.zeros(48, int))
    done = cli(
        "convert", "tensor_models:both", "-o", tmp_path / "out", "--precision", "fp32",
        "--backend", "onnx", "--backend", "openvino", "--backend", "tflite",
        "--calibration", tmp_path / "all.npz", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows, _ = rows_of(cli("evaluate", tmp_path / "out", "--data", tmp_path / "all.npz", "--json"))
    assert len({row["word_accuracy"] for row in rows}) == 1
    for backend in ("onnx", "openvino", "tflite"):
        explained = cli("explain", tmp_path / "out" / f"{backend}-fp32", "--json")
        assert explained.returncode == 0, explained.stderr


# Boxes


def write_coco(folder: Path, known: dict[str, list[tuple[str, tuple[int, ...]]]]) -> None:
    images, annotations = [], []
    for at, (name, spots) in enumerate(known.items()):
        with Image.open(folder / name) as picture:
            images.append({"id": at, "file_name": name, "width": picture.width,
                           "height": picture.height})  # fmt: skip
        for label, (left, top, right, bottom) in spots:
            annotations.append(
                {"image_id": at, "category_id": 1 + detector_models.LABELS.index(label),
                 "bbox": [left, top, right - left, bottom - top]}
            )  # fmt: skip
    categories = [{"id": 1 + at, "name": name} for at, name in enumerate(detector_models.LABELS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "spots.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of spots as COCO has them and, in `yolo`, as YOLO."""
    folder = tmp_path_factory.mktemp("spots")
    for name in ("coco", "yolo/images", "yolo/labels"):
        (folder / name).mkdir(parents=True)
    known = {}
    for at in range(24):
        path = folder / "coco" / f"{at:02d}.png"
        size = SIZES[at % 3]
        known[path.name] = detector_models.spotted(path, size, at)
        shutil.copy(path, folder / "yolo" / "images" / path.name)
        lines = [
            f"{detector_models.LABELS.index(label)} {(b[0] + b[2]) / 2 / size[0]} "
            f"{(b[1] + b[3]) / 2 / size[1]} {(b[2] - b[0]) / size[0]} {(b[3] - b[1]) / size[1]}"
            for label, b in known[path.name]
        ]
        (folder / "yolo" / "labels" / f"{at:02d}.txt").write_text("\n".join(lines))
    write_coco(folder / "coco", known)
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory, spots: Path) -> Path:
    return convert_once(
        tmp_path_factory, "detector_models:apart", "--calibration", spots / "coco",
        "--backend", "onnx", "--max-drop", "5", "--guard", spots / "coco",
    )  # fmt: skip


def test_a_detector_is_scored_alike_from_coco_and_yolo(
    cli: Cli, detector: Path, spots: Path, tmp_path: Path
) -> None:
    scores = []
    for name in ("coco", "coco/spots.json", "yolo"):
        rows, notes = rows_of(
            cli("evaluate", detector, "--data", spots / name, "--json", "--workers", 2,
                "--results", tmp_path)
        )  # fmt: skip
        for row in rows:
            assert row["images"] == 24 and 90 < row["spots_mAP50"] <= 100
            assert row["spots_mAP50_95_low"] <= row["spots_mAP50_95"] <= row["spots_mAP50_95_high"]
        fp32, int8 = sorted(rows, key=lambda row: row["precision"])
        assert fp32["spots_mAP50_95_change_points"] is None
        assert "[" in int8["spots_mAP50_95_change_points"]
        assert any("pycocotools" in note for note in notes)
        scores.append([row["spots_mAP50_95"] for row in (fp32, int8)])
    assert scores[0] == scores[1] == pytest.approx(scores[2], abs=0.5)
    records, problems = load_accuracy(tmp_path)
    kept = {rated.measure: rated.percent for rated in records[0].ratings}
    assert not problems and kept["mAP50_95"] == pytest.approx(scores[0][0], abs=2)
    told = load_artifact(detector / "onnx-int8").manifest.notes
    assert any(note.startswith("guard: drop") and "on 24 images" in note for note in told)


def test_boxes_that_cannot_be_are_listed_beside_the_score(
    cli: Cli, detector: Path, spots: Path, tmp_path: Path
) -> None:
    shutil.copytree(spots / "coco", tmp_path / "coco")
    path = tmp_path / "coco" / "spots.json"
    content = json.loads(path.read_text())
    content["annotations"] += [
        {"image_id": 3, "category_id": 1, "bbox": [5, 5, 0, 9]},
        {"image_id": 3, "category_id": 1, "bbox": [900, 5, 9, 9]},
        {"image_id": 4, "category_id": 3, "bbox": [5, 5, 9, 9]},
    ]
    content["categories"].append({"id": 3, "name": "blues"})
    (tmp_path / "coco" / "05.png").unlink()
    path.write_text(json.dumps(content))
    shown = cli("evaluate", detector / "onnx-fp32", "--data", tmp_path / "coco")
    assert shown.returncode == 0, shown.stderr
    text = " ".join((shown.stdout + shown.stderr).split())
    assert "1 × box left out: it has no width or no height (03.png)" in text
    assert "1 × box left out: it lies outside of the picture (03.png)" in text
    assert "1 × box left out: the model has no 'blues' (did you mean blue?) (04.png)" in text
    assert "1 × image left out: missing or unreadable (05.png)" in text
    assert "spots mAP50-95" in text and "on 23 images" in text


def test_what_does_not_fit_a_detector_is_one_line(
    cli: Cli, detector: Path, spots: Path, sounds: Path, tmp_path: Path
) -> None:
    def told(data: Path, *more: str) -> str:
        return one_line_error(cli("evaluate", detector / "onnx-fp32", "--data", data, *more))

    assert "--reframe moves pictures and not their boxes" in told(spots / "coco", "--reframe")
    assert "COCO's JSON, or YOLO's images/ and labels/" in told(spots / "yolo" / "images")
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert "a.json is no JSON of COCO's form" in told(tmp_path / "a.json")
    assert "has no images in its val split" in told(spots / "coco", "--split", "val")
    guard = cli(
        "convert", "detector_models:apart", "-o", tmp_path / "out", "--backend", "onnx",
        "--calibration", spots / "coco", "--max-drop", "1", "--guard", tmp_path / "a.json",
        cwd=HERE,
    )  # fmt: skip
    assert "a.json is no JSON of COCO's form" in one_line_error(guard)


def test_a_board_s_answers_lie_in_the_picture(detector: Path, spots: Path) -> None:
    """However large the network says that a box is."""
    model = runner.load(detector / "onnx-fp32")
    own = model.invoke

    def enlarged(tensor: Any) -> list[Any]:
        boxes, scores = own(tensor)
        boxes = np.array(boxes)
        boxes[:, 2:] *= 40
        boxes[:, :2, ::2] -= 500
        return [boxes, scores]

    model.invoke = enlarged
    image = spots / "coco" / "01.png"
    with Image.open(image) as picture:
        width, height = picture.size
    for item in model(image)["spots"]["boxes"]:
        left, top, right, bottom = item["box"]
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


# Masks


@pytest.mark.parametrize("backend", ["onnx"])
def test_masks_are_scored_and_guarded(cli: Cli, tmp_path: Path, backend: str) -> None:
    data = mask_models.fields(tmp_path / "data", 24)
    done = cli(
        "convert", "mask_models:field", "-o", tmp_path / "out", "--backend", backend,
        "--calibration", data / "images", "--max-drop", "5", "--guard", data, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows, _ = rows_of(cli("evaluate", tmp_path / "out", "--data", data, "--json"))
    for row in rows:
        assert row["images"] == 24 and 70 < row["field_mIoU"] < 100
        assert row["field_mIoU_low"] < row["field_mIoU"] < row["field_mIoU_high"]
    told = load_artifact(tmp_path / "out" / f"{backend}-int8").manifest.notes
    assert any(note.startswith("guard: drop") for note in told)
