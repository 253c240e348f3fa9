"""What is rewritten for converters answers as PyTorch's own operator does, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekit.graph.rewrites import with_plain_pools
from edgekit.graph.tflite_rewrites import for_tflite

SLICES = {"aten.slice.Tensor", "aten.amax.default", "aten.cat.default"}
SHAPES = {1: (1, 8, 23), 2: (1, 8, 9, 7), 3: (1, 8, 6, 5, 7)}


def exported(network: nn.Module, axes: int) -> tuple[Any, Tensor, Tensor]:
    """Return an exported network, its input, and PyTorch's answer."""
    torch.manual_seed(0)
    value = torch.randn(SHAPES[axes])
    with torch.no_grad():
        answer = network(value)
    return torch.export.export(network.eval(), (value,)).module(), value, answer


def operators(module: Any) -> set[str]:
    return {str(node.target) for node in module.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize(
    "network",
    [
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1),
        nn.ConvTranspose2d(8, 8, 2, 2, 0, 1),  # more than the padding crops
        nn.ConvTranspose2d(8, 8, 5, 3, 2, (2, 0), groups=2),
        nn.ConvTranspose2d(8, 8, 3, (2, 1), 1, bias=False),
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1, dilation=2, groups=4),
        nn.ConvTranspose1d(8, 4, 3, 2, 1, 1),
        nn.ConvTranspose3d(8, 4, 3, 2, 1, 1),
    ],
    ids=str,
)
def test_a_cropped_transposed_convolution_answers_the_same(network: Any) -> None:
    module, value, answer = exported(network, len(network.stride))
    for_tflite(module)
    assert torch.equal(module(value), answer)
    (found,) = [node for node in module.graph.nodes if "conv_transpose" in str(node.target)]
    assert not any(found.args[4]) and not any(found.args[5])


class Call(nn.Module):
    """One function as a network."""

    def __init__(self, name: str, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, value: Tensor) -> Any:
        return self.function(value)

    def extra_repr(self) -> str:
        return self.name


RESIZES: tuple[tuple[int, dict[str, Any]], ...] = (
    (2, {"size": (13, 11)}), (2, {"size": (5, 4)}), (2, {"scale_factor": 1.7}),
    (2, {"scale_factor": (2.0, 1.3), "recompute_scale_factor": True}),
    (2, {"size": (3, 7)}), (1, {"size": 31}), (3, {"size": (7, 5, 10)}),
)  # fmt: skip


@pytest.mark.parametrize(("axes", "asked"), RESIZES, ids=str)
def test_a_nearest_resize_that_picks_rows_answers_the_same(
    axes: int, asked: dict[str, Any]
) -> None:
    network = Call("resize", lambda value: nn.functional.interpolate(value, **asked))
    module, value, answer = exported(network, axes)
    for_tflite(module)
    assert torch.equal(module(value), answer)
    assert operators(module) == {"aten.index_select.default"}


@pytest.mark.parametrize("size", [(18, 14), (27, 7)], ids=str)
def test_a_nearest_resize_by_whole_factors_stays(size: tuple[int, int]) -> None:
    module, _, _ = exported(nn.Upsample(size), 2)
    assert operators(for_tflite(module)) == {"aten.upsample_nearest2d.vec"}


SORTS: dict[str, Callable[[Tensor], Any]] = {
    "rising": lambda value: value.sort(),
    "falling, another axis": lambda value: torch.sort(value, dim=1, descending=True),
    "stable": lambda value: torch.sort(value, dim=2, stable=True),
    "the places alone": lambda value: value.sort(1).indices,
}


@pytest.mark.parametrize("name", SORTS)
def test_a_search_for_the_largest_sorts_the_same(name: str) -> None:
    module, value, answer = exported(Call(name, SORTS[name]), 2)
    for_tflite(module)
    ours, theirs = module(value), answer
    pairs = [(ours, theirs)] if isinstance(ours, Tensor) else zip(ours, theirs, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not any("sort" in name for name in operators(module))


def test_classes_compared_are_one_hot() -> None:
    network = Call("one_hot", lambda value: nn.functional.one_hot(value.argmax(1), 9))
    module, value, answer = exported(network, 2)
    for_tflite(module)
    assert torch.equal(module(value), answer) and module(value).dtype == torch.int64
    assert "aten.one_hot.default" not in operators(module)


def test_a_transposed_convolution_that_converters_take_stays() -> None:
    module, _, _ = exported(nn.ConvTranspose2d(8, 8, 4, 2, 1), 2)
    before = operators(module)
    assert operators(for_tflite(module)) == before


PLAIN = (
    nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d((3, 7)), nn.AdaptiveMaxPool1d(1),
    nn.AdaptiveMaxPool3d((3, 5, 1)),
)  # fmt: skip
SLICED = (
    nn.AdaptiveMaxPool2d((4, 3)), nn.AdaptiveMaxPool2d((None, 2)), nn.AdaptiveMaxPool2d(12),
    nn.AdaptiveMaxPool1d(5), nn.AdaptiveMaxPool3d(4),
)  # fmt: skip


@pytest.mark.parametrize("network", [*PLAIN, *SLICED], ids=str)
def test_a_plain_max_pool_answers_the_same(network: nn.Module) -> None:
    axes = int(type(network).__name__[-2])
    module, value, answer = exported(network, axes)
    with_plain_pools(module)
    assert torch.equal(module(value), answer)
    plain = {f"aten.max_pool{axes}d.default"}
    assert operators(module) == (plain if network in PLAIN else SLICES)


def test_a_pool_whose_indices_are_asked_for_stays() -> None:
    module, value, _ = exported(nn.AdaptiveMaxPool2d(2, return_indices=True), 2)
    largest, places = with_plain_pools(module)(value)
    assert torch.equal(value.flatten(2).gather(2, places.flatten(2)), largest.flatten(2))


def test_what_follows_a_rewritten_operator_is_rewritten_too() -> None:
    network = nn.Sequential(
        nn.ConvTranspose2d(8, 8, 3, 2, 1, 1), nn.AdaptiveMaxPool2d((5, 4)), nn.Upsample((8, 9)),
        nn.AdaptiveMaxPool2d((4, 2)), Call("largest", lambda value: value.topk(3, 2).values),
        nn.Upsample((4, 5)),
    )  # fmt: skip
    module, value, answer = exported(network, 2)
    for_tflite(with_plain_pools(module))
    assert torch.equal(module(value), answer)
    assert not any("upsample" in name or "adaptive" in name for name in operators(module))


def test_what_has_free_sizes_is_left_alone() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(8, 8, 3, 2, 1, 1), nn.AdaptiveMaxPool2d((4, 3)))
    free = {2: torch.export.Dim("height", min=4), 3: torch.export.Dim("width", min=4)}
    program = torch.export.export(
        network.eval(), (torch.randn(1, 8, 9, 7),), dynamic_shapes=(free,)
    )
    module: Any = program.module()
    before = operators(module)
    for_tflite(with_plain_pools(module))
    assert operators(module) == before
