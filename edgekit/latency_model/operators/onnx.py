"""The operators of an ONNX file, by ONNX's own shape inference."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from edgekit.latency_model.workload import Operator, Workload, convolution, total

EXTRA = "onnx"

FREE = {
    "BatchNormalization", "Clip", "Constant", "DequantizeLinear", "Dropout", "Flatten", "Identity",
    "LeakyRelu", "QuantizeLinear", "Relu", "Reshape", "Shape", "Squeeze", "Unsqueeze",
}  # fmt: skip
"""Fused by ONNX Runtime into the operator before, folded when it loads, or a view."""
SEEN = {
    "Add", "AveragePool", "Cast", "Concat", "Div", "Gather", "Gelu", "GlobalAveragePool",
    "HardSigmoid", "HardSwish", "LRN", "LayerNormalization", "MaxPool", "Mul", "Pad", "ReduceMean",
    "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Sub", "Transpose",
}  # fmt: skip
"""Operators that only move numbers or touch each once, as those of the evidence's networks do
(Sqrt is the root of a local response normalisation)."""

Shape = tuple[int, ...]


def read(path: Path) -> Workload:
    """Return the workload of the model in `path`. Raises ValueError where a shape is not fixed."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    graph = model.graph
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
    constants = set(shapes)
    for info in (*graph.input, *graph.value_info, *graph.output):
        sizes = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        shapes.setdefault(info.name, sizes)
    operators: list[Operator] = []
    unseen: list[str] = []
    for node in graph.node:
        given = [name for name in node.input if name]
        if all(name in constants for name in given):
            constants.update(node.output)
        elif node.op_type not in FREE:
            moving = [name for name in given if name not in constants]
            operators.append(_operator(node, moving, shapes))
            if operators[-1].kind == "other" and node.op_type not in SEEN:
                unseen.append(node.op_type)
    return total(operators, unseen)


def _operator(node: Any, moving: list[str], shapes: dict[str, Shape]) -> Operator:
    read_ = sum(_numbers(shapes, name) for name in moving)
    written = sum(_numbers(shapes, name) for name in node.output if name)
    if node.op_type in {"Conv", "ConvTranspose"}:
        weights = shapes[node.input[1]]
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        upward = node.op_type == "ConvTranspose"
        channels = weights[1] * groups if upward else weights[0]
        into = weights[0] // groups if upward else weights[1]
        return convolution(
            read_, written, area=prod(weights[2:]), channels=channels,
            group_inputs=into, groups=groups,
        )  # fmt: skip
    if node.op_type in {"Gemm", "MatMul"}:
        left, right = shapes[node.input[0]], shapes[node.input[1]]
        macs = written * left[-1]
        if node.input[1] in moving:
            return Operator(kind="pointwise", macs=macs, inputs=read_, outputs=written)
        # Every row of the left side uses all the weights once: one row is a fully connected layer.
        rows = macs // prod(right)
        return Operator(
            kind="dense" if rows == 1 else "pointwise",
            macs=macs,
            inputs=read_,
            outputs=written,
            weights=prod(right),
        )
    return Operator(kind="other", macs=0, inputs=read_, outputs=written)


def _numbers(shapes: dict[str, Shape], name: str) -> int:
    """Return how many numbers a tensor holds. Raises ValueError where that is not fixed."""
    shape = shapes.get(name)
    if shape is None or not all(size > 0 for size in shape):
        raise ValueError(f"tensor {name} has no fixed shape")
    return prod(shape)
