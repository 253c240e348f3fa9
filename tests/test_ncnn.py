"""The ncnn backend: its files, and an int8 arithmetic that no input can overflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, one_line_error

from edgekit.artifact import load_artifact
from edgekit.backends._ncnn_files import Layer, read_net, write_net
from edgekit.backends._ncnn_int8 import WINOGRAD_LIMIT, quantize
from edgekit.latency_model.operators import workload_of
from edgekit.onboard import runner

HERE = Path(__file__).parent
FLOAT32 = bytes(4)


def line(
    kind: str, name: str, source: str, out: str, numbers: bytes = b"", **options: int
) -> Layer:
    given = tuple((int(key[1:]), str(value)) for key, value in options.items())
    inputs = (source,) if source else ()
    return Layer(
        kind=kind, name=name, inputs=inputs, outputs=(out,), options=given, numbers=numbers
    )


def convolution(weights: np.ndarray, bias: np.ndarray) -> Layer:
    """A 3×3 convolution of stride 1 and padding 1: the kind that ncnn computes by Winograd."""
    numbers = FLOAT32 + weights.astype("f4").tobytes() + bias.astype("f4").tobytes()
    return line(
        "Convolution", "conv", "in0", "out0", numbers,
        _0=len(weights), _1=3, _4=1, _5=1, _6=weights.size,
    )  # fmt: skip


def answer(folder: Path, layers: tuple[Layer, ...], tensor: np.ndarray) -> np.ndarray:
    write_net(layers, folder / "net.param", folder / "net.bin")
    invoke = runner.load_ncnn(str(folder / "net.param"), {"feed": "float32", "outputs": [0]}, 1)
    (value,) = invoke(tensor[None].astype(np.float32))
    return np.asarray(value[0])


def test_a_network_written_back_is_the_same_to_the_byte(converted: Path, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        folder = load_artifact(converted / f"ncnn-{precision}").folder
        param, weights = folder / "model.param", folder / "model.bin"
        if precision == "fp32":
            write_net(read_net(param, weights), tmp_path / "a.param", tmp_path / "a.bin")
            assert (tmp_path / "a.bin").read_bytes() == weights.read_bytes()
            assert (tmp_path / "a.param").read_text().split() == param.read_text().split()
        sizes[precision] = weights.stat().st_size
    assert sizes["int8"] < sizes["fp32"] / 3.5


def test_a_layer_with_numbers_of_an_unknown_kind_is_told(tmp_path: Path) -> None:
    net = (line("Input", "in0", "", "in0"), line("Mystery", "m", "in0", "out0", bytes(12)))
    write_net(net, tmp_path / "net.param", tmp_path / "net.bin")
    with pytest.raises(ValueError, match="numbers of an unknown kind: Input, Mystery"):
        read_net(tmp_path / "net.param", tmp_path / "net.bin")


@pytest.mark.parametrize("channels", [8, 64, 256])
def test_the_largest_input_there_is_leaves_int32_in_no_convolution(
    tmp_path: Path, channels: int
) -> None:
    """All weights and all inputs at their end: Winograd holds 576 times the sum in int32."""
    signs = np.where(np.arange(channels) % 3, 1, -1)
    weights = np.ones((16, channels, 3, 3), np.float32) * signs[None, :, None, None]
    bias = np.arange(16, dtype=np.float32)
    tensor = np.ones((channels, 12, 12), np.float32) * signs[:, None, None]
    net = (line("Input", "in0", "", "in0"), convolution(weights, bias))
    wanted = answer(tmp_path, net, tensor)
    assert wanted.max() == pytest.approx(9 * channels + 15, rel=1e-5)
    _, whole = quantize(net, {"in0": 1.0}, ())
    stored = np.frombuffer(whole.numbers, np.int8, weights.size, offset=4).reshape(16, -1)
    assert np.abs(stored.astype(int)).sum(axis=1).max() <= WINOGRAD_LIMIT
    scales = np.frombuffer(whole.numbers, np.float32, 16, offset=4 + weights.size + 64)
    rounded = (stored / scales[:, None]).reshape(weights.shape)
    wanted = answer(tmp_path, (net[0], convolution(rounded, bias)), tensor)
    assert answer(tmp_path, (net[0], whole), tensor) == pytest.approx(wanted, rel=1e-3, abs=1e-2)


def test_layers_kept_in_float_are_left_alone_and_hand_on_float() -> None:
    weights = np.ones((8, 8, 3, 3), np.float32)
    first = convolution(weights, np.zeros(8))
    net = (
        line("Input", "in0", "", "in0"),
        line("Convolution", "a", "in0", "x", first.numbers, **dict(_options(first))),
        line("Convolution", "b", "x", "out0", first.numbers, **dict(_options(first))),
    )
    ranges = {"in0": 1.0, "x": 9.0}
    _, a, b = quantize(net, ranges, ())
    assert (a.whole(8), b.whole(8)) == (102, 2)
    _, a, b = quantize(net, ranges, ("b",))
    assert (a.whole(8), b) == (2, net[2])


def _options(layer: Layer) -> list[tuple[str, int]]:
    return [(f"_{key}", int(value)) for key, value in layer.options]


def test_its_operators_are_those_of_the_onnx_file(converted: Path) -> None:
    ours, theirs = (
        workload_of(load_artifact(converted / name)) for name in ("ncnn-int8", "onnx-fp32")
    )
    assert (ours.macs, ours.conv_macs, ours.dense_macs) == (
        theirs.macs, theirs.conv_macs, theirs.dense_macs,
    )  # fmt: skip
    assert ours.unseen == ()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["normalised", "imagenet", "grey", "recurrent"])
def test_other_contracts_hold(cli: Cli, tmp_path: Path, pictures: Path, model: str) -> None:
    """Local response normalisation; BGR with three means and a centre crop; grey; an LSTM."""
    done = cli(
        "convert", f"user_models:{model}", "--backend", "ncnn", "--calibration", pictures,
        "-o", tmp_path / "out", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_operator_it_has_not_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "convert", "user_models:unsupported", "--backend", "ncnn", "-o", tmp_path / "out", cwd=HERE
    )
    error = one_line_error(done)
    assert "ncnn cannot take operator" in error and "leave out --backend ncnn" in error


@pytest.mark.slow
def test_a_network_that_crashes_ncnn_names_the_layer_and_costs_no_other_backend(
    cli: Cli, tmp_path: Path, pictures: Path
) -> None:
    done = cli(
        "convert", "user_models:stacked", "--backend", "ncnn,onnx", "--calibration", pictures,
        "-o", tmp_path / "out", "--json", cwd=HERE,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert done.returncode == 2
    assert [(row["backend"], row["status"]) for row in told["rows"]] == [
        ("ncnn", "failed"), ("ncnn", "failed"), ("onnx", "proven"), ("onnx", "proven"),
    ]  # fmt: skip
    said = [note for note in told["notes"] if note.startswith("ncnn-")]
    assert len(said) == 2
    for note in said:
        assert "ncnn crashes on this network (signal 8, in Reduction sum_" in note
        assert note.endswith("or leave out --backend ncnn")
