"""What is rewritten for converters answers as PyTorch's own operator does, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekit.graph.rewrites import with_cropped_transposes, with_plain_pools

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
    with_cropped_transposes(module)
    assert torch.equal(module(value), answer)
    (found,) = [node for node in module.graph.nodes if "conv_transpose" in str(node.target)]
    assert not any(found.args[4]) and not any(found.args[5])


def test_a_transposed_convolution_that_converters_take_stays() -> None:
    module, _, _ = exported(nn.ConvTranspose2d(8, 8, 4, 2, 1), 2)
    before = operators(module)
    assert operators(with_cropped_transposes(module)) == before


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
