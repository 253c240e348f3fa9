"""multitask-cnn: three convolutions, four depthwise-separable blocks, two fully connected layers.

Source [paper]: Vu, Phung, Wang, Wang, "Age and Gender Recognition Using Multi-task CNN",
APSIPA 2019, Table I. RGB 64×64; 3×3 convolutions with biases; Xavier-uniform weights, zero biases.

Guessed:
- [inferred] two fully connected layers of 512: of the variants with a global pool only that one
  rounds to the printed 0.9M (one layer: 604,418 parameters; three: 1,129,730).
- [inferred] the last block has 256 filters: Table I's "2×2×512" there is a misprint.
- [inferred] stride-2 depthwise convolutions pad one pixel on every side, as PyTorch does. Keras
  "same" pads the bottom and right only: the counts are equal, the outputs differ, so weights
  trained in one do not give the same numbers in the other.
- [inferred] pixels are scaled to [-1, 1) (`systems.toml`); the paper does not say.
- the `classification` variant (8 + 2 logits) is ours; the paper has the two linear outputs of
  `regression`: the age class index and the gender.
- the `teacher` variant is ours too: a larger network on 96×96 with the same outputs, from which
  the shipped network is distilled. It is not meant to be deployed.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit.zoo.efficientnet_lite import EfficientNetLite0
from edgekit.zoo.heads import JointHeads


def _convolution(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, 3, padding=1),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Dropout(0.25),
    )


def _separable(inputs: int, filters: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs),
        nn.BatchNorm2d(inputs),
        nn.ReLU6(),
        nn.Conv2d(inputs, filters, 1),
        nn.BatchNorm2d(filters),
        nn.ReLU6(),
    )


def _fully_connected(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 512), nn.ReLU(), nn.Dropout(0.25))


class MultitaskCNN(nn.Module):
    """Images (N, 3, 64, 64) to (age, gender); see `JointHeads` for the two kinds of head."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _convolution(3, 32),
            _convolution(32, 64),
            _convolution(64, 128),
            _separable(128, 256, stride=1),
            _separable(256, 256, stride=2),
            _separable(256, 512, stride=1),
            _separable(512, 256, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            _fully_connected(256),
            _fully_connected(512),
        )
        self.heads = JointHeads(512, variant)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return age and gender: (N, 8) and (N, 2) logits, or (N, 1) and (N, 1) values."""
        outputs: tuple[Tensor, Tensor] = self.heads(self.trunk(image))
        return outputs


def network(variant: str) -> nn.Module:
    """Return `regression`, `classification` or the larger `teacher`, freshly initialised."""
    return EfficientNetLite0() if variant == "teacher" else MultitaskCNN(variant)
