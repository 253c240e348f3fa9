"""What several systems share: two linear heads on one trunk, and two networks on one image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = {"age": 8, "gender": 2}
"""Adience's eight age groups, and two genders."""


class JointHeads(nn.Module):
    """An age and a gender head on the same features (N, `features`).

    `classification`: logits (N, 8) and (N, 2). `regression`: values (N, 1) and (N, 1).
    """

    def __init__(self, features: int, variant: str) -> None:
        super().__init__()
        regression = variant == "regression"
        self.age = nn.Linear(features, 1 if regression else CLASSES["age"])
        self.gender = nn.Linear(features, 1 if regression else CLASSES["gender"])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (age, gender)."""
        return self.age(features), self.gender(features)


class Pair(nn.Module):
    """An age and a gender network on the same image: what a single-task system must deploy."""

    def __init__(self, single: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.age = single(CLASSES["age"])
        self.gender = single(CLASSES["gender"])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, 8) and (N, 2)."""
        return self.age(image)[0], self.gender(image)[0]


def single_or_pair(
    variant: str,
    single: Callable[[int], nn.Module],
    initialise: Callable[[nn.Module], None],
) -> nn.Module:
    """Return `single(classes)` for the variants `age` and `gender`, or both as a `Pair`.

    `initialise` is called on every module of the result and must fill every weight: the
    networks are made without PyTorch's own initialisation, which costs seconds on VGG-16's
    fully connected layers only to be overwritten.
    """
    with torch.device("meta"):
        network = Pair(single) if variant == "pair" else single(CLASSES[variant])
    network = network.to_empty(device=torch.get_default_device())
    return network.apply(initialise)
