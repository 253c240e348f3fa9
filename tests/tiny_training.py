"""A network that trains in a second, imported by a process that is killed in the middle too."""

from __future__ import annotations

import torch
from torch import nn

from edgekit.spec import InputSpec, ModelSpec, OutputSpec
from edgekit.training.recipe import Recipe

INPUT = InputSpec(16, 16, mean=(127.5,) * 3, std=(127.5,) * 3)
SPEC = ModelSpec(INPUT, (OutputSpec("shade", "classification", ("dark", "light")),))
RECIPE = Recipe(epochs=4, batch=8, average=0.5)


class Tiny(nn.Module):
    """Dropout and batch normalisation, so that a resumed run needs both restored."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(64, 2),
        )

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.layers(image),)
