"""The runner alone, as a board has it: no edgekit, no torch."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit.onboard import runner


def run_alone(
    tmp_path: Path, *arguments: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a copy of runner.py in an isolated Python that cannot see the checkout."""
    shutil.copy(runner.__file__, tmp_path / "runner.py")
    return subprocess.run(
        [sys.executable, "-I", str(tmp_path / "runner.py"), *arguments],
        capture_output=True,
        text=True,
        input=text,
        cwd=tmp_path,
    )


def test_it_imports_neither_torch_nor_the_rest_of_edgekit(tmp_path: Path, converted: Path) -> None:
    job: dict[str, Any] = {"task": "bench", "artifact": str(converted / "null-fp32")}
    job["runtime"] = "null"
    picture = tmp_path / "a.png"
    Image.new("RGB", (80, 70), "red").save(picture)
    job |= {"images": [str(picture)], "min_seconds": 0, "min_count": 3, "warmup_max_seconds": 1}
    (tmp_path / "job.json").write_text(json.dumps(job))
    shutil.copy(runner.__file__, tmp_path / "runner.py")
    code = (
        "import sys, runner; assert runner.main(['job.json']) == 0\n"
        "print({n.split('.')[0] for n in sys.modules}"
        " & {'edgekit', 'torch', 'onnx', 'msgspec', 'email'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={}
    )
    event, loaded = done.stdout.splitlines()
    assert loaded == "set()", done.stderr
    assert len(json.loads(event)["invoke_s"]) == 3


def test_a_job_leaves_openvino_s_converter_out_and_an_application_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "import openvino\nprint(hasattr(openvino, 'convert_model'))\n"
    )
    words = [sys.executable, runner.__file__, str(tmp_path / "asks.py")]
    asked = subprocess.run(words, capture_output=True, text=True)
    (tmp_path / "job.json").write_text('{"task": "ask"}')
    code = (
        "import runner, sys\n"
        "runner.JOBS['ask'] = lambda job, runtimes: __import__('asks')\n"
        "runner.main(['job.json'])\n"
        "print('openvino.tools.ovc' in sys.modules)\n"
    )
    job = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{Path(runner.__file__).parent}:{tmp_path}"},
    )
    assert (asked.stdout, job.stdout) == ("True\n", "False\nFalse\n")


def test_a_version_is_what_importlib_metadata_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read from a folder's name: of wheels, and of what Debian and older tools install."""
    for installed in metadata.distributions():
        name = installed.metadata["Name"]
        assert runner.runtime_version(name) == metadata.version(name)
    assert runner.runtime_version("runtime_of_nobody") == ""
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "file"), str(tmp_path / "no"), str(tmp_path)])
    for made in ("Ai_Edge.LiteRT-2.3.0.dist-info", "NCNN-1.0.2026-py3.11.egg-info"):
        (tmp_path / made).mkdir()
    assert runner.runtime_version("ai_edge_litert") == "2.3.0"
    assert runner.runtime_version("ncnn") == "1.0.2026"
    assert runner.runtime_version("ai_edge") == ""
    (tmp_path / "openvino.egg-info").mkdir()
    (tmp_path / "openvino.egg-info" / "PKG-INFO").write_text("Name: openvino\nVersion: 2026.4\n")
    assert runner.runtime_version("openvino") == "2026.4"


def test_its_syntax_is_python_3_9s() -> None:
    import ast

    ast.parse(Path(runner.__file__).read_text(), feature_version=(3, 9))


def test_predict_answers_each_image_and_survives_a_broken_one(
    tmp_path: Path, converted: Path, pictures: Path
) -> None:
    good = next(iter(sorted(pictures.iterdir())))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    done = run_alone(
        tmp_path,
        "predict",
        "--whole",
        str(converted / "onnx-fp32"),
        str(good),
        "broken.jpg",
        str(good),
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert set(answers[0]["outputs"]) == {"age", "gender"}
    assert "error" in answers[1]
    assert answers[2]["outputs"] == answers[0]["outputs"]


def test_serve_answers_one_line_per_path(tmp_path: Path, converted: Path, pictures: Path) -> None:
    paths = sorted(map(str, pictures.iterdir()))[:3]
    done = run_alone(
        tmp_path, "serve", "--whole", str(converted / "tflite-int8"), text="\n".join(paths)
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == paths


@pytest.mark.parametrize(
    "job",
    [
        {"task": "nonsense"},
        {"task": "outputs", "artifact": "nowhere", "runtime": "null"},
        {"task": "outputs", "runtime": "null"},
    ],
)
def test_a_job_that_fails_is_one_json_line_and_exit_code_3(
    tmp_path: Path, job: dict[str, str]
) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = run_alone(tmp_path, "job.json")
    (line,) = done.stdout.splitlines()
    assert done.returncode == 3
    assert set(json.loads(line)) == {"error", "kind"}
    assert "Traceback" not in done.stderr


def encode(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["RGB", "L", "RGBA", "P", "CMYK"]),
    grey=st.booleans(),
)
def test_every_picture_becomes_the_asked_shape(
    size: tuple[int, int], target: tuple[int, int], mode: str, grey: bool
) -> None:
    image = Image.effect_noise(size, 50).convert("RGB").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    pixels = runner.decode(buffer.getvalue(), target[0], target[1], grey=grey)
    assert pixels.shape == (*target, 1 if grey else 3)
    assert pixels.dtype == np.uint8


def test_a_picture_of_the_right_size_is_passed_through() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(runner.decode(encode(pixels), 20, 30), pixels)


def test_the_centre_is_cropped_after_the_resize() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[15:25, 15:25] = 255
    cropped = runner.decode(encode(pixels), 10, 10, resize_to=40)
    assert (cropped == 255).all()


def test_exif_orientation_is_obeyed() -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    turned = runner.decode(encode(pixels, exif=exif), 20, 20)
    assert turned[:10].max() == 0 and turned[10:].min() == 255


@pytest.mark.parametrize(
    ("value", "index"), [(-3.0, 0), (0.49, 0), (0.5, 1), (2.5, 3), (6.4, 6), (99.0, 7)]
)
def test_regression_rounds_half_up_and_clips(value: float, index: int) -> None:
    output = {"name": "age", "kind": "regression", "labels": [str(i) for i in range(8)]}
    decision = runner.decide(np.array([value]), output)
    assert decision is not None and decision["index"] == index


def test_classification_confidence_is_the_softmax() -> None:
    output = {"name": "x", "kind": "classification", "labels": ["a", "b", "c"]}
    decision = runner.decide(np.log([0.2, 0.7, 0.1]), output)
    assert decision == {"label": "b", "index": 1, "confidence": pytest.approx(0.7)}
    assert runner.decide(np.array([1.0]), {"name": "x", "kind": "tensor", "labels": []}) is None


def test_onnx_runtime_reports_no_use_to_its_maker(tmp_path: Path) -> None:
    """It keeps what it will report in the temporary folder; where CI is set it never does."""
    shutil.copy(runner.__file__, tmp_path / "runner.py")
    (tmp_path / "kept").mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    code = "import runner; runner.onnxruntime_options(1)"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=kept | {"TMPDIR": str(tmp_path / "kept")},
        check=True,
    )
    assert not list((tmp_path / "kept").iterdir())
