"""Faces in photographs: found, cut out as the network was trained, answered, drawn; or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from command_line import Cli, one_line_error
from PIL import Image
from skimage import data

from edgekit import zoo
from edgekit.annotation import LEAST_SIDE, Mark, annotated, save_annotated
from edgekit.conversion.calibration import load_recipe, load_samples
from edgekit.conversion.spec_files import read_spec
from edgekit.data.images import check_findable, content_hash
from edgekit.errors import BadModel, MissingPackage, UserError
from edgekit.onboard import runner
from edgekit.spec import InputSpec

SPEC = zoo.spec("multitask-cnn", "classification").image
ASKED: dict[str, Any] = msgspec.to_builtins(SPEC)
FACE = (173, 74, 272, 173)
"""The astronaut's face as UTKFace's makers would have cut it (data/sample_images.py)."""


def picture_of(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)())


def astronaut() -> Image.Image:
    return picture_of("astronaut")


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def frames(encoded: bytes) -> list[list[float]]:
    return [frame for frame, _ in runner.decode_faces(encoded, ASKED)]


def is_at(frame: list[float], place: tuple[float, ...]) -> bool:
    """Tell whether a frame is a place, give or take a tenth of its side."""
    return bool(np.abs(np.subtract(frame, place)).max() <= 0.1 * (place[2] - place[0]))


def test_a_face_is_cut_out_as_the_training_data_are() -> None:
    ((frame, pixels),) = runner.decode_faces(encode(astronaut()), ASKED)
    assert is_at(frame, FACE)
    crop = runner.decode_for(encode(astronaut().crop(FACE)), ASKED)
    unlike = np.abs(pixels.astype(int) - crop).mean()
    assert unlike < 0.5 * np.abs(runner.decode_for(encode(astronaut()), ASKED) - crop).mean()


def test_a_picture_that_is_a_crop_keeps_its_pixels_to_the_bit() -> None:
    for side in (64, 99, 200):
        crop = encode(astronaut().crop(FACE).resize((side, side)), "JPEG")
        ((frame, pixels),) = runner.decode_faces(crop, ASKED)
        assert frame == [0, 0, side, side]
        assert np.array_equal(pixels, runner.decode_for(crop, ASKED))


SAME = {
    "grey": lambda: encode(astronaut().convert("L")),
    "CMYK": lambda: encode(astronaut().convert("CMYK"), "JPEG"),
    "16 bits": lambda: encode(
        Image.fromarray(np.asarray(astronaut().convert("L")).astype(np.uint16) * 257)
    ),
    "see-through": lambda: encode(astronaut().convert("RGBA")),
    "49 megapixels": lambda: encode(astronaut().resize((7000, 7000)), "JPEG"),
}


@pytest.mark.parametrize("kind", SAME)
def test_every_kind_of_picture_shows_the_same_face(kind: str) -> None:
    encoded = SAME[kind]()
    scale = Image.open(io.BytesIO(encoded)).width / 512
    (frame,) = frames(encoded)
    assert is_at(frame, tuple(edge * scale for edge in FACE))


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_picture_stored_on_its_side_is_searched_upright(tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    stored = astronaut()
    if tag > 1:
        turn = Image.Transpose[runner._TURNS[tag - 2]]
        back = {Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
                Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90}  # fmt: skip
        stored = stored.transpose(back.get(turn, turn))
    (frame,) = frames(encode(stored, "JPEG", exif=exif, quality=95))
    assert is_at(frame, FACE)


def test_fifty_faces_are_fifty_answers() -> None:
    crop = astronaut().crop((140, 40, 310, 210)).resize((150, 150))
    tile = Image.new("RGB", (1500, 750))
    for index in range(50):
        tile.paste(crop, (index % 10 * 150, index // 10 * 150))
    assert len(frames(encode(tile))) == 50


NOT_A_FACE: dict[str, Callable[[], Image.Image]] = {
    "one pixel": lambda: Image.new("RGB", (1, 1)),
    "one row": lambda: Image.new("RGB", (900, 1)),
    "a flat colour": lambda: Image.new("RGB", (300, 200), "red"),
    "a cat": lambda: picture_of("chelsea"),
    "coffee": lambda: picture_of("coffee"),
    "a rocket": lambda: picture_of("rocket"),
    "a page": lambda: picture_of("page"),
}


@pytest.mark.parametrize("kind", NOT_A_FACE)
def test_where_there_is_no_face_there_is_no_answer(kind: str) -> None:
    with pytest.raises(runner.NoFace, match="no face found"):
        runner.decode_faces(encode(NOT_A_FACE[kind]()), ASKED)


def test_the_largest_face_is_the_subject() -> None:
    scene = Image.new("RGB", (700, 512), "grey")
    scene.paste(astronaut().crop(FACE).resize((120, 120)), (560, 20))
    scene.paste(astronaut(), (0, 0))
    small = astronaut().crop((140, 40, 310, 210))
    scene.paste(small.resize((140, 140)), (540, 300))
    encoded = encode(scene)
    found = runner.decode_faces(encoded, ASKED)
    assert len(found) >= 2
    largest = max(found, key=lambda item: item[0][2] - item[0][0])
    assert np.array_equal(runner.decode_subject(encoded, ASKED), largest[1])
    assert [item[0][0] for item in found] == sorted(item[0][0] for item in found)


def test_threads_may_search_at_once() -> None:
    """One detector in two threads ended the process."""
    encoded = encode(astronaut())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(frames, [encoded] * 24))
    assert found == [frames(encoded)] * 24


def test_a_frame_outside_of_its_picture_repeats_the_edge() -> None:
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    cut = np.asarray(runner.cut_out(picture, [-2, 1, 4, 7]))
    assert cut.shape == (6, 6)
    assert cut[0].tolist() == [4, 4, 4, 5, 6, 7] and cut[-1].tolist() == [12, 12, 12, 13, 14, 15]
    outside = np.asarray(runner.cut_out(picture, [10, 10, 13, 13]))
    assert outside.tolist() == [[15] * 3] * 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("margin = 0.1", 'say subject = "face"'),
        ('subject = "face"\nmargin = 9.0', "from -0.5 to 4"),
        ('subject = "face"\nshift = -2.0', "shift, from -1 to 1"),
        ('subject = "dog"', "subject"),
    ],
)
def test_a_spec_that_says_nonsense_of_its_subject_is_refused(
    tmp_path: Path, words: str, says: str
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(f'[input]\nheight = 8\nwidth = 8\n{words}\n[[outputs]]\nname = "a"\n')
    with pytest.raises(BadModel, match=says):
        read_spec(str(spec))


def test_every_network_of_the_zoo_takes_faces() -> None:
    for name, system in zoo.systems().items():
        for variant in system.variants:
            spec = zoo.spec(name, variant).image
            assert (spec.subject, spec.margin, spec.shift) == ("face", 0.12, 0.01), name


def test_what_cannot_be_found_is_said_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="has no subject to find"):
        check_findable(InputSpec(8, 8))
    with pytest.raises(UserError, match="has no subject to find"):
        check_findable(None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'edgekit-deploy\[faces\]'"):
        check_findable(SPEC)


def test_calibration_takes_the_faces_of_photographs(tmp_path: Path) -> None:
    photo = encode(astronaut())
    (tmp_path / "a.png").write_bytes(photo)
    (tmp_path / "cat.png").write_bytes(encode(picture_of("chelsea")))
    samples = load_samples(tmp_path, load_recipe("default"), SPEC, find=True)
    assert samples.hashes == (content_hash(photo),)
    assert np.array_equal(samples.pixels[0], runner.decode_subject(photo, ASKED))
    assert any("cat.png (no face found)" in line for line in samples.warnings)


# The commands


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    astronaut().save(folder / "astronaut.jpg", quality=95)
    picture_of("chelsea").save(folder / "cat.png")
    return folder


def test_predict_answers_a_photograph_and_draws_it(
    cli: Cli, converted: Path, photos: Path, tmp_path: Path
) -> None:
    ask = ("predict", photos / "astronaut.jpg", "-a", converted / "onnx-fp32")
    done = cli(*ask, "--annotate", tmp_path / "drawn.png", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert is_at(row["box"], FACE)
    assert row["gender"] in {"male", "female"} and 0.5 <= row["gender_confidence"] <= 1
    drawn = np.asarray(Image.open(tmp_path / "drawn.png")).astype(int)
    changed = np.abs(drawn - np.asarray(astronaut())).max(2) > 100
    left, top, right, bottom = map(int, row["box"])
    assert changed[top, left + 5 : right - 5].mean() > 0.9, "the box's upper edge"
    assert not changed[: top - 5].any() and changed[bottom + 4 : bottom + 30].any()
    shown = cli(*ask).stdout
    assert "1 of 1" in shown and "female (" in shown


def test_predict_says_where_there_is_no_face(cli: Cli, converted: Path, photos: Path) -> None:
    use = ("-a", converted / "onnx-fp32")
    alone = cli("predict", photos / "cat.png", *use)
    assert alone.returncode == 2
    assert "no face found in" in one_line_error(alone) and not alone.stdout
    both = cli("predict", photos / "cat.png", photos / "astronaut.jpg", *use, "--json")
    said = json.loads(both.stdout)
    assert [Path(row["image"]).name for row in said["rows"]] == ["astronaut.jpg"]
    assert any("no face found" in note and "cat.png" in note for note in said["notes"])
    whole = json.loads(cli("predict", photos / "cat.png", "--whole", *use, "--json").stdout)
    assert whole["rows"][0]["age_confidence"] is None
    assert "is no face crop" in whole["notes"][0]


@pytest.mark.parametrize(
    ("size", "says"),
    [((1, 1), "no face found"), ((10_000, 10_000), "image of 10000x10000 pixels: over 50000000")],
)
def test_predict_refuses_what_it_cannot_take_in_one_line(
    cli: Cli, converted: Path, tmp_path: Path, size: tuple[int, int], says: str
) -> None:
    Image.new("1", size).save(tmp_path / "odd.png")
    done = cli("predict", tmp_path / "odd.png", "-a", converted / "onnx-fp32")
    assert done.returncode == 2 and says in one_line_error(done)


def test_predict_withholds_what_is_not_sure_enough(cli: Cli, converted: Path, photos: Path) -> None:
    ask = ("predict", photos / "astronaut.jpg", "-a", converted / "onnx-fp32", "--json")
    said = json.loads(cli(*ask, "--abstain", "1").stdout)
    (row,) = said["rows"]
    assert row["age"] is None and row["gender"] is None and 0 < row["age_confidence"] < 1
    assert any("2 of 2 answers are withheld" in note for note in said["notes"])
    (sure,) = json.loads(cli(*ask, "--abstain", "0").stdout)["rows"]
    assert sure["age"] is not None


def test_annotate_wants_one_picture_and_a_picture_s_ending(
    cli: Cli, converted: Path, photos: Path, tmp_path: Path
) -> None:
    use = ("-a", converted / "onnx-fp32", "--annotate")
    two = cli("predict", photos / "cat.png", photos / "astronaut.jpg", *use, tmp_path / "a.png")
    assert "give one image" in one_line_error(two)
    odd = cli("predict", photos / "astronaut.jpg", *use, tmp_path / "a.txt")
    assert "ends in .jpg" in one_line_error(odd)


def test_evaluate_judges_the_faces_of_photographs(cli: Cli, converted: Path, photos: Path) -> None:
    lines = ["file,age,gender,split", "astronaut.jpg,25-32,female,test", "cat.png,0-2,male,test"]
    (photos / "labels.csv").write_text("\n".join(lines) + "\n")
    ask = ("evaluate", converted / "onnx-fp32", "--data", photos, "--json", "--workers", "1")
    said = json.loads(cli(*ask, "--find-subject", "--abstain", "0.99").stdout)
    (row,) = said["rows"]
    assert row["images"] == 1 and any(
        "1 images could not be decoded, or show no" in n for n in said["notes"]
    )
    model = runner.load(converted / "onnx-fp32")
    spec = model.manifest["input"]
    pixels = runner.decode_subject((photos / "astronaut.jpg").read_bytes(), spec)
    shown = model.answer(pixels)["gender"]
    right = 100.0 if shown["label"] == "female" else 0.0
    assert row["gender_accuracy"] == right
    wrong_by = abs(right / 100 - shown["confidence"])
    assert row["gender_ece"] == pytest.approx(100 * wrong_by, abs=0.1)
    assert row["gender_coverage"] == (100.0 if shown["confidence"] >= 0.99 else 0.0)
    (plain,) = json.loads(cli(*ask).stdout)["rows"]
    assert plain["images"] == 2


def test_an_application_finds_the_faces_of_a_frame(converted: Path, photos: Path) -> None:
    model = runner.load(converted / "onnx-fp32")
    (by_path,) = model.find(photos / "astronaut.jpg")
    assert is_at(by_path["box"], FACE) and by_path["gender"]["label"] in {"male", "female"}
    (by_pixels,) = model.find(np.asarray(astronaut()))
    assert is_at(by_pixels["box"], FACE)
    (by_bytes,) = model.find(encode(astronaut()))
    assert by_bytes == by_pixels
    assert model.find(np.asarray(picture_of("chelsea"))) == []


# Views


def test_a_found_face_is_looked_at_in_several_frames_the_plain_one_first() -> None:
    data = encode(astronaut())
    ((frame, seen),) = runner.decode_views(data, ASKED)
    ((same, plain),) = runner.decode_faces(data, ASKED)
    assert frame == same and len(seen) == len(runner.VIEWS) == 5
    np.testing.assert_array_equal(seen[0], plain)
    assert all(view.shape == plain.shape for view in seen)
    mirrored = abs(seen[4][:, ::-1].astype(int) - plain).mean()
    assert 0 < mirrored < abs(seen[4].astype(int) - plain).mean(), "the last view is mirrored"


def test_views_are_answered_by_the_mean_and_boxes_by_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "feed", lambda sample, manifest: sample)
    loaded = object.__new__(runner.Loaded)
    output = {"name": "x", "kind": "classification", "labels": ["a", "b"], "scores": "logits"}
    loaded.manifest = {"outputs": [output]}
    loaded.invoke = lambda view: [np.array([view], np.float32)]
    views = [[0.0, 0.1], [3.0, 0.0], [0.0, 1.0]]
    assert loaded.answer(views[0])["x"]["label"] == "b"
    answer = loaded.answer_views(views)["x"]
    assert answer["label"] == "a"
    assert answer["confidence"] == pytest.approx(1 / (1 + np.exp(1.1 / 3 - 1)), abs=1e-4)
    output["kind"] = "segmentation"
    monkeypatch.setattr(runner, "decide", lambda value, output: value.tolist())
    assert loaded.answer_views(views)["x"] == [pytest.approx([0.0, 0.1])]


# What is drawn


def test_marks_are_drawn_inside_the_picture_whatever_the_box() -> None:
    marks = [
        Mark(box=(-50, -50, 2000, 2000), lines=("everything",)),
        Mark(box=(90, 90, 99, 99), lines=("a corner", "two lines")),
        Mark(box=(50, 50, 40, 40), lines=("inside out",)),
        Mark(box=(10, 10, 30, 30), lines=()),
    ]
    drawn = annotated(Image.new("RGB", (100, 100)), marks)
    assert drawn.size == (LEAST_SIDE, LEAST_SIDE)
    assert np.asarray(drawn)[..., 1].max() > 150


def test_a_large_picture_is_drawn_smaller_and_written_whole(tmp_path: Path) -> None:
    photo = encode(astronaut().resize((4000, 3000)), "JPEG")
    save_annotated(photo, [Mark(box=(1, 1, 900, 900), lines=("a",))], tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as drawn:
        assert drawn.size == (1600, 1200)
    with pytest.raises(UserError, match="ends in"):
        save_annotated(photo, [], tmp_path / "a.gif")
