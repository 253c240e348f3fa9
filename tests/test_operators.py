"""The three readers held to one another, activations in several operators, and free dimensions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekit.latency_model.gates import Node, fused
from edgekit.latency_model.operators import onnx as onnx_reader
from edgekit.latency_model.operators import openvino as openvino_reader
from edgekit.latency_model.operators import tflite as tflite_reader
from edgekit.latency_model.workload import Workload

SIZE = 32


def onnx_network(path: Path, free: Sequence[str | int] = (1, 3, SIZE, SIZE)) -> Path:
    """Write 3×3 convolution, SiLU, depthwise, 1×1, SiLU, a sum and a pooling."""
    shapes = {"w0": (16, 3, 3, 3), "w1": (16, 1, 3, 3), "w2": (16, 16, 1, 1)}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(shape).ravel())
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Sigmoid", ["a"], ["as"]),
        helper.make_node("Mul", ["a", "as"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4, group=16),
        helper.make_node("Conv", ["c", "w2"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["ds"]),
        helper.make_node("Mul", ["ds", "d"], ["e"]),
        helper.make_node("Add", ["b", "e"], ["f"]),
        helper.make_node("MaxPool", ["f"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes, "n",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def openvino_network(path: Path, source: Path) -> Path:
    """Write the same network as OpenVINO's converter makes it of the ONNX file."""
    import openvino

    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=False)
    return path


def tflite_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the same network as TFLite has it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks" / "scripts"))
    detectors = importlib.import_module("tflite_detectors")
    graph: Any = detectors.Detector("float")
    source = graph.activation((1, SIZE, SIZE, 3))

    def silu(x: int) -> int:
        return int(graph.multiply(x, graph.sigmoid(x)))

    b = silu(graph.conv(source, 16, 3, 2, act=0))
    middle = graph.depthwise(b, 3, 1)
    e = silu(graph.conv(middle, 16, 1, act=0))
    path.write_bytes(graph.written([source], [graph.max_pool(graph.plus(b, e), 2, 2)]))
    return path


def test_the_readers_count_the_same_network_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = onnx_network(tmp_path / "n.onnx")
    works = [
        onnx_reader.read(first),
        openvino_reader.read(openvino_network(tmp_path / "n.xml", first)),
        tflite_reader.read(tflite_network(tmp_path / "n.tflite", monkeypatch)),
    ]
    assert works[0] == works[1] == works[2]
    half = 16 * SIZE * SIZE // 4
    assert works[0] == Workload(
        conv_macs=half * 27, pointwise_macs=half * 16, depthwise_macs=half * 9, dense_macs=0,
        depthwise_numbers=2 * half, other_numbers=2 * 2 * half + 3 * half + half + half // 4,
        patches=half // 16 * 27, weights=16 * 27 + 16 * 9 + 16 * 16, dense_weights=0, operators=7,
    )  # fmt: skip


@pytest.mark.parametrize("reader", ["onnx", "openvino"])
def test_a_free_batch_is_one_and_another_free_size_is_named(tmp_path: Path, reader: str) -> None:
    def read(name: str, free: Sequence[str | int]) -> Workload:
        path = onnx_network(tmp_path / f"{name}.onnx", free)
        if reader == "onnx":
            return onnx_reader.read(path)
        return openvino_reader.read(openvino_network(tmp_path / f"{name}.xml", path))

    fixed = read("fixed", (1, 3, SIZE, SIZE))
    assert read("batch", ("n", 3, SIZE, SIZE)) == fixed
    with pytest.raises(ValueError, match=r"x has a free dimension ('height'|2): export it"):
        read("height", (1, 3, "height", SIZE))


def test_arithmetic_on_shapes_is_done_before_counting(tmp_path: Path) -> None:
    """An export that was not simplified: the reshape's sizes come from the input's own shape."""
    zero, minus = (
        helper.make_tensor(name, TensorProto.INT64, (1,), [value])
        for name, value in (("zero", 0), ("minus", -1))
    )
    weights = helper.make_tensor("w", TensorProto.FLOAT, (48, 10), np.zeros(480))
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "minus"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "n",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 10))],
        [zero, minus, weights],
    )  # fmt: skip
    path = tmp_path / "n.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    work = onnx_reader.read(path)
    assert (work.dense_macs, work.operators, work.unseen) == (480, 1, ())


SILU = [Node("Sigmoid", ("x",), ("s",)), Node("Mul", ("x", "s"), ("y",))]
GELU = [
    Node("Div", ("x",), ("a",)), Node("Erf", ("a",), ("b",)), Node("Add", ("b",), ("c",)),
    Node("Mul", ("x", "c"), ("d",)), Node("Mul", ("d",), ("y",)),
]  # fmt: skip
EXCITE = [
    Node("Conv", ("x",), ("a",)), Node("Sigmoid", ("a",), ("s",)), Node("Mul", ("x", "s"), ("y",)),
]  # fmt: skip
READ_TWICE = [*SILU, Node("Add", ("s", "y"), ("z",))]


@pytest.mark.parametrize(
    ("nodes", "left"),
    [(SILU, ["Mul"]), (GELU, ["Mul"]), (EXCITE, ["Conv", "Sigmoid", "Mul"]), (READ_TWICE, None)],
    ids=["silu", "gelu", "squeeze and excite is none", "a sigmoid that others read too"],
)
def test_only_a_product_of_a_map_with_its_own_function_is_one(
    nodes: list[Node], left: list[str] | None
) -> None:
    gone = {at for at, reads in fused(nodes, {}).items() if reads is None}
    kinds = [node.kind for at, node in enumerate(nodes) if at not in gone]
    assert kinds == (left or [node.kind for node in nodes])


def test_a_rounding_between_does_not_hide_it() -> None:
    nodes = [Node("Sigmoid", ("xq",), ("s",)), Node("Mul", ("x", "sq"), ("y",))]
    assert fused(nodes, {"xq": "x", "sq": "s"}) == {0: None, 1: 1}
