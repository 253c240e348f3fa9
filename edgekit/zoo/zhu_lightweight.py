"""zhu-lightweight: a 6.1M-budget joint-regression CNN after Zhu et al.

Source [reconstruction]: Zhu, Wang, Lin, Zhang, "Learning a Lightweight Deep Convolutional Network
for Joint Age and Gender Recognition", ICPR 2016. Its abstract gives one network, shared features,
trained end to end, about ten times faster than earlier methods; the seed paper prints 6.1 M
parameters. No layer table is public.

Guessed, all of it [reconstruction]: the 128×128 input, the four convolutions and their widths,
pooling that rounds down (63, 31, 15, 7), two fully connected layers of 256, dropout; Kaiming-
normal weights with zero biases; pixels scaled to [-1, 1). The `classification` variant is ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit.zoo.heads import JointHeads


def _convolution(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))


def _fully_connected(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.5))


class ZhuLightweight(nn.Module):
    """Images (N, 3, 128, 128) to (age, gender); see `JointHeads` for the two kinds of head."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _convolution(3, 32),
            _convolution(32, 128),
            _convolution(128, 256),
            _convolution(256, 384),
            nn.Flatten(),
            _fully_connected(384 * 7 * 7),
            _fully_connected(256),
        )
        self.heads = JointHeads(256, variant)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return age and gender: (N, 1) and (N, 1) values, or (N, 8) and (N, 2) logits."""
        outputs: tuple[Tensor, Tensor] = self.heads(self.trunk(image))
        return outputs


def network(variant: str) -> nn.Module:
    """Return `regression` or `classification`, freshly initialised."""
    return ZhuLightweight(variant)
