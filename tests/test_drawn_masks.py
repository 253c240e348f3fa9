"""Segmentations drawn over their pictures: each class where it is, in a colour of its own."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import mask_models
import msgspec
import numpy as np
import pytest
from command_line import Cli
from numpy.typing import NDArray
from pictures import centred_square
from PIL import Image

from edgekit.annotation import COLOURS, Mask, annotated, colour_of
from edgekit.evaluation.answer import ClassMap
from edgekit.evaluation.drawing import over_picture
from edgekit.onboard import runner
from edgekit.spec import InputSpec

HERE = Path(__file__).parent


def packed(classes: NDArray[Any]) -> ClassMap:
    places = zlib.compress(classes.astype("<u2").tobytes())
    return ClassMap(height=classes.shape[0], width=classes.shape[1], classes=places)


@pytest.mark.parametrize("size", [(96, 64), (300, 200), (200, 300), (640, 97)])
@pytest.mark.parametrize(
    "frame",
    [
        InputSpec(64, 96),
        InputSpec(64, 64, resize_to=80),
        InputSpec(64, 96, fit="crop"),
        InputSpec(64, 96, fit="letterbox"),
    ],
)
def test_a_class_lies_where_it_is_in_the_picture(
    tmp_path: Path, frame: InputSpec, size: tuple[int, int]
) -> None:
    """A white square around the centre is found by the pixels the network sees, and put back."""
    width, height = size
    centred_square(tmp_path / "a.png", size)
    data = (tmp_path / "a.png").read_bytes()
    pixels = runner.decode_for(data, msgspec.to_builtins(frame))
    found = over_picture(packed(pixels[..., 0] > 127), frame, size)
    assert found.shape == (height, width)
    white = np.asarray(Image.open(tmp_path / "a.png"))[..., 0] > 0
    scales, _ = runner.framing(msgspec.to_builtins(frame), size)
    border = sum((44 if axis else 40) / scales[axis] for axis in (0, 1)) + 8
    wrong = (found == 1) != white
    assert wrong[found >= 0].sum() <= border, "no more than one pixel along the square's sides"
    outside = found < 0
    if frame.fit != "crop" and frame.resize_to is None:
        assert not outside.any()
    elif abs(width / height - frame.width / frame.height) > 0.1:
        assert outside.any() and not (outside & white).all()


def test_classes_have_a_colour_and_what_is_no_class_has_none() -> None:
    classes = np.array([[0, 1], [12, -1]])
    mask = Mask(classes=classes, names={1: "cat 25%", 12: "dog 25%"}, listed=1)
    drawn = annotated(Image.new("RGB", (600, 600), "white"), [], [mask])
    seen = np.asarray(drawn).astype(int)
    assert drawn.getpixel((200, 200)) == drawn.getpixel((500, 500)) == (255, 255, 255)
    for (x, y), index in (((500, 100), 1), ((100, 500), 12)):
        half = (255 + np.array(colour_of(index))) / 2
        assert np.abs(seen[y, x] - half).max() <= 1, index
    swatch = tuple(int(COLOURS[1][i : i + 2], 16) for i in (1, 3, 5))
    assert drawn.getpixel((12, 15)) == swatch, "the first class is named with its colour"
    assert len({colour_of(index) for index in range(40)}) == 40


@pytest.mark.slow
def test_predict_draws_what_a_segmentation_says(cli: Cli, tmp_path: Path) -> None:
    land = mask_models.fields(tmp_path / "land", 12)
    done = cli("convert", "mask_models:field", "-o", tmp_path / "out", "--backend", "onnx",
               "--calibration", land / "images", "--precision", "fp32", "--json",
               cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    image = land / "images" / "03.png"
    said = cli("predict", image, "-a", tmp_path / "out" / "onnx-fp32", "--save", tmp_path / "drawn",
               "--annotate", tmp_path / "one.png", "--json")  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert set(json.loads(said.stdout)["rows"][0]["field"]) == set(mask_models.LABELS)
    truth = np.asarray(Image.open(land / "masks" / "03.png"))
    for path in (tmp_path / "drawn" / "03-boxes.png", tmp_path / "one.png"):
        with Image.open(path) as drawn, Image.open(image) as original:
            small = np.asarray(drawn.resize(original.size)).astype(int)
            plain = np.asarray(original.convert("RGB")).astype(int)
        for label in (1, 2):
            rows, columns = np.nonzero(truth == label)
            y, x = int(np.median(rows)), int(np.median(columns))
            wanted = (plain[y, x] + np.array(colour_of(label))) / 2
            assert np.abs(small[y, x] - wanted).max() < 12
