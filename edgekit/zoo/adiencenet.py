"""adiencenet: three convolutions and three fully connected layers, one network per task.

Source [code]: Levi and Hassner, "Age and Gender Classification Using Convolutional Neural
Networks", CVPR Workshops 2015, and the network definitions its authors published for Caffe.
Layers keep Caffe's names. Gaussian weights of standard deviation 0.01 (0.005 in fc6 and fc7),
biases 1 in conv2, fc6 and fc7, else 0.

Caffe rounds pooling up, which gives 7×7 before fc6 (11.4 M parameters): the variants `age`,
`gender` and `pair`. `age-floor` and `gender-floor` round down as most frameworks do, to 6×6:
the 9 M that the seed paper prints is one of those.

Guessed:
- [inferred] the per-pixel mean image is replaced by its channel means, in RGB order; the
  published weights expect BGR.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from edgekit.zoo.heads import single_or_pair

FEATURES = 512
"""The width of fc6."""


def trunk(ceil: bool) -> nn.Sequential:
    """Return conv1 to fc6 with its ReLU: images (N, 3, 227, 227) to features (N, 512).

    `ceil` rounds pooling up, as Caffe does: 7×7 before fc6, and 6×6 without.
    """
    side = 7 if ceil else 6
    pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=ceil)
    norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 96, 7, stride=4),
        relu1=nn.ReLU(),
        pool1=pool(),
        norm1=norm(),
        conv2=nn.Conv2d(96, 256, 5, padding=2),
        relu2=nn.ReLU(),
        pool2=pool(),
        norm2=norm(),
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(),
        pool3=pool(),
        flatten=nn.Flatten(),
        fc6=nn.Linear(384 * side * side, FEATURES),
        relu6=nn.ReLU(),
    )
    return nn.Sequential(layers)


def initialise_trunk(layers: nn.Sequential) -> None:
    """Fill conv1 to fc6 as Caffe's fillers did."""
    for name, deviation, bias in (
        ("conv1", 0.01, 0.0),
        ("conv2", 0.01, 1.0),
        ("conv3", 0.01, 0.0),
        ("fc6", 0.005, 1.0),
    ):
        _gaussian(layers.get_submodule(name), deviation, bias)


def _gaussian(layer: nn.Module, deviation: float, bias: float) -> None:
    nn.init.normal_(layer.get_parameter("weight"), std=deviation)
    nn.init.constant_(layer.get_parameter("bias"), bias)


class AdienceNet(nn.Module):
    """Images (N, 3, 227, 227) to a tuple of one (N, `classes`) tensor of logits."""

    def __init__(self, classes: int, ceil: bool = True) -> None:
        super().__init__()
        self.features = trunk(ceil)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(FEATURES, 512),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            fc8=nn.Linear(512, classes),
        )
        self.classifier = nn.Sequential(layers)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the logits, (N, classes)."""
        return (self.classifier(self.features(image)),)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, AdienceNet):
        initialise_trunk(module.features)
        _gaussian(module.classifier.get_submodule("fc7"), 0.005, 1.0)
        _gaussian(module.classifier.get_submodule("fc8"), 0.01, 0.0)


def network(variant: str) -> nn.Module:
    """Return `age`, `gender`, `age-floor`, `gender-floor` or `pair`, freshly initialised."""
    task, _, floor = variant.partition("-")
    return single_or_pair(task, partial(AdienceNet, ceil=not floor), _initialise)
