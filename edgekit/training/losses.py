"""Losses that leave out what is not labelled."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def masked_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross-entropy of the images that count.

    Logits and targets are (N, classes), the targets distributions; weights are (N), 0 for an
    image without a label. With no label in the batch the loss is 0 and so is its gradient.
    """
    losses = -(targets * functional.log_softmax(logits.float(), dim=1)).sum(1)
    return (losses * weights).sum() / (weights > 0).sum().clamp(min=1)


def masked_squared_error(values: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squared error of the images that count; values and targets are (N, 1)."""
    losses = (values.float() - targets).square().sum(1)
    return (losses * weights).sum() / (weights > 0).sum().clamp(min=1)
