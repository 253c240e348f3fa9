"""Networks as users have them: taken, or refused in one line with the true remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import strange_models
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgekit.conversion import sources
from edgekit.conversion.libraries import Found
from edgekit.conversion.loading import load_source
from edgekit.conversion.sources import SourceRequest, source_kind
from edgekit.conversion.spec_files import complete_spec
from edgekit.data.samples import noise_samples
from edgekit.errors import BadModel, EdgekitError
from edgekit.spec import InputSpec, ModelSpec, OutputSpec

Layout = Literal["NCHW", "NHWC"]
SPEC = """\
[input]
height = 32
width = 32

[[outputs]]
name = "animal"
kind = "classification"
labels = ["cat", "dog", "owl"]
"""


def spec(folder: Path, text: str = SPEC) -> str:
    path = folder / "spec.toml"
    path.write_text(text)
    return str(path)


def request(name: str, folder: Path) -> SourceRequest:
    return SourceRequest(locator=f"strange_models:{name}", spec=spec(folder))


@pytest.mark.parametrize("name", ["plain", "parallel", "compiled"])
def test_what_a_training_wraps_around_a_network_is_no_matter(tmp_path: Path, name: str) -> None:
    source = load_source(request(name, tmp_path), raw_input=False)
    answers = source.reference(np.full((2, 32, 32, 3), 100, np.uint8))
    assert answers["animal"].shape == (2, 3) and source.parameters == 267
    source.save(tmp_path)
    assert (tmp_path / "graph.pt2").is_file()


def test_a_network_that_computes_in_bfloat16_by_itself_is_taken(tmp_path: Path) -> None:
    source = load_source(request("Casting", tmp_path), raw_input=False)
    assert source.broken == [] and source.notes == ()
    answers = source.reference(np.full((2, 32, 32, 3), 100, np.uint8))
    assert answers["animal"].dtype == np.float32


@pytest.mark.parametrize(("name", "kind"), [("half", "float16"), ("bfloat16", "bfloat16")])
def test_weights_of_16_bits_are_computed_in_float32(tmp_path: Path, name: str, kind: str) -> None:
    source = load_source(request(name, tmp_path), raw_input=False)
    assert source.notes == (f"{kind}, computed in float32 here",)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    full = load_source(request("plain", tmp_path), raw_input=False).reference(pixels)["animal"]
    ours = source.reference(pixels)["animal"]
    off = np.abs(np.subtract(ours, full)).max()
    assert 0 < off < 0.02 * np.abs(full).max()  # the weights' own rounding, and no more
    source.save(tmp_path)
    assert (tmp_path / "graph.pt2").is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("with_arguments", "needs arguments (count, depth): name a function without any, such as"),
        ("state", "gave a OrderedDict, not a torch.nn.Module: where that holds weights, build"),
        ("scripted", "TorchScript module, which torch.export cannot read: return the torch.nn.M"),
        ("double", "its weights are float64: call .float() on it"),
        ("meta", "'conv.weight' of strange_models:meta has no values (it is on the device 'meta')"),
        ("lazy", "'0.weight' of strange_models:lazy has no shape yet (a lazy layer): call the"),
        ("quantized", "is quantized by PyTorch already (layer head): give the float network"),
        ("prepared", "(layer conv.activation_post_process): give the float network from before"),
        ("sparse", "the weight 'links' of strange_models:sparse is sparse: make it .to_dense()"),
        ("AlwaysTraining", "layer norm of strange_models:AlwaysTraining stays in training mode"),
        ("Asserting", "AssertionError: input width 32 is not 224"),
        ("MissingKey", "does not run on a (1, 3, 32, 32) float32 input: KeyError: 'weight'"),
        ("ChannelsLast", '(it runs with layout = "NHWC" in the spec)'),
        ("grey", '(it runs with colour = "GREY" and a mean and std of 1 in the spec)'),
    ],
)
def test_a_network_that_cannot_be_taken_names_the_remedy(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(BadModel) as refused:
        load_source(request(name, tmp_path), raw_input=False)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_shape_without_its_batch_dimension_is_named_with_it(tmp_path: Path) -> None:
    text = """
[[inputs]]
name = "x"
kind = "tensor"
shape = [10, 200]
[[outputs]]
name = "state"
kind = "classification"
labels = ["idle", "runs", "worn"]
"""
    asked = SourceRequest(locator="strange_models:vibration", spec=spec(tmp_path, text))
    with pytest.raises(BadModel, match=r"\(it runs with shape = \[1, 10, 200\] in the spec\)$"):
        load_source(asked, raw_input=False)


def test_a_forward_that_leaves_torch_is_told_so(tmp_path: Path) -> None:
    source = load_source(request("OutsideTorch", tmp_path), raw_input=False)
    with pytest.raises(EdgekitError, match=r"with tensors alone, without \.item\(\), \.numpy\(\)"):
        source.save(tmp_path)


def test_a_mean_and_std_of_pixels_from_0_to_1_are_refused_with_those_that_are_meant(
    tmp_path: Path,
) -> None:
    """ImageNet's, as every tutorial has them: every answer would be wrong, and parity blind."""
    text = SPEC.replace(
        "width = 32\n",
        "width = 32\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n",
    )
    asked = SourceRequest(locator="strange_models:plain", spec=spec(tmp_path, text))
    with pytest.raises(BadModel) as refused:
        load_source(asked, raw_input=False)
    assert "write mean = [123.675, 116.28, 103.53] and std = [58.395, 57.12, 57.375]" in str(
        refused.value
    )
    raw = text.replace("0.485, 0.456, 0.406", "0, 0, 0").replace("0.229, 0.224, 0.225", "1, 1, 1")
    asked = SourceRequest(locator="strange_models:plain", spec=spec(tmp_path, raw))
    load_source(asked, raw_input=False)  # raw pixels are ordinary


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.tflite", "is made for TFLite already and cannot be converted back: give the PyTorch"),
        ("net.engine", "is made for TensorRT already"),
        ("net.h5", "is a model of Keras: export it as .onnx there, and give that"),
        ("net.jit", "a TorchScript program, which edgekit does not open"),
        ("net.zip", "is not a model edgekit reads: give .pt2, .onnx or"),
    ],
)
def test_a_model_file_of_another_kind_names_the_way_out(
    tmp_path: Path, name: str, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"something")
    with pytest.raises(BadModel) as refused:
        source_kind(SourceRequest(locator=str(path)))
    assert said in str(refused.value)


def branching(path: Path) -> Path:
    """A graph that multiplies by 5×2 or leaves as it is what comes in with any width."""
    either = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "m"])]
    table = numpy_helper.from_array(np.ones((5, 2), np.float32), "table")
    matrix = helper.make_graph(
        [helper.make_node("MatMul", ["x", "table"], ["y"])], "then", [], either, [table]
    )
    same = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "else", [], either)
    graph = helper.make_graph(
        [helper.make_node("If", ["which"], ["out"], then_branch=matrix, else_branch=same)],
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "width"]),
            helper.make_tensor_value_info("which", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", "m"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("width", "fits"), [(5, True), (4, False)])
def test_a_branch_that_the_sizes_of_the_spec_do_not_fit_is_told(
    tmp_path: Path, width: int, fits: bool
) -> None:
    """Silero's VAD for two sample rates: each branch has its own sizes."""
    path = branching(tmp_path / "net.onnx")
    text = (
        f'[[inputs]]\nname = "x"\nkind = "tensor"\nshape = [1, {width}]\n'
        '[[inputs]]\nname = "which"\nkind = "tensor"\nshape = []\ndtype = "bool"\n'
        '[[outputs]]\nname = "out"\n'
    )
    asked = SourceRequest(locator=str(path), spec=spec(tmp_path, text))
    if fits:
        assert load_source(asked, raw_input=False).name == "net"
        return
    with pytest.raises(
        BadModel, match=r"net.onnx has branches \(If\), and at the spec's sizes one"
    ):
        load_source(asked, raw_input=False)


@pytest.mark.parametrize(
    ("sizes", "layout", "other"),
    [((1, 32, 24, 3), "NCHW", "NHWC"), ((1, 3, 32, 24), "NHWC", "NCHW")],
)
def test_a_file_of_the_other_layout_is_told_so(
    sizes: tuple[int, ...], layout: Layout, other: Layout
) -> None:
    """Its sizes are the spec's, in another order: the runtime's own words name neither."""
    given = ModelSpec(InputSpec(32, 24, layout=layout), (OutputSpec("y"),))
    with pytest.raises(BadModel, match=f'write layout = "{other}" under the image'):
        complete_spec(given, sizes, ("y",), "net.onnx")
    right = replace(given, input=replace(given.image, layout=other))
    assert complete_spec(right, sizes, ("y",), "net.onnx") == right


@pytest.mark.parametrize(
    ("width", "more", "said"),
    [
        (4, "", "the spec says that 'x' is float32"),
        (4, 'dtype = "int32"', 'takes int64: write dtype = "int64" under it'),
        (3, 'dtype = "int64"', "cannot run .*net.onnx on what the spec describes: "),
    ],
)
def test_what_the_runtime_would_say_of_an_input_is_said_in_words_of_the_spec(
    tmp_path: Path, width: int, more: str, said: str
) -> None:
    """A file with free sizes takes any shape until a node inside does not."""
    table = numpy_helper.from_array(np.ones((4, 2), np.float32), "table")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["f", "table"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    text = (
        f'[[inputs]]\nname = "x"\nkind = "tensor"\nshape = [1, {width}]\n{more}\n'
        '[[outputs]]\nname = "y"\n'
    )
    asked = SourceRequest(locator=str(tmp_path / "net.onnx"), spec=spec(tmp_path, text))
    with pytest.raises(BadModel, match=said) as refused:
        source = load_source(asked, raw_input=False)
        source.reference(noise_samples(None, source.spec.tensors, 1))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("module", "places", "keywords", "said"),
    [
        (strange_models.Net(), (torch.zeros(2, 3, 32, 32),), {}, "has a fixed batch of 2: export"),
        (strange_models.Scaled(), (torch.zeros(1, 3, 32, 32), 3.0), {}, "no tensors (scale = 3.0)"),
        (strange_models.Named(), (), {"image": torch.zeros(1, 3, 32, 32)}, "by keyword (image)"),
    ],
)
def test_an_exported_program_that_takes_more_than_one_picture_says_how_to_export_it(
    tmp_path: Path, module: nn.Module, places: tuple[Any, ...], keywords: dict[str, Any], said: str
) -> None:
    program = torch.export.export(module.eval(), places, keywords)
    torch.export.save(program, tmp_path / "net.pt2")
    asked = SourceRequest(locator=str(tmp_path / "net.pt2"), spec=spec(tmp_path))
    with pytest.raises(BadModel) as refused:
        load_source(asked, raw_input=False)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("locator", "said"),
    [
        ("net.py:Net", "name the module and the function, net:Net"),
        ("net.py", "name the module and the function, net:FUNCTION"),
        ("net", "name the module and the function, net:FUNCTION"),
        ("sub/net.py:Net", "name the module and the function, sub.net:Net"),
        ("sub/net:Net", "name the module and the function, sub.net:Net"),
        ("a b/net.py:Net", "/a b and name net:Net, which returns the network"),
        ("other.py:Net", "there is no Python file other.py: check the path"),
    ],
)
def test_a_network_named_by_its_file_is_told_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locator: str, said: str
) -> None:
    for folder in (tmp_path, tmp_path / "sub", tmp_path / "a b"):
        folder.mkdir(exist_ok=True)
        (folder / "net.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadModel) as refused:
        source_kind(SourceRequest(locator=locator))
    assert said in str(refused.value)
    assert source_kind(SourceRequest(locator="net:Net")) == "factory"
    assert source_kind(SourceRequest(locator="sub.net:Net")) == "factory"


def test_a_librarys_network_saved_in_bfloat16_is_computed_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """transformers' networks cast their input: they would be proven in bfloat16, by a loose bar."""
    given = ModelSpec(InputSpec(32, 32), (OutputSpec("values"),))
    found = Found(module=strange_models.Casting(), spec=given, weights="given")
    library = SimpleNamespace(load=lambda wanted: found)
    monkeypatch.setattr(sources, "load_library", lambda name: library)
    loaded = sources.load_module(SourceRequest(locator="timm:x"), "library")
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
