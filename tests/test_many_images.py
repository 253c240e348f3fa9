"""`edgekit predict` on folders, patterns and videos; what cannot be read costs its own row."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import bad_artifacts
import numpy as np
import pytest
from command_line import Cli, one_line_error
from numpy.typing import NDArray
from pictures import draw_pictures
from PIL import Image

import edgekit
from edgekit.annotation import Mark, annotated
from edgekit.artifact import Artifact, write_manifest
from edgekit.data.given import files_of
from edgekit.data.video import frames_of
from edgekit.errors import BadData, MissingPackage
from edgekit.spec import OutputSpec

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network of random weights that tells cats, dogs and hens apart."""
    made = bad_artifacts.onnx_fp32(tmp_path_factory.mktemp("artifact"))
    animals = OutputSpec("animal", "classification", ("cat", "dog", "hen"))
    return write_manifest(made.folder, replace(made.manifest, outputs=(animals,)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, one of them in a folder within, and three that cannot be read."""
    here = draw_pictures(tmp_path / "photos", 5)
    names = sorted(path.name for path in here.iterdir())
    (here / "inner").mkdir()
    (here / names[0]).rename(here / "inner" / names[0])
    (here / "empty.jpg").touch()
    (here / "text.png").write_text("no picture")
    whole = (here / names[1]).read_bytes()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    (here / "notes.txt").write_text("not looked at")
    return here


def test_a_folder_is_answered_and_what_is_unreadable_is_counted_and_listed(
    cli: Cli, artifact: Artifact, folder: Path, tmp_path: Path
) -> None:
    table, drawn = tmp_path / "out" / "answers.csv", tmp_path / "drawn"
    done = cli("predict", folder, "-a", artifact.folder, "--csv", table, "--save", drawn)
    assert done.returncode == 2 and not done.stderr, done.stderr
    said = " ".join(done.stdout.split())
    assert "3 of 8 images cannot be read" in said
    for name in ("empty.jpg", "text.png", "cut.png"):
        assert name in said
    assert "next: edgekit evaluate" in said
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and list(rows[0]) == ["image", "animal", "animal_confidence", "fault"]
    broken = {Path(row["image"]).name for row in rows if row["fault"]}
    assert broken == {"empty.jpg", "text.png", "cut.png"}
    assert len(list(drawn.iterdir())) == 5


def test_a_pattern_and_a_missing_name_beside_it(
    cli: Cli, artifact: Artifact, folder: Path, tmp_path: Path
) -> None:
    use = ("-a", artifact.folder, "--json")
    done = cli("predict", folder / "inner" / "*.png", tmp_path / "gone.jpg", *use)
    said = json.loads(done.stdout)
    assert done.returncode == 2 and len(said["rows"]) == 1
    assert any("gone.jpg (no such file)" in note for note in said["notes"])
    assert "no file fits" in one_line_error(cli("predict", folder / "q*.jpg", *use))
    assert "cannot be read" not in cli("predict", folder / "inner", *use).stdout


def test_where_nothing_can_be_read_it_is_one_line(
    cli: Cli, artifact: Artifact, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "answers.csv"
    use = ("-a", artifact.folder, "--csv", table)
    line = one_line_error(cli("predict", folder / "empty.jpg", folder / "text.png", *use))
    assert "empty.jpg" in line and "nor any of 1 more" in line and not table.exists()
    assert "--camera 0" in one_line_error(cli("predict", *use))


def test_answers_in_python_keep_their_faults(artifact: Artifact, folder: Path) -> None:
    told: list[str] = []
    answers = edgekit.answer(folder, artifact, say=lambda step, text: told.append(text))
    assert sum(answer.unreadable for answer in answers) == 3 and not told
    assert all(bool(answer.outputs) != bool(answer.fault) for answer in answers)


def test_files_are_found(folder: Path, tmp_path: Path) -> None:
    assert len(files_of([folder])) == 8
    assert files_of([folder / "inner" / "*"]) == sorted((folder / "inner").iterdir())
    odd = folder / "x[1].png"
    odd.write_bytes(b"")
    assert files_of([odd]) == [odd], "a file's own name is no pattern"
    (tmp_path / "a.zip").touch()
    with pytest.raises(BadData, match="unpack it"):
        files_of([tmp_path / "a.zip"])
    (tmp_path / "none").mkdir()
    with pytest.raises(BadData, match="no images in"):
        files_of([tmp_path / "none"])


def test_words_without_a_box_stand_in_the_whole_picture() -> None:
    picture = Image.new("RGB", (600, 500), "white")
    drawn = np.asarray(annotated(picture, [Mark(box=None, lines=("animal: cat (62 %)",))]))
    changed = (drawn != 255).any(2)
    assert changed[:2].all() and changed[:, :2].all(), "a frame at the edge"
    assert changed[300:].mean() > 0.01 and not changed[50:250, 50:550].any()


# A video and a camera; OpenCV itself is an extra that the tests do without.


class _Capture:
    """Two seconds of ten frames each, of which a camera has no end; blue grows with time."""

    def __init__(self, source: str | int) -> None:
        self.camera = isinstance(source, int)
        self.opened = source == 0 or Path(str(source)).suffix == ".mp4"
        self.at = -1

    def isOpened(self) -> bool:
        return self.opened

    def get(self, what: int) -> float:
        return 10.0

    def grab(self) -> bool:
        self.at += 1
        if self.camera:
            time.sleep(0.02)
        return self.camera or self.at < 20

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        frame = np.zeros((40, 60, 3), np.uint8)
        frame[..., 0] = 10 * (self.at % 25)
        return True, frame

    def release(self) -> None:
        self.opened = False


def fake_opencv() -> Any:
    module: Any = ModuleType("cv2")
    module.VideoCapture, module.CAP_PROP_FPS = _Capture, 5
    return module


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cv2", fake_opencv())
    yield


def test_frames_come_at_their_times_as_rgb(opencv: None, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.touch()
    with frames_of(video, 0.5) as frames:
        seen = [(frame.seconds, frame.pixels[0, 0].tolist()) for frame in frames]
    assert seen == [(0.0, [0, 0, 0]), (0.5, [0, 0, 50]), (1.0, [0, 0, 100]), (1.5, [0, 0, 150])]
    with frames_of(video, 0) as frames:
        assert len(list(frames)) == 20
    with pytest.raises(BadData, match="no camera 7 answers"), frames_of(7, 1.0):
        pass
    with pytest.raises(BadData, match="no video at"), frames_of(tmp_path / "gone.mp4", 1.0):
        pass
    (tmp_path / "odd.avi").touch()
    with pytest.raises(BadData, match=r"convert it to \.mp4"), frames_of(tmp_path / "odd.avi", 1):
        pass


def test_without_opencv_it_is_the_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"pip install 'edgekit-deploy\[camera\]'"):
        frames_of(0, 1.0).__enter__()


WITH_CAMERA = """
import sys
sys.path.insert(0, {here!r})
from test_many_images import fake_opencv
sys.modules["cv2"] = fake_opencv()
from edgekit.cli import main
main()
"""


def with_camera(*arguments: object) -> subprocess.Popen[str]:
    program = WITH_CAMERA.format(here=str(HERE))
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and would hand that on to what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_video_is_a_line_a_frame_and_drawn(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    table, drawn = tmp_path / "v.csv", tmp_path / "drawn"
    process = with_camera(
        "predict", tmp_path / "v.mp4", "-a", artifact.folder, "--every", 0.5, "--frames", 3,
        "--csv", table, "--save", drawn,
    )  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    times = [line.split()[0] for line in out.splitlines()[:3]]
    assert times == ["0.00", "0.50", "1.00"] and "3 frames answered" in out
    assert len(list(drawn.glob("*.jpg"))) == 3
    with table.open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["0.00 s", "0.50 s", "1.00 s"]


def test_a_camera_ends_with_ctrl_c_and_keeps_its_answers(
    artifact: Artifact, tmp_path: Path
) -> None:
    table = tmp_path / "seen.csv"
    process = with_camera(
        "predict", "-a", artifact.folder, "--camera", 0, "--every", 0.1, "--csv", table
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert " s  animal " in first and "frames answered" in out
    assert "next: edgekit evaluate" in out and table.read_text().count("\n") >= 2


def test_plain_tensors_are_neither_an_empty_answer_nor_scored(cli: Cli, tmp_path: Path) -> None:
    """A network whose spec says no kind: the way on is said, not a table without a column."""
    (tmp_path / "my art").mkdir()
    bad_artifacts.onnx_fp32(tmp_path / "my art")
    draw_pictures(tmp_path / "pictures", 2)
    asked = ("pictures", "--artifact", "my art", "--json")
    told = json.loads(cli("predict", *asked, cwd=tmp_path).stdout)["notes"]
    assert any("nothing to decide: 'animal' are plain tensors. Give them a kind" in t for t in told)
    shown = cli("predict", *asked[:-1], cwd=tmp_path).stdout
    assert "next: edgekit bench 'my art'" in shown  # as it can be typed
    error = one_line_error(cli("evaluate", "my art", "--data", "pictures", cwd=tmp_path))
    assert "'animal' is of kind tensor: where that is one of them, say its kind" in error


def test_what_comes_next_is_data_of_the_kind(cli: Cli, tmp_path: Path, artifact: Artifact) -> None:
    draw_pictures(tmp_path / "pictures", 1)
    shown = cli("predict", "pictures", "--artifact", artifact.folder, cwd=tmp_path).stdout
    told = " ".join(shown.split())
    assert "--data DATA, a labels.csv, or a folder a class (cat, dog, hen)" in told


def test_a_gif_is_answered_and_what_nothing_reads_is_counted(
    cli: Cli, tmp_path: Path, artifact: Artifact
) -> None:
    """A folder from a phone: what is passed over in silence would be missed by nobody."""
    Image.new("RGB", (30, 20), (200, 30, 30)).save(tmp_path / "a.gif")
    Image.new("RGB", (30, 20), (200, 30, 30)).save(tmp_path / "b.jfif", "JPEG")
    (tmp_path / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    done = cli("predict", tmp_path, "--artifact", artifact.folder, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 2
    assert [Path(row["image"]).name for row in told["rows"]] == ["a.gif", "b.jfif"]
    assert "1 of 3 images cannot be read" in told["notes"][0] and "c.HEIC" in told["notes"][0]
