"""The operators of an ncnn network: its layers from the `.param` file, its shapes from ncnn.

The file has no shapes, so the network runs once on zeros and is asked for every blob.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

from edgekit.backends._ncnn_files import Layer, Shape, blob_shapes, read_layers
from edgekit.latency_model.workload import Operator, Workload, convolution, total

EXTRA = "ncnn"

FREE = {"Dropout", "Flatten", "Input", "MemoryData", "Noop", "ReLU", "Reshape", "Split", "Squeeze",
        "ExpandDims"}  # fmt: skip
"""A view, a constant, a copy by pointer, or fused into the layer before."""
INT8 = 8
"""The option of a layer that computes in int8; other kinds have others under that number."""
CONVOLUTIONS = {
    "Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise",
}  # fmt: skip
INTEGERS = {"Convolution", "ConvolutionDepthWise", "InnerProduct"}
"""What may compute in int8."""
SEEN = {
    "BatchNorm", "BinaryOp", "Clip", "Concat", "Crop", "Eltwise", "GELU", "HardSigmoid",
    "HardSwish", "Interp", "LRN", "LayerNorm", "Padding", "Permute", "Pooling", "PReLU",
    "Reduction", "Scale", "ShuffleChannel", "Sigmoid", "Slice", "Softmax", "Swish", "TanH",
    "UnaryOp",
}  # fmt: skip
"""Layers that only move numbers or touch each once, as those of the evidence's networks do."""
JOINS = {"Concat", "ShuffleChannel", "Slice"}
"""Layers that copy whole channels."""


def read(path: Path) -> Workload:
    """Return the workload of the network whose .param file is `path`; the .bin lies beside it.

    Raises ValueError where ncnn cannot run it.
    """
    return total(*operators_of(path))


def operators_of(path: Path) -> tuple[list[Operator], list[str], int]:
    """Return a network's operators, the kinds no network of the evidence has, and its roundings.

    Raises ValueError where ncnn cannot run it.
    """
    layers = read_layers(path)
    shapes = blob_shapes(path, layers)
    operators: list[Operator] = []
    unseen: list[str] = []
    for layer in layers:
        if layer.kind in FREE:
            continue
        operators.append(_operator(layer, shapes))
        if operators[-1].kind == "other" and layer.kind not in SEEN:
            unseen.append(layer.kind)
    roundings = sum(layer.whole(INT8) > 0 for layer in layers if layer.kind in INTEGERS)
    return operators, unseen, roundings


def _operator(layer: Layer, shapes: dict[str, Shape]) -> Operator:
    read_ = sum(prod(shapes[name]) for name in layer.inputs)
    written = sum(prod(shapes[name]) for name in layer.outputs)
    if layer.kind in CONVOLUTIONS:
        groups = layer.whole(7, 1) if layer.kind.endswith("DepthWise") else 1
        area = layer.whole(1) * layer.whole(11, layer.whole(1))
        into = layer.whole(6) // (area * layer.whole(0))
        return convolution(
            read_, written, area=area, channels=layer.whole(0), group_inputs=into, groups=groups
        )
    if layer.kind == "InnerProduct":
        weights = layer.whole(2)
        rows = written // layer.whole(0)
        return Operator(
            kind="dense" if rows == 1 else "pointwise",
            macs=rows * weights,
            inputs=read_,
            outputs=written,
            weights=weights,
        )
    if layer.kind in {"Gemm", "MatMul"}:
        left = shapes[layer.inputs[0]]
        depth = layer.whole(9) or left[-1]
        weights = depth * layer.whole(8) if layer.whole(5) else 0
        return Operator(
            kind="pointwise", macs=written * depth, inputs=read_, outputs=written, weights=weights
        )
    joins = layer.kind in JOINS
    return Operator(kind="other", macs=0, inputs=read_, outputs=written, joins=joins)
