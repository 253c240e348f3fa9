"""`edgekit spec`: a draft says what the file says; what the file does not say stays open."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from command_line import Cli, one_line_error
from onnx import TensorProto, helper

from edgekit.conversion.draft import draft
from edgekit.conversion.spec_files import read_spec
from edgekit.errors import BadModel
from edgekit.spec import InputSpec, OutputSpec, TensorSpec

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def network(path: Path, inputs: dict[str, tuple[int, list[int | str]]], outputs: list[str]) -> Path:
    """Write a graph that passes its first input on to every output."""
    source, (kind, sizes) = next(iter(inputs.items()))
    graph = helper.make_graph(
        [helper.make_node("Identity", [source], [name]) for name in outputs],
        "net",
        [helper.make_tensor_value_info(n, k, s) for n, (k, s) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, sizes) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("sizes", "spec"),
    [
        (["N", 3, 20, 30], InputSpec(20, 30)),
        ([1, 1, 20, 30], InputSpec(20, 30, (0.0,), (255.0,), "GREY")),
        ([1, 20, 30, 3], InputSpec(20, 30, layout="NHWC")),
    ],
)
def test_a_picture_is_one(tmp_path: Path, sizes: list[int | str], spec: InputSpec) -> None:
    path = network(tmp_path / "net.onnx", {"x": (FLOAT, sizes)}, ["scores"])
    text = draft(path)
    assert max(map(len, text.splitlines())) <= 80
    (tmp_path / "spec.toml").write_text(text)
    read = read_spec(str(tmp_path / "spec.toml"))
    full = (255.0,) * spec.channels
    wanted = InputSpec(20, 30, (0.0,) * spec.channels, full, spec.colour, spec.layout)
    assert (read.input, read.outputs) == (wanted, (OutputSpec("scores"),))


def test_other_inputs_are_tensors_by_their_names(tmp_path: Path) -> None:
    given: dict[str, tuple[int, list[int | str]]] = {
        "sound": (FLOAT, ["batch", 512]), "state": (FLOAT, [2, "batch", 8]), "rate": (INT64, []),
    }  # fmt: skip
    path = network(tmp_path / "net.onnx", given, ["Call:1", "a/b"])
    (tmp_path / "spec.toml").write_text(draft(path))
    spec = read_spec(str(tmp_path / "spec.toml"))
    assert spec.tensors == (
        TensorSpec("sound", (1, 512)),
        TensorSpec("state", (2, 1, 8)),
        TensorSpec("rate", (), "int64"),
    )
    assert [(o.name, o.path) for o in spec.outputs] == [("Call_1", "Call:1"), ("a_b", "a/b")]


@pytest.mark.parametrize("free", ["", "?"])
def test_free_sizes_without_a_name_are_not_all_the_batch(tmp_path: Path, free: str) -> None:
    """Silero's and PaddlePaddle's files: only the first of them is."""
    path = network(tmp_path / "net.onnx", {"x": (FLOAT, [free, free, 8])}, ["y"])
    assert "shape = [1, 0, 8]" in draft(path)


@pytest.mark.parametrize("name", ["net.tflite", "net.jit"])
def test_a_file_that_nothing_here_reads_is_not_told_to_write_a_spec(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(BadModel) as refused:
        draft(tmp_path / name)
    assert "by hand" not in str(refused.value)


def test_a_free_size_is_named_and_left_to_be_said(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": (FLOAT, ["N", 3, 48, "width"])}, ["y"])
    text = draft(path)
    assert "width = 0   # 0: the file leaves 'width' free: say the size" in text
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(BadModel, match="height and width must be positive, not 48×0"):
        read_spec(str(tmp_path / "spec.toml"))


def test_no_name_in_a_file_writes_a_line_of_its_own(tmp_path: Path) -> None:
    bad = 'x"\n[input]\nheight = 1\x1b[31m\x7f'
    sizes: list[int | str] = [1, "n\n[[outputs]]", 5]
    path = network(tmp_path / "net.onnx", {bad: (FLOAT, sizes)}, ["y\n"])
    text = draft(path)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    (tmp_path / "spec.toml").write_text(text.replace("[1, 0, 5]", "[1, 4, 5]"))
    spec = read_spec(str(tmp_path / "spec.toml"))
    assert spec.tensors == (TensorSpec(bad, (1, 4, 5)),)
    assert [(o.name, o.path) for o in spec.outputs] == [("y", "y\n")]


def test_an_exported_program_is_drafted_too(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 3, 20, 30),)), path)
    (tmp_path / "spec.toml").write_text(draft(path))
    spec = read_spec(str(tmp_path / "spec.toml"))
    assert (spec.image.height, spec.image.width) == (20, 30)
    assert [output.name for output in spec.outputs] == ["output_0"]


class Scaled(torch.nn.Module):
    """A number goes in beside the tensor, and one of the answers is no tensor."""

    def __init__(self, answers: bool) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, x: torch.Tensor, by: int) -> object:
        return x * by if self.answers else (x * by, None)


def test_what_is_no_tensor_is_fixed_in_a_program_or_refused(cli: Cli, tmp_path: Path) -> None:
    for answers in (True, False):
        program = torch.export.export(Scaled(answers), (torch.zeros(1, 4), 3))
        torch.export.save(program, tmp_path / f"{answers}.pt2")
    (tmp_path / "spec.toml").write_text(draft(tmp_path / "True.pt2"))
    assert read_spec(str(tmp_path / "spec.toml")).tensors == (TensorSpec("x", (1, 4)),)
    refused = cli("spec", tmp_path / "False.pt2", cwd=tmp_path)
    assert "answers what is no tensor ('output_1')" in one_line_error(refused)


def test_what_is_asked_for_in_vain_is_one_line(cli: Cli, tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": (FLOAT, [1, 3, 8, 8])}, ["y"])
    unsaid = cli("convert", path, "-o", tmp_path / "out", cwd=tmp_path)
    assert f"(`edgekit spec {path}` drafts one)" in one_line_error(unsaid)
    place = tmp_path / "spec.toml"
    first = cli("spec", path, "-o", place, cwd=tmp_path)
    assert f"next: edgekit convert {path} --spec {place}" in first.stdout
    place.write_text("mine")
    assert "is kept: add --force" in one_line_error(cli("spec", path, "-o", place, cwd=tmp_path))
    assert place.read_text() == "mine"
    gone = cli("spec", tmp_path / "gone.onnx", cwd=tmp_path)
    assert "gone.onnx: check the path" in one_line_error(gone)
    other = cli("spec", place, cwd=tmp_path)
    assert "is no .onnx and no .pt2" in one_line_error(other)
    halves = network(tmp_path / "half.onnx", {"x": (TensorProto.FLOAT16, [1, 4])}, ["y"])
    assert "the input 'x' of" in one_line_error(cli("spec", halves, cwd=tmp_path))
