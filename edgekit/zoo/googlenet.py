"""googlenet: nine inception modules, one network per task.

Source [code]: the definitions published with Lapuschkin, Binder, Müller, Samek, "Understanding
and Comparing Deep Neural Networks for Age and Gender Classification", ICCV Workshops 2017.
Strided pooling rounds up (56, 28, 14, 7), as Caffe does; LRN before and after the second pair of
convolutions. Caffe's Xavier weights (uniform, variance 1 / fan-in); biases 0.2, and 0 in the
layers that give logits.

The variants `age-aux` and `gender-aux` hold the two auxiliary classifiers of training. They add
weights and, in eval mode, no work: a deployed network leaves them out.

Guessed:
- [inferred] the per-pixel mean image is replaced by its channel means, in RGB order; Caffe's
  weights expect BGR.

The accuracy printed in the seed paper rests on ImageNet pre-training, which is not done here.
"""

from __future__ import annotations

from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn

from edgekit.zoo.heads import single_or_pair

WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each inception: 1×1; 3×3 reduce, 3×3; 5×5 reduce, 5×5; pool projection [code]."""


def _convolution(inputs: int, filters: int, kernel: int, stride: int = 1) -> nn.Sequential:
    padding = kernel // 2
    return nn.Sequential(nn.Conv2d(inputs, filters, kernel, stride, padding), nn.ReLU())


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _norm() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


class Inception(nn.Module):
    """Four branches on one input, joined along the channels."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce_3, three, reduce_5, five, projection = widths
        self.branch1 = _convolution(inputs, one, 1)
        self.branch3 = nn.Sequential(
            _convolution(inputs, reduce_3, 1), _convolution(reduce_3, three, 3)
        )
        self.branch5 = nn.Sequential(
            _convolution(inputs, reduce_5, 1), _convolution(reduce_5, five, 5)
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), _convolution(inputs, projection, 1)
        )
        self.filters = one + three + five + projection

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, filters, H, W) for (N, inputs, H, W)."""
        branches = self.branch1(image), self.branch3(image), self.branch5(image), self.pool(image)
        return torch.cat(branches, dim=1)


class Auxiliary(nn.Sequential):
    """A classifier on 14×14 features, for training only."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(
            nn.AvgPool2d(5, 3),
            _convolution(inputs, 128, 1),
            nn.Flatten(),
            nn.Linear(128 * 4 * 4, 1024),
            nn.ReLU(),
            nn.Dropout(0.7),
            nn.Linear(1024, classes),
        )


def _inceptions(inputs: int, names: str) -> nn.Sequential:
    """Return the named modules in a row, the first on `inputs` channels."""
    modules = nn.Sequential()
    for name in names.split():
        module = Inception(inputs, WIDTHS[name])
        modules.add_module(name, module)
        inputs = module.filters
    return modules


class GoogLeNet(nn.Module):
    """Images (N, 3, 224, 224) to a tuple of one (N, `classes`) tensor of logits.

    With `auxiliary`, and in training mode only, the two auxiliary logits follow the main ones.
    """

    def __init__(self, classes: int, auxiliary: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, 64, 7, stride=2),
            _pool(),
            _norm(),
            _convolution(64, 64, 1),
            _convolution(64, 192, 3),
            _norm(),
            _pool(),
        )
        self.to_4a = nn.Sequential(_inceptions(192, "3a 3b"), _pool(), _inceptions(480, "4a"))
        self.to_4d = _inceptions(512, "4b 4c 4d")
        self.to_5b = nn.Sequential(_inceptions(528, "4e"), _pool(), _inceptions(832, "5a 5b"))
        self.classifier = nn.Sequential(
            nn.AvgPool2d(7, 1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, classes)
        )
        self.auxiliary = (
            nn.ModuleList([Auxiliary(512, classes), Auxiliary(528, classes)]) if auxiliary else None
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, (N, classes); in training also those of the auxiliary classifiers."""
        at_4a = self.to_4a(self.stem(image))
        at_4d = self.to_4d(at_4a)
        logits = self.classifier(self.to_5b(at_4d))
        if self.auxiliary is None or not self.training:
            return (logits,)
        return logits, self.auxiliary[0](at_4a), self.auxiliary[1](at_4d)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = sqrt(3 / module.weight[0].numel())
        nn.init.uniform_(module.weight, -bound, bound)
        gives_logits = isinstance(module, nn.Linear) and module.out_features < 1024
        nn.init.constant_(module.get_parameter("bias"), 0.0 if gives_logits else 0.2)


def network(variant: str) -> nn.Module:
    """Return `age`, `gender`, `age-aux`, `gender-aux` or `pair`, freshly initialised."""
    task, _, auxiliary = variant.partition("-")
    return single_or_pair(task, partial(GoogLeNet, auxiliary=bool(auxiliary)), _initialise)
