"""Calibration images without data: noise shaped until the model's batch norms recognise it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgekit.conversion.calibration import Recipe
from edgekit.graph.contract import reference_input
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def synthesise(
    network: nn.Module, spec: InputSpec, recipe: Recipe
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return `recipe.samples` images, uint8 N×H×W×C, and warnings about them.

    The images start as smooth noise and are moved by Adam until the mean and standard deviation
    that each batch norm sees match the ones it stored in training (the loss of Cai et al.,
    ZeroQ, CVPR 2020). A network without batch norms keeps the smooth noise, and is told so.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    start = _smooth_noise(recipe.samples, spec, generator)
    norms = [
        m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats
    ]
    warnings: tuple[str, ...] = (
        "calibrated without data, on synthesised images: give --calibration DIR for real ones",
    )
    if not norms:
        warnings += ("the model has no batch norms to match: the images are smooth noise",)
        return _to_uint8(start), warnings
    logits = torch.logit(start / 255, eps=1e-3).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.2)
    distances: list[Tensor] = []
    hooks = [norm.register_forward_pre_hook(_matcher(distances)) for norm in norms]
    parameters = [p for p in network.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        for _ in range(recipe.steps):
            distances.clear()
            network(reference_input(torch.sigmoid(logits) * 255, spec))
            loss = torch.stack(distances).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in parameters:
            parameter.requires_grad_(True)
    return _to_uint8(torch.sigmoid(logits.detach()) * 255), warnings


def _matcher(distances: list[Tensor]):  # type: ignore[no-untyped-def]
    """Return a hook that appends how far a batch norm's input is from what it stored."""

    def hook(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        value = inputs[0]
        spread = norm.running_var.clamp_min(1e-6).sqrt()
        mean_off = (value.mean((0, 2, 3)) - norm.running_mean) / spread
        std_off = value.std((0, 2, 3)) / spread - 1
        distances.append((mean_off.square() + std_off.square()).mean())

    return hook


def _smooth_noise(count: int, spec: InputSpec, generator: torch.Generator) -> Tensor:
    """Return noise of three scales, as photographs have more of the coarse: N×H×W×C, 0 to 255."""
    size = (spec.height, spec.width)
    total = torch.zeros(count, spec.channels, *size)
    for cells, strength in ((2, 60.0), (8, 35.0), (32, 15.0)):
        coarse = torch.randn(count, spec.channels, cells, cells, generator=generator)
        total += strength * nn.functional.interpolate(coarse, size, mode="bilinear")
    return (total + 120).clamp(0, 255).permute(0, 2, 3, 1).contiguous()


def _to_uint8(images: Tensor) -> NDArray[np.uint8]:
    return images.round().clamp(0, 255).to(torch.uint8).numpy()
