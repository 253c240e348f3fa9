"""TFLite from an .onnx file, by onnx2tf in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Cli

from edgekit.artifact import find_artifacts
from edgekit.backends import _onnx2tf
from edgekit.errors import EdgekitError, UnsupportedModel

SPEC = """
[input]
width = 32
height = 24
mean = [120, 110, 100]
std = [60, 50, 40]
[[outputs]]
name = "zebra"
kind = "classification"
labels = ["a", "b", "c"]
[[outputs]]
name = "ant"
kind = "classification"
labels = ["d", "e", "f"]
"""


def no_python() -> str:
    """Return why onnx2tf's environment cannot be had, or nothing."""
    try:
        _onnx2tf._new_enough()
    except EdgekitError as error:
        return str(error)
    return ""


class TwoHeads(torch.nn.Module):
    """Two outputs of one shape, in an order that is not the alphabet's, behind a padded pool."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(),
            torch.nn.MaxPool2d(3, stride=2, padding=1),
            torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(),
        )  # fmt: skip
        self.zebra, self.ant = torch.nn.Linear(32, 3), torch.nn.Linear(32, 3)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(pixels)
        return 9 * self.zebra(features), 9 * self.ant(features)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "two.onnx"
    torch.onnx.export(
        TwoHeads().eval(), (torch.zeros(1, 3, 24, 32),), path, dynamo=True, verbose=False,
        output_names=["zebra", "ant"],
    )  # fmt: skip
    return path


@pytest.mark.slow
def test_an_onnx_file_becomes_tflite_in_every_precision(
    cli: Cli, tmp_path: Path, network: Path, pictures: Path
) -> None:
    if reason := no_python():
        pytest.skip(reason)
    (tmp_path / "spec.toml").write_text(SPEC)
    done = cli(
        "convert", network, "--spec", tmp_path / "spec.toml", "--backend", "tflite",
        "--precision", "fp32,fp16,int8,int8-dynamic", "--calibration", pictures,
        "-o", tmp_path / "out", "-q",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    made = {a.manifest.precision: a.manifest for a in find_artifacts([tmp_path / "out"])}
    assert set(made) == {"fp32", "fp16", "int8", "int8-dynamic"}
    assert made["fp32"].parity.max_abs_diff < 1e-4, "a swap of the heads would be far off"
    assert made["fp32"].feed == "uint8" and made["int8"].feed == "int8"
    answered = cli(
        "predict", next(pictures.glob("*.*")), "--artifact", tmp_path / "out/tflite-int8"
    )
    assert answered.returncode == 0 and "zebra" in answered.stdout and "ant" in answered.stdout


def test_without_a_new_python_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_onnx2tf, "OLDEST", (9, 0))
    with pytest.raises(EdgekitError, match=r"install python3\.12, give the PyTorch model"):
        _onnx2tf.environment()
    assert not list(tmp_path.iterdir())


def test_an_install_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_onnx2tf, "OLDEST", sys.version_info[:2])
    monkeypatch.setattr(_onnx2tf, "VERSION", "0.no-such-version")
    with pytest.raises(EdgekitError, match=r"cannot be built \(ERROR: .*mend that, or leave out"):
        _onnx2tf.environment()
    assert not list((tmp_path / "edgekit").iterdir())


def test_what_it_cannot_convert_is_one_line_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Path
) -> None:
    import onnx

    def fails(python: Path, *rest: str, cwd: Path) -> Any:
        said = "loading\nNotImplementedError: ONNX node type is not supported: Foo\nsee the docs"
        return type("Done", (), {"returncode": 1, "stdout": said})

    monkeypatch.setattr(_onnx2tf, "environment", lambda: Path("python"))
    monkeypatch.setattr(_onnx2tf, "_run", fails)
    with pytest.raises(UnsupportedModel, match=r"not supported: Foo\): give the PyTorch model"):
        _onnx2tf.convert(onnx.load(network), tmp_path / "out.tflite", tmp_path / "scratch")
    assert not (tmp_path / "out.tflite").exists()


def test_ends_are_put_in_the_files_order(converted: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = (converted / "tflite-fp32" / "model.tflite").read_bytes()
    made = _onnx2tf._in_order(content, ["args_0"], ["output_1", "output_0"])
    before, after = (Interpreter(model_content=item) for item in (content, made))
    names = [[d["name"] for d in item.get_output_details()] for item in (before, after)]
    assert names[0] == names[1][::-1]
    with pytest.raises(UnsupportedModel, match="onnx2tf made args_0 of its inputs"):
        _onnx2tf._in_order(content, ["args_1"], ["output_0", "output_1"])
