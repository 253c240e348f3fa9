"""The operators of an OpenVINO IR, by OpenVINO's own model API."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from edgekit.latency_model.gates import Node, fused
from edgekit.latency_model.workload import Operator, Workload, convolution, total

EXTRA = "openvino"

FREE = {
    "Clamp", "FakeQuantize", "Parameter", "PRelu", "Relu", "Reshape", "Result", "ShapeOf",
    "Squeeze", "Unsqueeze",
}  # fmt: skip
"""Fused into the operator before, or a view."""
AFTERWARDS = {"Add", "Multiply", "Subtract"}
"""Fused where they join a constant to what a convolution or product made: its bias and scale."""
COMPUTES = {"Convolution", "GroupConvolution", "MatMul"}
SEEN = {
    "Add", "AvgPool", "Concat", "Convert", "Divide", "Gather", "Gelu", "HSigmoid", "HSwish",
    "HardSigmoid", "Interpolate", "LRN", "MVN", "MaxPool", "Mish", "Multiply", "Pad",
    "ReduceMean", "Sigmoid", "Slice", "SoftMax", "Softmax", "Split", "Sqrt", "StridedSlice",
    "Subtract", "Swish", "Tanh", "Transpose", "VariadicSplit",
}  # fmt: skip
"""Operators that only move numbers or touch each once, as those of the evidence's networks do."""


ALIASES = {"FakeQuantize"}
"""The same numbers, rounded."""


def read(path: Path) -> Workload:
    """Return the workload of the model in `path`, batch 1.

    Raises ValueError where a shape is not fixed, with the input and the dimension that is free.
    """
    import openvino

    model = openvino.Core().read_model(path)
    _fix_batch(model)
    constant: set[str] = set()
    kept: list[tuple[Any, str, list[bool]]] = []
    parts: list[Node] = []
    aliases: dict[str, str] = {}
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        sources = [node.input(i).get_source_output().get_node() for i in range(_inputs(node))]
        held = [source.get_friendly_name() in constant for source in sources]
        if kind == "Constant" or (sources and all(held)):
            constant.add(name)
            continue
        moving = [
            s.get_friendly_name() for s, known in zip(sources, held, strict=True) if not known
        ]
        if kind in ALIASES:
            aliases[name] = moving[0]
        elif not _is_afterwards(kind, sources, held):
            kept.append((node, kind, held))
            parts.append(Node(kind, tuple(moving), (name,)))
    gates = fused(parts, aliases)
    operators: list[Operator] = []
    unseen: list[str] = []
    for at, (node, kind, held) in enumerate(kept):
        if kind in FREE or (at in gates and gates[at] is None):
            continue
        operators.append(_operator(node, kind, [False, True] if at in gates else held))
        if operators[-1].kind == "other" and kind not in SEEN:
            unseen.append(kind)
    return total(operators, unseen, len(aliases))


def _fix_batch(model: Any) -> None:
    """Set a free batch to 1. Raises ValueError for another free dimension of an input."""
    sizes = {}
    for parameter in model.inputs:
        shape = parameter.get_partial_shape()
        for place in range(1, len(shape)):
            if shape[place].is_dynamic:
                raise ValueError(
                    f"input {parameter.get_any_name()} has a free dimension {place}: export it "
                    "with a fixed size"
                )
        if len(shape) and shape[0].is_dynamic:
            sizes[parameter] = [1, *(shape[place].get_length() for place in range(1, len(shape)))]
    if sizes:
        model.reshape(sizes)


def _is_afterwards(kind: str, sources: list[Any], held: list[bool]) -> bool:
    if kind not in AFTERWARDS or held != [False, True]:
        return False
    before = sources[0].get_type_name()
    return before in COMPUTES or before in AFTERWARDS


def _operator(node: Any, kind: str, held: list[bool]) -> Operator:
    shapes = [tuple(node.input(i).get_shape()) for i in range(_inputs(node))]
    read_ = sum(prod(shape) for shape, constant in zip(shapes, held, strict=True) if not constant)
    out = tuple(node.output(0).get_shape())
    # A pooling's indices are an output too, which nobody reads.
    outputs = [node.output(i) for i in range(node.get_output_size())]
    written = sum(prod(tuple(each.get_shape())) for each in outputs if each.get_target_inputs())
    if kind == "Convolution":
        channels, into, *window = shapes[1]
        return convolution(
            read_, written, area=prod(window), channels=channels, group_inputs=into, groups=1
        )
    if kind == "GroupConvolution":
        groups, channels, into, *window = shapes[1]
        return convolution(
            read_, written, area=prod(window), channels=groups * channels,
            group_inputs=into, groups=groups,
        )  # fmt: skip
    if kind == "MatMul":
        depth = shapes[0][-2] if node.get_attributes().get("transpose_a") else shapes[0][-1]
        weights = prod(shapes[1]) if held[1] else 0
        alone = weights > 0 and prod(out[:-1]) == 1
        return Operator(
            kind="dense" if alone else "pointwise",
            macs=written * depth,
            inputs=read_,
            outputs=written,
            weights=weights,
        )
    return Operator(kind="other", macs=0, inputs=read_, outputs=written)


def _inputs(node: Any) -> int:
    return int(node.get_input_size())
