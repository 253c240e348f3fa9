"""The operators of an ONNX file, by ONNX's own shape inference."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from edgekit.latency_model.gates import Node, fused
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

ALIASES = {"DequantizeLinear", "Dropout", "Identity", "QuantizeLinear"}
"""The same numbers, rounded or not."""
ROUNDINGS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}

Shape = tuple[int, ...]


def read(path: Path) -> Workload:
    """Return the workload of the model in `path`, batch 1.

    Raises ValueError where a shape is not fixed, with the name of the dimension that is free.
    """
    import onnx

    model = onnx.load(path)
    _fix_batch(model)
    shapes = _shapes(model)
    if any(0 in shapes.get(name, (0,)) for node in _moving(model) for name in node.output if name):
        model = _folded(model)
        shapes = _shapes(model)
    constants = _constants(model)
    nodes = _moving(model)
    given = [[name for name in node.input if name and name not in constants] for node in nodes]
    parts = [
        Node(node.op_type, tuple(reads), tuple(node.output))
        for node, reads in zip(nodes, given, strict=True)
    ]
    aliases = {
        node.output[0]: node.input[0] for node in nodes if node.op_type in ALIASES and node.output
    }
    gates = fused(
        [part if part.kind not in ALIASES else Node("", (), ()) for part in parts], aliases
    )
    operators: list[Operator] = []
    unseen: list[str] = []
    for at, (node, moving) in enumerate(zip(nodes, given, strict=True)):
        if node.op_type in FREE or (at in gates and gates[at] is None):
            continue
        operators.append(_operator(node, moving[: gates.get(at)], shapes))
        if operators[-1].kind == "other" and node.op_type not in SEEN:
            unseen.append(node.op_type)
    roundings = sum(node.op_type in ROUNDINGS for node in nodes)
    return total(operators, unseen, roundings)


def _fix_batch(model: Any) -> None:
    """Set a free batch to 1. Raises ValueError for another free dimension of an input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    free = False
    for info in model.graph.input:
        if info.name in constants:
            continue
        for place, size in enumerate(info.type.tensor_type.shape.dim):
            if size.dim_value > 0:
                continue
            if place == 0:
                size.dim_value, free = 1, True
                continue
            name = size.dim_param or f"{place}"
            raise ValueError(
                f"input {info.name} has a free dimension {name!r}: export it with a fixed size"
            )
    if free:  # what was inferred for it says nothing any more
        del model.graph.value_info[:]
        for info in model.graph.output:
            info.type.tensor_type.ClearField("shape")


def _folded(model: Any) -> Any:
    """Return the model with its arithmetic on shapes done, by ONNX Runtime's own optimiser.

    As it is where that does not know an operator of it.
    """
    from tempfile import TemporaryDirectory

    import onnx
    import onnxruntime

    with TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch) / "model.onnx")
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # its own exceptions share no base with any of ours
            return model
        return onnx.load(options.optimized_model_filepath)


def _shapes(model: Any) -> dict[str, Shape]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.tensor_type.HasField("shape"):
            sizes = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
            shapes.setdefault(info.name, sizes)
    return shapes


def _constants(model: Any) -> set[str]:
    """Return the tensors that are the same for every image."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
    return constants


def _moving(model: Any) -> list[Any]:
    """Return the nodes whose answer depends on the image, in their order."""
    constants = _constants(model)
    return [node for node in model.graph.node if not constants.issuperset(node.output)]


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
