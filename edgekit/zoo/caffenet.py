"""caffenet: Caffe's reference network (AlexNet with pooling before LRN), one network per task.

Source [code]: the definitions published with Lapuschkin, Binder, Müller, Samek, "Understanding
and Comparing Deep Neural Networks for Age and Gender Classification", ICCV Workshops 2017.
Layers keep Caffe's names. Gaussian weights of standard deviation 0.01 (0.005 in fc6 and fc7),
biases 1 in conv2, conv4, conv5, fc6 and fc7, else 0. Every pooling divides evenly: rounding up or
down is the same.

Guessed:
- [inferred] the per-pixel mean image is replaced by its channel means, in RGB order; Caffe's
  weights expect BGR.

The accuracy printed in the seed paper rests on ImageNet pre-training, which is not done here.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from edgekit.zoo.heads import single_or_pair

FILLERS = {
    "conv1": (0.01, 0.0),
    "conv2": (0.01, 1.0),
    "conv3": (0.01, 0.0),
    "conv4": (0.01, 1.0),
    "conv5": (0.01, 1.0),
    "fc6": (0.005, 1.0),
    "fc7": (0.005, 1.0),
    "fc8": (0.01, 0.0),
}
"""The standard deviation of each layer's weights, and its bias [code]."""


class CaffeNet(nn.Module):
    """Images (N, 3, 227, 227) to a tuple of one (N, `classes`) tensor of logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        pool = partial(nn.MaxPool2d, 3, 2)
        norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, 96, 11, stride=4),
            relu1=nn.ReLU(),
            pool1=pool(),
            norm1=norm(),
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu2=nn.ReLU(),
            pool2=pool(),
            norm2=norm(),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=pool(),
            flatten=nn.Flatten(),
            fc6=nn.Linear(256 * 6 * 6, 4096),
            relu6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            fc8=nn.Linear(4096, classes),
        )
        self.layers = nn.Sequential(layers)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the logits, (N, classes)."""
        return (self.layers(image),)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, CaffeNet):
        for name, (deviation, bias) in FILLERS.items():
            layer = module.layers.get_submodule(name)
            nn.init.normal_(layer.get_parameter("weight"), std=deviation)
            nn.init.constant_(layer.get_parameter("bias"), bias)


def network(variant: str) -> nn.Module:
    """Return `age`, `gender` or `pair`, freshly initialised."""
    return single_or_pair(variant, CaffeNet, _initialise)
