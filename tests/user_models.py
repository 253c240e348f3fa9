"""Models a user might bring, named on the command line as `user_models:NAME`."""

from __future__ import annotations

import os
import signal

import torch
from torch import Tensor, nn

from edgekit.spec import InputSpec, ModelSpec, OutputSpec

LABELS = ("cat", "dog", "owl")
SPEC = ModelSpec(InputSpec(32, 32), (OutputSpec("animal", "classification", LABELS),))
IMAGENET = InputSpec(
    32, 32, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), colour="BGR", resize_to=40
)


class Small(nn.Module):
    """A classifier of three labels that answers a dict."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
        )
        self.head = nn.Linear(128, 3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"animal": 10 * self.head(self.features(image).flatten(1))}


class Normalised(Small):
    """The same with local response normalisation: square roots and a division."""

    def __init__(self) -> None:
        super().__init__()
        self.features.insert(3, nn.LocalResponseNorm(5, alpha=1.0))


class Dying(Small):
    """The same with channels that died in training: weights all but 0, a bias that is not."""

    def __init__(self) -> None:
        super().__init__()
        depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.features.insert(3, nn.Sequential(depthwise, nn.BatchNorm2d(8), nn.ReLU()))
        larger = nn.ConvTranspose2d(8, 8, 2, 2)
        self.features.insert(4, larger)
        norms = [module for module in self.features.modules() if isinstance(module, nn.BatchNorm2d)]
        with torch.no_grad():
            for norm, channel in zip(norms, (2, 5), strict=True):
                norm.weight[channel], norm.bias[channel] = 1e-12, 1.0
            assert larger.bias is not None
            larger.weight[:, 1], larger.bias[1] = 0.0, 1.0
            self.head.weight[1], self.head.bias[1] = 0.0, 0.05


class Spectrum(nn.Module):
    """Singular values: no backend has them."""

    def forward(self, value: Tensor) -> Tensor:
        singular: Tensor = torch.linalg.svd(value)[1]
        return singular.flatten(1)[:, :3]


class Branching(nn.Module):
    """A forward that depends on the pixels, which torch.export refuses."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3)) if image.sum() > 0 else image.amax((2, 3))


def small() -> tuple[nn.Module, ModelSpec]:
    return Small(), SPEC


def imagenet() -> tuple[nn.Module, ModelSpec]:
    return Small(), ModelSpec(IMAGENET, SPEC.outputs)


def normalised() -> tuple[nn.Module, ModelSpec]:
    return Normalised(), SPEC


def dying() -> tuple[nn.Module, ModelSpec]:
    return Dying(), SPEC


class Recurrent(nn.Module):
    """Reads the columns of an image from left to right and back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU())
        self.memory = nn.LSTM(256, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, image: Tensor) -> Tensor:
        columns = self.features(image).flatten(1, 2).permute(0, 2, 1)
        read: Tensor = self.memory(columns)[0]
        answer: Tensor = 10 * self.head(read[:, -1])
        return answer


def recurrent() -> tuple[nn.Module, ModelSpec]:
    return Recurrent(), SPEC


class Stacked(nn.Module):
    """Two branches summed over a fifth axis, as the FPN of segmentation-models-pytorch sums four:
    ncnn divides by a size of 0 in it, and its process is ended by that."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        merged = torch.stack([self.near(image), self.far(image)]).sum(0)
        answer: Tensor = self.head(merged).mean((2, 3))
        return answer


def stacked() -> tuple[nn.Module, ModelSpec]:
    torch.manual_seed(5)
    return Stacked(), ModelSpec(InputSpec(32, 32), (OutputSpec("values"),))


def no_spec() -> nn.Module:
    return Small()


def unsupported() -> tuple[nn.Module, ModelSpec]:
    return nn.Sequential(nn.Conv2d(3, 4, 3), Spectrum()), SPEC


def branching() -> tuple[nn.Module, ModelSpec]:
    return Branching(), SPEC


def wrong_outputs() -> tuple[nn.Module, ModelSpec]:
    four = (OutputSpec("animal", "classification", (*LABELS, "newt")),)
    return Small(), ModelSpec(SPEC.input, four)


def crash() -> nn.Module:
    """A model whose code kills its own process, as a broken extension would."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return nn.Identity()


not_a_function = 7


class Shades(nn.Module):
    """A grey network, not square, of three scores that depend on the pixels' brightness."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(32, 3)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = 10 * self.head(self.features(image).flatten(1))
        return scores


def grey() -> tuple[nn.Module, ModelSpec]:
    spec = InputSpec(20, 12, (127.5,), (127.5,), colour="GREY")
    return Shades(), ModelSpec(spec, (OutputSpec("shade", "classification", LABELS),))
