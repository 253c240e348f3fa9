"""Edits of .tflite files between the converter and the quantizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

WEIGHTED = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
"""Which inputs of an operator are activations, weights and bias, and the weights' channel axis."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What a float network takes for a pixel of 0 to 255: (pixel − shift) × factor.

    `shift` is a whole number of 0 to 255, so that int8's zero point can be it.
    """

    shift: int = 0
    factor: float = 1.0


def behind_pixels(content: bytes) -> tuple[bytes, Pixels | None]:
    """Return a .tflite of one uint8 image as it is behind the image's cast, and what it takes then.

    A subtraction of one whole number and a factor that follow the cast, as a normalisation does
    whose channels share one mean and one std, go too: int8's input scale and zero point do the
    same for nothing. Where the image is not cast first, or the cast one is an output, the file is
    as it was, and there is None.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    (image,) = graph.inputs
    cast = _only_user(graph, image)
    if cast is None or _kind(model, cast) != schema.BuiltinOperator.CAST:
        return content, None
    if cast.outputs[0] in graph.outputs:  # an input that is an output is computed by nobody
        return content, None
    gone, now, pixels = [cast], int(cast.outputs[0]), Pixels()
    while (user := _only_user(graph, now)) is not None:
        found = _folded(model, graph, user, now, pixels)
        if found is None:
            break
        gone, now, pixels = [*gone, user], int(user.outputs[0]), found
    graph.operators = [operator for operator in graph.operators if operator not in gone]
    graph.inputs, signature.inputs[0].tensorIndex = [now], now
    graph.tensors[now].name = graph.tensors[image].name
    _without_unused(graph, signature)
    return packed(model), pixels


def _only_user(graph: Any, tensor: int) -> Any:
    """Return the operator that takes a tensor, or None where several do, or the caller too."""
    users = [operator for operator in graph.operators if tensor in operator.inputs]
    return users[0] if len(users) == 1 and tensor not in graph.outputs else None


def _kind(model: Any, operator: Any) -> int:
    kind: int = model.operatorCodes[operator.opcodeIndex].builtinCode
    return kind


def _folded(model: Any, graph: Any, operator: Any, source: int, pixels: Pixels) -> Pixels | None:
    """Return what is taken behind an operator too, or None where no scale can do its work."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    kinds = schema.BuiltinOperator
    kind = _kind(model, operator)
    if kind not in {kinds.SUB, kinds.MUL, kinds.DIV} or operator.inputs[0] != source:
        return None
    other = graph.tensors[operator.inputs[1]]
    data = model.buffers[other.buffer].data
    activation = operator.builtinOptions.fusedActivationFunction
    if data is None or len(data) != 4 or activation != schema.ActivationFunctionType.NONE:
        return None
    value = float(np.frombuffer(bytes(data), np.float32)[0])
    if kind == kinds.SUB:
        shift = pixels.shift + value
        whole = pixels.factor == 1 and shift.is_integer() and 0 <= shift <= 255
        return Pixels(shift=int(shift)) if whole else None
    if not 1e-9 < value < 1e9:
        return None
    factor = pixels.factor * value if kind == kinds.MUL else pixels.factor / value
    return Pixels(shift=pixels.shift, factor=factor)


def _without_unused(graph: Any, signature: Any) -> None:
    """Take away the tensors that no operator and no end of a graph uses, and number the others."""
    fields = [(o, name) for o in graph.operators for name in ("inputs", "outputs", "intermediates")]
    fields += [(graph, "inputs"), (graph, "outputs")]
    used = {
        place
        for owner, name in fields
        if getattr(owner, name) is not None
        for place in getattr(owner, name)
        if place >= 0
    }
    numbers = {old: new for new, old in enumerate(sorted(used))}
    numbers[-1] = -1  # an operator's input that is left out
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    for owner, name in fields:
        places = getattr(owner, name)
        if places is not None:
            setattr(owner, name, [numbers[int(place)] for place in places])
    for end in (*signature.inputs, *signature.outputs):
        end.tensorIndex = numbers[end.tensorIndex]


def packed(model: Any) -> bytes:
    """Return a ModelT as the bytes of a .tflite file."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_quantizable_shapes(content: bytes) -> bytes:
    """Return a .tflite with the shapes that the quantizer takes: biases [n], a padding's value [].

    litert-torch folds a factor of shape [1, n] into a layer and leaves its bias in that shape,
    which the quantizer takes for a tensor of n scales. onnx2tf gives a padding's value as [1].
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    biased = {getattr(schema.BuiltinOperator, name): places[2] for name, places in WEIGHTED.items()}
    changed = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = model.operatorCodes[operator.opcodeIndex].builtinCode
            if kind == schema.BuiltinOperator.PADV2 and len(operator.inputs) > 2:
                value = graph.tensors[operator.inputs[2]]
                if list(value.shape) == [1]:
                    value.shape, changed = [], True
            place = biased.get(kind)
            if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
                continue
            bias = graph.tensors[operator.inputs[place]]
            if len(bias.shape) > 1 and max(bias.shape) == math.prod(bias.shape):
                bias.shape, changed = [math.prod(bias.shape)], True
    return packed(model) if changed else content


def scopes_of_bodies(content: bytes) -> list[str]:
    """Return what the quantizer calls each operator, input and output of the graphs inside.

    A scatter, or a window that no pool is, has a graph of its own that joins two numbers. It does
    not run by itself, so calibration has no ranges for it. What a composite stands for is not one.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as names

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    outer = {signature.subgraphIndex for signature in model.signatureDefs}
    for graph in model.subgraphs:
        for operator in graph.operators:
            outer |= set(names.get_op_side_effect_subgraphs(operator))
    return [
        names.get_op_scope(operator, graph.tensors)
        for place, graph in enumerate(model.subgraphs)
        if place not in outer
        for operator in (*graph.operators, *names.get_subgraph_input_output_operators(graph))
    ]
