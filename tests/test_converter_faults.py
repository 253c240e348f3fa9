"""Models that crashed a converter or were refused by a misleading line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_models
import numpy as np
import onnx
import pytest
import torch
from command_line import Cli, one_line_error
from onnx import TensorProto, helper, numpy_helper

from edgekit.artifact import find_artifacts
from edgekit.backends.onnx import name_ends
from edgekit.conversion import onnx_source
from edgekit.errors import BadModel

HERE = Path(__file__).parent


def convert(cli: Cli, source: object, out: Path, *more: object) -> Any:
    return cli("convert", source, "-o", out, "--json", *more, cwd=HERE)


# Converters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precisions", "names"),
    [("twice", "fp32", ["one", "two", "picture"]), ("called_image", "fp32", ["image"]),
     ("called_as_inner_values", "fp32", ["relu", "linear", "file"]),
     ("grouped", "fp32,int8", ["mask"]), ("resized", "fp32,int8", ["mask"]),
     ("gains", "fp32,int8", ["kind"]), ("clamped", "fp32,int8", ["kind"]),
     ("constants", "fp32,int8", ["kind"])],
)  # fmt: skip
def test_it_converts_in_every_backend(
    cli: Cli, tmp_path: Path, pictures: Path, name: str, precisions: str, names: list[str]
) -> None:
    done = convert(cli, f"fault_models:{name}", tmp_path / "out", "--calibration", pictures,
                   "--precision", precisions)  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    artifacts = find_artifacts([tmp_path / "out"])
    assert len(artifacts) == (6 if "int8" in precisions else 3)
    for artifact in artifacts:
        assert [output.name for output in artifact.manifest.outputs] == names
        if artifact.manifest.backend == "onnx":
            ends = onnx.load(artifact.path).graph.output
            assert [value.name for value in ends] == names


@pytest.mark.slow
def test_a_softmax_in_float64_is_converted_or_refused_by_its_cause(
    cli: Cli, tmp_path: Path, pictures: Path
) -> None:
    done = convert(cli, "fault_models:precise", tmp_path / "out", "--calibration", pictures,
                   "--backend", "onnx", "--backend", "tflite")  # fmt: skip
    made = {artifact.label for artifact in find_artifacts([tmp_path / "out"])}
    assert made == {"precise onnx fp32", "precise onnx int8"}, done.stdout + done.stderr
    assert done.returncode == 2
    assert "tflite does not compute in float64" in done.stdout


def chain(outputs: list[str], *, names: tuple[str, str, str] = ("x", "a", "b")) -> Any:
    """Return a model x → a (Relu) → b (Neg) whose outputs are some of these values."""
    source, first, second = names
    nodes = [
        helper.make_node("Relu", [source], [first]),
        helper.make_node("Neg", [first], [second]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in outputs]
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info(source, TensorProto.FLOAT, [1, 3])], ends
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("outputs", "names"),
    [(["b"], ["a"]), (["b"], ["x"]), (["a", "b"], ["b", "a"]), (["a", "a"], ["p", "a"]),
     (["a", "a"], ["a", "p"]), (["x", "b"], ["b", "x"]), (["x"], ["x"]),
     (["b", "a", "b"], ["x", "y", "z"])],
)  # fmt: skip
def test_final_names_never_collide(outputs: list[str], names: list[str]) -> None:
    from onnxruntime import InferenceSession

    unnamed = chain(outputs)
    named = chain(outputs)
    name_ends(named, names)
    onnx.checker.check_model(named, full_check=True)
    session = InferenceSession(named.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == names
    value = np.array([[-1.0, 2.0, 3.0]], np.float32)
    truth = {"x": value, "a": np.maximum(value, 0), "b": -np.maximum(value, 0)}
    ours = session.run(names, {session.get_inputs()[0].name: value})
    for place, name in enumerate(value.name for value in unnamed.graph.output):
        assert np.array_equal(ours[place], truth[name])


def old_network(opset: int) -> Any:
    """Return conv → pool → gemm, as an exporter of that opset writes it."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Squeeze", ["p"], ["s"], axes=[2, 3]),
        helper.make_node("Gemm", ["s", "g", "bias"], ["logits"], "head"),
    ]
    stored = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in (("w", (8, 3, 3, 3)), ("g", (8, 3)), ("bias", (3,)))
    ]
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


SPEC = """
[input]
height = 32
width = 48
[[outputs]]
name = "image"
kind = "classification"
labels = ["a", "b", "c"]
"""


@pytest.mark.slow
def test_an_onnx_of_opset_11_becomes_int8(cli: Cli, tmp_path: Path, pictures: Path) -> None:
    path, spec = tmp_path / "old.onnx", tmp_path / "spec.toml"
    onnx.save(old_network(11), path)
    spec.write_text(SPEC)
    done = convert(cli, path, tmp_path / "out", "--spec", spec, "--calibration", pictures,
                   "--backend", "onnx", "--backend", "openvino")  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(find_artifacts([tmp_path / "out"])) == 4


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 3), (1,), ()])
def test_a_bias_of_another_shape_becomes_int8(
    cli: Cli, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """JAX's exporter writes the bias of a dense layer as [1, N]: magika's network has one."""
    draw = np.random.default_rng(2)
    stored = {"weight": draw.normal(size=(8, 3)), "bias": draw.normal(size=shape)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], name="dense")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value.astype(np.float32), n) for n, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    (tmp_path / "spec.toml").write_text(
        '[[inputs]]\nname = "x"\nkind = "tensor"\nshape = [1, 8]\n[[outputs]]\nname = "y"\n'
    )
    np.save(tmp_path / "samples.npy", draw.normal(size=(40, 8)).astype(np.float32))
    done = convert(cli, tmp_path / "net.onnx", tmp_path / "out", "--spec", tmp_path / "spec.toml",
                   "--calibration", tmp_path / "samples.npy", "--backend", "onnx")  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert {a.manifest.precision for a in find_artifacts([tmp_path / "out"])} == {"fp32", "int8"}


@pytest.mark.slow
def test_free_sizes_are_those_of_the_spec(cli: Cli, tmp_path: Path, pictures: Path) -> None:
    path, spec, model = tmp_path / "free.onnx", tmp_path / "spec.toml", old_network(13)
    for place, size in ((0, "batch"), (2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = size
    squeeze = model.graph.node[3]
    del squeeze.attribute[:]
    squeeze.input.append("axes")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    onnx.save(model, path)
    spec.write_text(SPEC)
    unsaid = convert(cli, path, tmp_path / "out", "--raw-input", "--backend", "onnx")
    assert "has free sizes in its input (batch, 3, height, width): say them in --spec" in (
        one_line_error(unsaid)
    )
    done = convert(cli, path, tmp_path / "out", "--spec", spec, "--images", pictures,
                   "--precision", "fp32")  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    held = find_artifacts([tmp_path / "out"])
    assert {artifact.manifest.backend for artifact in held} >= {"onnx", "tflite", "openvino"}
    assert {(a.manifest.image.height, a.manifest.image.width) for a in held} == {(32, 48)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lacks"),
    [("spectrum", {"openvino": "openvino cannot take operator aten._fft_r2c: replace it"}),
     ("in_bfloat16", {"onnx": "onnx does not compute in bfloat16: let the model compute in float3",
                      "tflite": "tflite does not compute in 16 bits: let the model compute in"})],
)  # fmt: skip
def test_what_a_converter_lacks_is_named(
    cli: Cli, tmp_path: Path, name: str, lacks: dict[str, str]
) -> None:
    backends = [word for backend in lacks for word in ("--backend", backend)]
    done = convert(cli, f"fault_models:{name}", tmp_path / "out", *backends,
                   "--precision", "fp32")  # fmt: skip
    line = one_line_error(done)
    assert all(words in line for words in lacks.values())


# The user's model


@pytest.mark.parametrize(
    ("name", "words"),
    [("nested", "the model gives 3 outputs, its spec names 2 ('detections', 'maps')"),
     ("nothing", "output 'maps' is None, not a tensor"),
     ("pair", "pair takes 2 inputs, the spec names 1 (image): describe each with [["),
     ("double", "(its weights are float64: call .float() on it)"),
     ("unbatched", "its first dimension must be the batch, 1 (add it with [None])")],
)  # fmt: skip
def test_a_model_that_answers_otherwise_is_refused_by_its_cause(
    cli: Cli, tmp_path: Path, name: str, words: str
) -> None:
    done = convert(cli, f"fault_models:{name}", tmp_path / "out")
    assert words in one_line_error(done)


@pytest.mark.parametrize("layer", ["dropout", "batch_norm"])
def test_a_pt2_exported_in_training_mode_is_refused(tmp_path: Path, layer: str) -> None:
    from edgekit.conversion.sources import SourceRequest, load_module

    inner = torch.nn.Dropout(0.3) if layer == "dropout" else torch.nn.BatchNorm2d(3)
    net = torch.nn.Sequential(inner, torch.nn.Conv2d(3, 4, 3))
    example = (torch.zeros(1, 3, 32, 48),)
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net.train(), example), path)
    with pytest.raises(BadModel, match=rf"exported in training mode \({layer}\): call eval\(\)"):
        load_module(SourceRequest(locator=str(path)), "pt2")
    torch.export.save(torch.export.export(net.eval(), example), path)
    assert load_module(SourceRequest(locator=str(path)), "pt2").spec.image.width == 48


def test_an_onnx_of_a_fixed_batch_says_which(tmp_path: Path) -> None:
    path = tmp_path / "batch.onnx"
    torch.onnx.export(
        fault_models.Pooled().eval(), (torch.rand(8, 3, 32, 48),), path, dynamo=True, verbose=False
    )
    with pytest.raises(BadModel, match="has a fixed batch of 8: export it with a batch of 1"):
        onnx_source.shapes(onnx_source.load(path), path, None)


def test_weights_left_behind_are_named_and_copying_them_helps(tmp_path: Path) -> None:
    first, alone = tmp_path / "net.onnx", tmp_path / "alone" / "net.onnx"
    alone.parent.mkdir()
    model = old_network(17)
    del model.graph.node[3].attribute[:]
    model.graph.node[3].input.append("axes")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    onnx.save(model, first, save_as_external_data=True, location="net.data", size_threshold=0)
    first.rename(alone)
    with pytest.raises(BadModel, match=r"keeps its weights in net\.data, which is not beside it"):
        onnx_source.load(alone)
    (tmp_path / "net.data").rename(alone.parent / "net.data")
    assert onnx_source.count_parameters(onnx_source.load(alone)) == 216 + 24 + 3
