"""What a network's last operation says of its scores: logits, or probabilities already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadModel
from edgekit.kinds import kind_of
from edgekit.spec import ModelSpec, OutputSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_SCORED = {"classification", "ordinal", "multilabel", "segmentation"}
"""The kinds whose values are logits or probabilities, beside those with boxes; others are what they
are."""
_PROBABILITIES = {"softmax", "_softmax", "sigmoid", "hardsigmoid"}
_SAME_VALUES = {
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "t", "clone", "contiguous", "alias", "detach", "to", "_to_copy"),
    *("expand", "slice", "select", "dropout", "identity", "cast", "gather", "split", "concat"),
    *("cat", "stack"),
}
"""What only arranges, names or chooses values; by torch's names, and ONNX's in lower case."""


def torch_endings(program: torch.export.ExportedProgram) -> tuple[bool, ...]:
    """Tell of each output whether its last arithmetic was a softmax or a sigmoid."""
    nodes = {node.name: node for node in program.graph.nodes}

    def look(node: Any) -> tuple[str, Sequence[Any]]:
        if node.op != "call_function":
            return "", ()
        parts = str(node.target).split(".")
        return (parts[1] if len(parts) > 1 else parts[0]), node.all_input_nodes

    return tuple(
        name in nodes and _ends(nodes[name], look) for name in program.graph_signature.user_outputs
    )


def onnx_endings(model: Any) -> tuple[bool, ...]:
    """Tell of each output of a ModelProto whether its last arithmetic was a softmax or sigmoid."""
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for name, node in makers.items() if node.op_type == "Constant"}

    def look(name: str) -> tuple[str, Sequence[Any]]:
        node = makers.get(name)
        if node is None:
            return "", ()
        inputs = [value for value in node.input if value and value not in constants]
        kind = node.op_type.lower()
        return kind, inputs if kind == "concat" else inputs[:1]

    return tuple(_ends(value.name, look) for value in model.graph.output)


def _ends(value: Any, look: Callable[[Any], tuple[str, Sequence[Any]]]) -> bool:
    """Tell whether every way back from `value` first meets a softmax or a sigmoid."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        kind, inputs = look(value)
        if kind in _PROBABILITIES:
            continue
        if kind not in _SAME_VALUES or not inputs:
            return False
        waiting += inputs
    return True


def with_scores(
    spec: ModelSpec, endings: Sequence[bool], reference: dict[str, NDArray[np.generic]]
) -> ModelSpec:
    """Return `spec` with `scores` filled in, by how the graph ends and what it answers.

    `endings` tells of each output whether it ends in a softmax or sigmoid, `reference` holds its
    values, (N, …). A classification whose values are never negative and sum to 1 on every image is
    read as probabilities however they were made, and so are the scores of boxes if none is outside
    of 0 to 1. Raises BadModel where the spec says otherwise.
    """
    outputs = zip(spec.outputs, endings, strict=True)
    return replace(
        spec, outputs=tuple(_with_scores(o, ends, reference[o.name]) for o, ends in outputs)
    )


def _with_scores(output: OutputSpec, ends: bool, values: NDArray[np.generic]) -> OutputSpec:
    if output.kind not in {*_SCORED, "tensor"} and output.boxes is None:
        return output
    if output.boxes is not None:
        values = kind_of(output).score_part(output, values)
    low, high = float(values.min()), float(values.max())
    within = output.boxes is not None and low >= 0 and high <= 1
    shares = output.kind in {"classification", "ordinal"} and low >= 0 and _sums_to_one(values)
    if output.scores == "logits" and (ends or shares):
        raise BadModel(
            f"output '{output.name}' ends in a softmax or sigmoid but the spec says "
            'scores = "logits": say "probabilities", or leave it out'
        )
    if output.scores == "probabilities" and (low < -1e-3 or high > 1 + 1e-3):
        raise BadModel(
            f"output '{output.name}' has values from {low:.3g} to {high:.3g}, no probabilities: "
            'say scores = "logits", or leave it out'
        )
    if output.scores is not None:
        return output
    if ends or shares or within:
        return replace(output, scores="probabilities")
    return replace(output, scores="logits") if output.kind != "tensor" else output


def _sums_to_one(values: NDArray[np.generic]) -> bool:
    sums = values.reshape(len(values), -1).sum(axis=1)
    return bool((abs(sums - 1) < 1e-3).all())
