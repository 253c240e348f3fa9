"""Exact rewrites of an exported module that litert-torch alone needs (0.10.0)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from edgekit.graph.rewrites import has_fixed_sizes

_aten = torch.ops.aten


def for_tflite(module: nn.Module) -> nn.Module:
    """Change, in place, what litert-torch lacks or gets wrong into what answers the same.

    A module without a traced graph is left as it is, and so is what has free sizes.
    """
    nodes = graph.nodes if (graph := getattr(module, "graph", None)) else ()
    found = [node for node in nodes if node.target in _REWRITES and has_fixed_sizes(node)]
    for node in found:
        with node.graph.inserting_before(node):
            instead = _REWRITES[node.target](node)
        if instead is not None:
            instead.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(instead)
        if not node.users:
            node.graph.erase_node(node)
    if found:
        module.recompile()  # type: ignore[operator]
    return module


def _cropped(node: Node) -> Node | None:
    """Crop a transposed convolution: output padding is refused, uneven strides answer wrongly.

    Padding crops what a transposed convolution computes, and output padding crops one side less;
    where that asks for more than there is, the input gets a row of zeros.
    """
    value, weight, bias, stride, padding, more, groups, dilation = _of_transposed(node)
    if not any(more) and len(set(stride)) == 1:
        return None
    sizes, call = node.meta["val"].shape[-len(more) :], node.graph.call_function
    if any(extra > crop for extra, crop in zip(more, padding, strict=True)):
        value = call(_aten.constant_pad_nd.default, (value, [0, 1] * len(more)))
    none = [0] * len(more)
    whole = call(
        _operator(node.target), (value, weight, bias, stride, none, none, groups, dilation)
    )
    whole.meta["nn_module_stack"] = node.meta.get("nn_module_stack")  # for a message
    for axis, (crop, size) in enumerate(zip(padding, sizes, strict=True), -len(more)):
        whole = call(_aten.slice.Tensor, (whole, axis, crop, crop + size))
    return whole


def _of_transposed(node: Node) -> tuple[Any, ...]:
    """Return all arguments of an `aten.conv_transpose`, lists of its axes' length."""
    axes = node.meta["val"].dim() - 2
    names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs

    def each(name: str, default: int) -> list[int]:
        value: Any = given.get(name, default)
        listed = [value] if isinstance(value, int) else list(value)
        return listed * axes if len(listed) == 1 else listed

    return (
        given["input"], given["weight"], given.get("bias"), each("stride", 1), each("padding", 0),
        each("output_padding", 0), given.get("groups", 1), each("dilation", 1),
    )  # fmt: skip


def _picked(node: Node) -> Node | None:
    """Pick the rows and columns of a nearest resize, as PyTorch's operator does.

    litert-torch makes one whose pixels lie half a pixel on, as `nearest-exact` has them. That is
    the same where it enlarges by whole factors, which stay.
    """
    source = _source(node)
    sizes, wanted = source.meta["val"].shape[2:], node.meta["val"].shape[2:]
    if not any(want % have for have, want in zip(sizes, wanted, strict=True)):
        return None
    # PyTorch's own operator says which: on a picture whose values are its rows, then its columns.
    value = source
    for axis, (have, want) in enumerate(zip(sizes, wanted, strict=True), -len(sizes)):
        numbers = torch.arange(have, dtype=torch.float32)
        picture = numbers.reshape(1, 1, -1, *[1] * (-1 - axis)).expand(1, 1, *sizes)
        resized = _operator(node.target)(picture, *node.args[1:], **node.kwargs)
        rows = resized.movedim(axis, 0).reshape(want, -1)[:, 0].long()
        if torch.equal(rows, numbers.long()):
            continue
        value = node.graph.call_function(
            _aten.index_select.default, (value, axis, _constant(node, rows))
        )
    return value


def _largest(node: Node) -> None:
    """Find all of the largest instead of sorting: TFLite's runtimes cannot sort."""
    source, call = _source(node), node.graph.call_function
    given: dict[str, Any] = dict(zip(("dim", "descending"), node.args[1:], strict=False))
    given |= node.kwargs
    axis, descending = given.get("dim", -1), given.get("descending", False)
    value = call(_aten.transpose.int, (source, axis, -1))
    value = value if descending else call(_aten.neg.default, (value,))
    found = call(_aten.topk.default, (value, source.meta["val"].shape[axis]))
    places = call(operator.getitem, (found, 1))
    _place(node, source, call(_aten.transpose.int, (places, axis, -1)), axis)


def _asked_for_both(node: Node) -> None:
    """Look the largest up by their places: alone, litert-torch makes a sort of them."""
    used = {user.args[1] for user in node.users if user.users or user.args[1] == 0}
    axis: Any = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", -1)
    if used == {0}:
        found = node.graph.call_function(_operator(node.target), node.args, node.kwargs)
        _place(node, _source(node), node.graph.call_function(operator.getitem, (found, 1)), axis)


def _place(node: Node, source: Node, places: Node, axis: int) -> None:
    """Give an operator's users the places of values along an axis, and the values there."""
    look_up = node.graph.call_function
    for user in list(node.users):
        found = places if user.args[1] else look_up(_aten.gather.default, (source, axis, places))
        found.meta["val"] = user.meta["val"]
        user.replace_all_uses_with(found)
        node.graph.erase_node(user)


def _compared(node: Node) -> Node:
    """Compare with every class instead of `one_hot`."""
    call, classes = node.graph.call_function, node.meta["val"].shape[-1]
    each = call(_aten.unsqueeze.default, (_source(node), -1))
    same = call(_aten.eq.Tensor, (each, _constant(node, torch.arange(classes))))
    return call(_aten.to.dtype, (same, torch.int64))


def _source(node: Node) -> Node:
    source = node.args[0]
    assert isinstance(source, Node)
    return source


def _operator(target: object) -> Callable[..., Any]:
    assert isinstance(target, torch._ops.OpOverload)
    return target


def _constant(node: Node, value: torch.Tensor) -> Node:
    """Give a graph a tensor of its own, before the node that is rewritten."""
    module = node.graph.owning_module
    assert module is not None
    name = f"edgekit_constant_{len(dict(module.named_buffers()))}"
    module.register_buffer(name, value)
    return node.graph.get_attr(name)


_REWRITES: dict[Any, Callable[[Node], Node | None]] = {
    _aten.conv_transpose1d.default: _cropped,
    _aten.conv_transpose2d.input: _cropped,
    _aten.conv_transpose3d.input: _cropped,
    _aten.upsample_nearest1d.vec: _picked,
    _aten.upsample_nearest2d.vec: _picked,
    _aten.upsample_nearest3d.vec: _picked,
    _aten.sort.default: _largest,
    _aten.sort.stable: _largest,
    _aten.topk.default: _asked_for_both,
    _aten.one_hot.default: _compared,
}
