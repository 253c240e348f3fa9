"""Exact rewrites of torch modules that converters would otherwise expand into slow graphs."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node

_BROADCASTS = (
    torch.ops.aten.add.Tensor,
    torch.ops.aten.sub.Tensor,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.div.Tensor,
)
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_ADAPTIVE_MAX = {
    torch.ops.aten.adaptive_max_pool1d.default: torch.ops.aten.max_pool1d.default,
    torch.ops.aten.adaptive_max_pool2d.default: torch.ops.aten.max_pool2d.default,
    torch.ops.aten.adaptive_max_pool3d.default: torch.ops.aten.max_pool3d.default,
}


class BandedLocalResponseNorm(nn.Module):
    """Local response normalisation as a 1×1 convolution over squares, x / (k + α/n Σ x²)^β.

    torch.nn.LocalResponseNorm exports as pad, 3-D average pool and power; the sum over `size`
    neighbouring channels is the same as a 1×1 convolution whose matrix has ones in a band. For
    β = 0.75, Krizhevsky's constant, the power is a product of square roots, which runtimes
    vectorise where they call `pow` element by element.
    """

    band: Tensor
    offset: Tensor

    def __init__(self, norm: nn.LocalResponseNorm, channels: int) -> None:
        super().__init__()
        self.beta = float(norm.beta)
        band = torch.zeros(channels, channels)
        for channel in range(channels):
            # torch pads size // 2 in front and (size - 1) // 2 behind.
            first = max(channel - norm.size // 2, 0)
            band[channel, first : channel + (norm.size - 1) // 2 + 1] = norm.alpha / norm.size
        self.register_buffer("band", band.reshape(channels, channels, 1, 1))
        # k as the convolution's bias: NNCF takes any add after a convolution for one, per channel.
        self.register_buffer("offset", torch.full((channels,), float(norm.k)))

    def forward(self, value: Tensor) -> Tensor:
        """Normalise N×C×H×W activations."""
        scale = nn.functional.conv2d(value * value, self.band, self.offset)
        if self.beta == 0.75:
            root = torch.sqrt(scale)
            return value / (root * torch.sqrt(root))
        return value / scale.pow(self.beta)


def for_converters(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Change, in place, what the converters stumble over and what means the same otherwise.

    torch.onnx takes no clamp of floats with an integer bound. litert-torch takes no `detach_`,
    which torch.export writes behind every constant that forward makes (`torch.tensor([0.5])`). Its
    converter fails on some products with an expanded factor, as linear attention has ("operands
    don't have broadcast-compatible shapes"); they broadcast by themselves. torch.onnx takes
    attention with heads only.
    """
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target is torch.ops.aten.clamp.default:
            value, *bounds = node.args
            if value.meta["val"].is_floating_point():
                floats = (float(b) if isinstance(b, int) else b for b in bounds)
                node.args = (value, *floats)
        elif node.target is torch.ops.aten.detach_.default:
            node.target = torch.ops.aten.detach.default
        elif node.target in (torch.ops.aten.expand.default, torch.ops.aten.expand_as.default):
            _broadcast_instead(node)
        elif node.target is _ATTENTION and node.meta["val"].dim() == 3:
            _give_one_head(program, node)
    program.graph_module.recompile()
    return program


def with_plain_attention(module: torch.nn.Module) -> torch.nn.Module:
    """Let every scaled_dot_product_attention of an exported module answer in plain order, in place.

    torch.export takes the fused kernel's memory order for the answer's and makes a view of the
    reshape that follows it. Converters then take the operator apart, whose answer lies otherwise,
    and the view fails ("Cannot view a tensor with shape"). A copy between them moves no number, and
    converters drop it.
    """
    graph = getattr(module, "graph", None)
    found = [node for node in graph.nodes if node.target is _ATTENTION] if graph else []
    for node in found:
        with graph.inserting_after(node):  # type: ignore[union-attr]
            copy = graph.call_function(  # type: ignore[union-attr]
                torch.ops.aten.clone.default,
                (node,),
                {"memory_format": torch.contiguous_format},
            )
        node.replace_all_uses_with(copy, delete_user_cb=lambda user, copy=copy: user is not copy)
    if found:
        module.recompile()  # type: ignore[operator]
    return module


def with_plain_pools(module: torch.nn.Module) -> torch.nn.Module:
    """Let every adaptive max pool of an exported module be a plain one, or slices, in place.

    torch.onnx and litert-torch do not take the operator. Where the output divides the input, it is
    a max pool. Else its windows differ by one: their largest values are taken axis by axis. One
    of free sizes, or whose indices are asked for, is left alone.
    """
    nodes = graph.nodes if (graph := getattr(module, "graph", None)) else ()
    found = [node for node in nodes if node.target in _ADAPTIVE_MAX and has_fixed_sizes(node)]
    for node in found:
        parts = {user.args[1]: user for user in node.users if user.target is operator.getitem}
        indices = parts.get(1)
        if 0 not in parts or len(parts) < len(node.users) or (indices and indices.users):
            continue
        source, size = node.args
        sizes = tuple(source.meta["val"].shape[-len(size) :])
        with node.graph.inserting_before(node):
            if not any(have % want for have, want in zip(sizes, size, strict=True)):
                window = [have // want for have, want in zip(sizes, size, strict=True)]
                pooled = node.graph.call_function(
                    _ADAPTIVE_MAX[node.target], (source, window, window)
                )
            else:
                pooled = _largest_by_axis(source, sizes, size)
        pooled.meta["val"] = parts[0].meta["val"]
        for part in parts.values():
            part.replace_all_uses_with(pooled)
            node.graph.erase_node(part)
        node.graph.erase_node(node)
    if found:
        module.recompile()  # type: ignore[operator]
    return module


def has_fixed_sizes(node: Node) -> bool:
    """Tell whether what an operator takes and gives has no free sizes."""
    (source, *_), values = node.args, node.meta["val"]
    assert isinstance(source, Node)
    given = values if isinstance(values, tuple | list) else (values,)
    return all(isinstance(n, int) for v in (source.meta["val"], *given) for n in v.shape)


def _largest_by_axis(source: Node, sizes: Sequence[int], wanted: Sequence[int]) -> Node:
    """Pool the last axes, one after the other, by windows as adaptive pooling has them."""
    aten, call, value = torch.ops.aten, source.graph.call_function, source
    for axis, (have, want) in enumerate(zip(sizes, wanted, strict=True), -len(sizes)):
        parts = []
        for index in range(want):
            first, end = index * have // want, -(-(index + 1) * have // want)
            window = call(aten.slice.Tensor, (value, axis, first, end))
            parts.append(call(aten.amax.default, (window, [axis], True)))
        value = call(aten.cat.default, (parts, axis))
    return value


def rewrite(network: nn.Module, *example: Tensor) -> nn.Module:
    """Return `network` with every LocalResponseNorm replaced by its banded form, in place.

    `example` are its inputs, run once to learn how many channels each norm sees.
    """
    norms = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.LocalResponseNorm)
    }
    if not norms:
        return network
    channels: dict[str, int] = {}
    hooks = [
        norm.register_forward_pre_hook(
            lambda _, inputs, name=name: channels.__setitem__(name, inputs[0].shape[1])
        )
        for name, norm in norms.items()
    ]
    with torch.no_grad():
        network(*example)
    for hook in hooks:
        hook.remove()
    for name, norm in norms.items():
        parent, _, attribute = name.rpartition(".")
        setattr(
            network.get_submodule(parent), attribute, BandedLocalResponseNorm(norm, channels[name])
        )
    return network


def _broadcast_instead(expand: Node) -> None:
    """Give what `expand` expands to its users that broadcast it to the same shape themselves."""
    narrow = expand.args[0]
    assert isinstance(narrow, Node)
    for user in list(expand.users):
        if user.target not in _BROADCASTS:
            continue
        others = [node for node in user.all_input_nodes if node is not expand]
        shapes = [node.meta["val"].shape for node in (narrow, *others)]
        broadcast = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        if broadcast == user.meta["val"].shape:
            user.replace_input_with(expand, narrow)


def _give_one_head(program: torch.export.ExportedProgram, attention: Node) -> None:
    """Let attention over N×T×C be attention over N×1×T×C, which says the same."""
    bare = attention.meta["val"]
    graph = attention.graph
    for operand in attention.all_input_nodes:  # a mask of T×T broadcasts over heads by itself
        value = operand.meta["val"]
        if value.dim() == 3:
            with graph.inserting_before(attention):
                headed = graph.call_function(torch.ops.aten.unsqueeze.default, (operand, 1))
            headed.meta["val"] = value.unsqueeze(1)
            attention.replace_input_with(operand, headed)
    attention.meta["val"] = bare.unsqueeze(1)
    with graph.inserting_after(attention):
        answer = graph.call_function(torch.ops.aten.squeeze.dim, (attention, 1))
    answer.meta["val"] = bare
    attention.replace_all_uses_with(answer, delete_user_cb=lambda user: user is not answer)
    program.graph_signature.replace_all_uses(attention.name, answer.name)
