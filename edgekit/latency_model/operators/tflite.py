"""The operators of a TFLite file, by the schema that ships with ai-edge-litert."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from edgekit.latency_model.gates import Node, fused
from edgekit.latency_model.workload import Operator, Workload, convolution, total

EXTRA = "tflite"

FREE = {"EXPAND_DIMS", "RELU", "RELU6", "RESHAPE", "SHAPE", "SQUEEZE"}
"""Fused into the operator before, or a view."""
SEEN = {
    "ADD", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "DEQUANTIZE", "DIV", "GATHER", "GELU",
    "HARD_SWISH", "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN",
    "MUL", "PAD", "PADV2", "QUANTIZE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
    "SOFTMAX", "SPLIT", "SQRT", "STRIDED_SLICE", "SUB", "SUM", "TANH",
    "TFLite_Detection_PostProcess", "TRANSPOSE",
}  # fmt: skip
"""Operators that only move numbers or touch each once, as those of the evidence's networks do."""
ROUNDINGS = {"QUANTIZE", "DEQUANTIZE"}


def read(path: Path) -> Workload:
    """Return the workload of the model in `path`. Raises ValueError where a shape is not fixed."""
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError("not a TFLite file")
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    _check_inputs(graph)
    kept: list[tuple[str, list[_Tensor], list[_Tensor]]] = []
    parts: list[Node] = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        name = code.CustomCode().decode() if name == "CUSTOM" else name
        inputs = [_Tensor(model, graph, i) for i in operator.InputsAsNumpy() if i >= 0]
        outputs = [_Tensor(model, graph, i) for i in operator.OutputsAsNumpy()]
        if name == "SHAPE" or all(tensor.constant for tensor in inputs):
            continue
        moving = tuple(str(tensor.index) for tensor in inputs if not tensor.constant)
        kept.append((name, inputs, outputs))
        parts.append(Node(name, moving, tuple(str(tensor.index) for tensor in outputs)))
    gates = fused(parts, {})
    operators: list[Operator] = []
    unseen: list[str] = []
    for at, (name, inputs, outputs) in enumerate(kept):
        if name in FREE or (at in gates and gates[at] is None):
            continue
        found = _operator(name, inputs[: gates.get(at)], outputs)
        operators.append(found)
        if found.kind == "other" and name not in SEEN:
            unseen.append(name)
    roundings = sum(name in ROUNDINGS for name, _, _ in kept)
    return total(operators, unseen, roundings)


def _check_inputs(graph: Any) -> None:
    """Raise ValueError for an input with a free dimension that is not its batch.

    The file has 1 in its place, which would be counted as if it were the size.
    """
    for index in graph.InputsAsNumpy():
        tensor = graph.Tensors(int(index))
        for place in range(1, tensor.ShapeSignatureLength()):
            if tensor.ShapeSignature(place) < 0:
                raise ValueError(
                    f"input {tensor.Name().decode()} has a free dimension {place}: convert it with "
                    "a fixed size"
                )


class _Tensor:
    """A tensor's shape, and whether the file holds its numbers."""

    def __init__(self, model: Any, graph: Any, index: int) -> None:
        self.index = int(index)
        tensor = graph.Tensors(self.index)
        self.shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
        self.numbers = prod(self.shape)
        # Large files keep their buffers outside the flatbuffer, at an offset.
        buffer = model.Buffers(tensor.Buffer())
        self.constant = buffer.DataLength() > 0 or buffer.Offset() > 1
        if self.numbers <= 0:
            raise ValueError(f"tensor {tensor.Name()!r} has no fixed shape")


def _operator(name: str, inputs: list[_Tensor], outputs: list[_Tensor]) -> Operator:
    read_ = sum(tensor.numbers for tensor in inputs if not tensor.constant)
    written = sum(tensor.numbers for tensor in outputs)
    if name in {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}:
        weights = inputs[1].shape  # O×H×W×I, depthwise 1×H×W×O
        area = weights[1] * weights[2]
        image = inputs[2 if name == "TRANSPOSE_CONV" else 0].shape
        if name == "DEPTHWISE_CONV_2D":
            return convolution(
                read_, written, area=area, channels=weights[3], group_inputs=1, groups=image[3]
            )
        return convolution(
            read_, written, area=area, channels=weights[0],
            group_inputs=weights[3], groups=max(1, image[3] // weights[3]),
        )  # fmt: skip
    if name == "FULLY_CONNECTED":
        weights = inputs[1].shape
        macs = written * weights[-1]
        rows = written // weights[0]
        return Operator(
            kind="dense" if rows == 1 else "pointwise",
            macs=macs,
            inputs=read_,
            outputs=written,
            weights=inputs[1].numbers,
        )
    if name == "BATCH_MATMUL":
        depth = inputs[0].shape[-1]
        held = inputs[1].numbers if inputs[1].constant else 0
        return Operator(
            kind="pointwise", macs=written * depth, inputs=read_, outputs=written, weights=held
        )
    return Operator(kind="other", macs=0, inputs=read_, outputs=written)
