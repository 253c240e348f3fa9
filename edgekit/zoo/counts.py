"""Counts a network's parameters and multiply-accumulates."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgekit.spec import ModelSpec


def count_parameters(module: nn.Module) -> int:
    """Return the number of weights, trained and fixed; running statistics are not counted."""
    return sum(weight.numel() for weight in module.parameters())


def count_macs(module: nn.Module, spec: ModelSpec) -> int:
    """Return the multiply-accumulates of convolutions and matrix products for one image.

    They are half of what torch's FlopCounterMode counts, in eval mode, on the meta device:
    nothing is computed, and `module` is left as it was.
    """
    weights = {id(w): nn.Parameter(w.to("meta"), requires_grad=False) for w in module.parameters()}
    shadow = copy.deepcopy(module, memo=weights).to("meta").eval()
    image = torch.empty(1, spec.image.channels, spec.image.height, spec.image.width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(image)
    flops: int = counter.get_total_flops()
    return flops // 2
