"""The evidence's published networks as lists of operators: shapes only, no weights, no framework.

Each is written from its paper or its authors' published code (named in its docstring), and
`features.py` holds its multiply-accumulates to the count published with it.
"""

from __future__ import annotations

from math import ceil

from edgekit.latency_model.workload import Operator, Workload, convolution, total


class Net:
    """A network under construction: the current feature map (height = width) and its operators."""

    def __init__(self, size: int, channels: int = 3) -> None:
        self.size, self.channels = size, channels
        self.operators: list[Operator] = []

    @property
    def numbers(self) -> int:
        """The numbers in the current feature map."""
        return self.size**2 * self.channels

    def conv(
        self, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, pad: int | None = None
    ) -> Net:
        """Add a convolution; `pad` None is TensorFlow's SAME, the same sizes as half the kernel."""
        before, group = self.numbers, self.channels // groups
        self.size = (
            ceil(self.size / stride)
            if pad is None
            else (self.size + 2 * pad - kernel) // stride + 1
        )
        self.channels = out
        self.operators.append(
            convolution(
                before,
                self.numbers,
                area=kernel**2,
                channels=out,
                group_inputs=group,
                groups=groups,
            )
        )
        return self

    def depthwise(self, kernel: int = 3, stride: int = 1) -> Net:
        """Add a depthwise convolution."""
        return self.conv(self.channels, kernel, stride, groups=self.channels)

    def other(self, reads: int = 1) -> Net:
        """Add an operator without weights that reads `reads` such maps and writes one."""
        self.operators.append(
            Operator(kind="other", macs=0, inputs=reads * self.numbers, outputs=self.numbers)
        )
        return self

    def pool(self, kernel: int, stride: int, *, pad: int | None = None, up: bool = False) -> Net:
        """Add a pooling; `up` rounds sizes up, as Caffe does."""
        before = self.numbers
        if pad is None:
            self.size = ceil(self.size / stride)
        else:
            steps = (self.size + 2 * pad - kernel) / stride
            self.size = (ceil(steps) if up else int(steps)) + 1
        self.operators.append(Operator(kind="other", macs=0, inputs=before, outputs=self.numbers))
        return self

    def global_pool(self) -> Net:
        """Add an average over the whole map."""
        before, self.size = self.numbers, 1
        self.operators.append(Operator(kind="other", macs=0, inputs=before, outputs=self.channels))
        return self

    def dense(self, out: int) -> Net:
        """Add a fully connected layer over all the map's numbers."""
        before = self.numbers
        self.operators.append(
            Operator(
                kind="dense", macs=before * out, inputs=before, outputs=out, weights=before * out
            )
        )
        self.size, self.channels = 1, out
        return self

    def softmax(self) -> Net:
        """Add the softmax over the classes."""
        return self.other()

    def concat(self, *parts: int) -> Net:
        """Add the joining of maps with these channels at the current size."""
        self.channels = sum(parts)
        return self.other()

    @property
    def workload(self) -> Workload:
        """The sums over what was added."""
        return total(self.operators)


def divisible(value: float, divisor: int = 8) -> int:
    """Return TensorFlow slim's rounding of channels: to the divisor, never below 90 %."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def mobilenet_v1(width: float, size: int) -> Net:
    """MobileNet v1 (arXiv 1704.04861), TensorFlow slim: 1001 classes by a 1×1 convolution."""
    net = Net(size).conv(max(8, int(32 * width)), 3, 2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for out, stride in [*plan, (1024, 2), (1024, 1)]:
        net.depthwise(3, stride).conv(max(8, int(out * width)))
    return net.global_pool().conv(1001).softmax()


def _inverted(net: Net, expand: float, out: int, kernel: int, stride: int) -> Net:
    """Add an inverted residual block; the shortcut where the shapes allow it."""
    channels = net.channels
    if expand != 1:
        net.conv(divisible(channels * expand, 1))
    net.depthwise(kernel, stride).conv(out)
    return net.other(2) if stride == 1 and channels == out else net


def mobilenet_v2(width: float, size: int) -> Net:
    """MobileNet v2 (arXiv 1801.04381), TensorFlow slim: last 1280 never shrink, 1001 classes."""
    net = Net(size).conv(divisible(32 * width), 3, 2)
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    for expand, out, repeats, stride in [*plan, (6, 160, 3, 2), (6, 320, 1, 1)]:
        for index in range(repeats):
            _inverted(net, expand, divisible(out * width), 3, 1 if index else stride)
    return net.conv(max(1280, divisible(1280 * width))).global_pool().conv(1001).softmax()


LITE = {
    0: (1.0, 1.0, 224),
    1: (1.0, 1.1, 240),
    2: (1.1, 1.2, 260),
    3: (1.2, 1.4, 280),
    4: (1.4, 1.8, 300),
}
"""EfficientNet-Lite's width, depth and input size (tensorflow/tpu, efficientnet/lite)."""


def efficientnet_lite(number: int) -> Net:
    """EfficientNet-Lite: EfficientNet (arXiv 1905.11946) with no squeeze, stem and head fixed."""
    width, depth, size = LITE[number]
    net = Net(size).conv(32, 3, 2)
    plan = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
    ]
    plan += [(6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]
    for stage, (expand, out, repeats, stride, kernel) in enumerate(plan):
        fixed = stage in {0, len(plan) - 1}
        for index in range(repeats if fixed else ceil(repeats * depth)):
            _inverted(net, expand, divisible(out * width), kernel, 1 if index else stride)
    return net.conv(1280).global_pool().dense(1000).softmax()


def mobilenet_v2_torch(size: int) -> Net:
    """MobileNet v2 as torchvision has it: 1000 classes by a fully connected layer."""
    net = mobilenet_v2(1.0, size)
    net.operators = net.operators[:-2]
    return net.dense(1000)


def _stem(net: Net) -> Net:
    return net.conv(64, 7, 2, pad=3).pool(3, 2, pad=1)


def resnet18(size: int = 224) -> Net:
    """ResNet-18 (arXiv 1512.03385)."""
    net = _stem(Net(size))
    for stage, out in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            _shortcut(net, out, stride)
            net.conv(out, 3, stride, pad=1).conv(out, 3, pad=1).other(2)
    return net.global_pool().dense(1000)


def resnet50(width: int = 64, size: int = 224) -> Net:
    """ResNet-50 v1.5 as torchvision has it: the 3×3 has the stride; `width` 128 is the wide one."""
    net = _stem(Net(size))
    for stage, repeats in enumerate((3, 4, 6, 3)):
        inner, out = width << stage, 256 << stage
        for block in range(repeats):
            stride = 2 if stage and not block else 1
            _shortcut(net, out, stride)
            net.conv(inner).conv(inner, 3, stride, pad=1).conv(out).other(2)
    return net.global_pool().dense(1000)


def _shortcut(net: Net, out: int, stride: int) -> None:
    """Add the projection of a residual's shortcut where the shapes differ."""
    if stride != 1 or net.channels != out:
        here = net.size, net.channels
        net.conv(out, 1, stride, pad=0)
        net.size, net.channels = here


def squeezenet_1_0(size: int = 224) -> Net:
    """SqueezeNet 1.0 (arXiv 1602.07360) as torchvision has it."""
    net = Net(size).conv(96, 7, 2, pad=0).pool(3, 2, pad=0, up=True)
    plan = [(16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None]
    for fire in [*plan, (64, 256)]:
        if fire is None:
            net.pool(3, 2, pad=0, up=True)
            continue
        squeeze, expand = fire
        net.conv(squeeze).conv(expand)
        net.channels = squeeze
        net.conv(expand, 3, pad=1).concat(expand, expand)
    return net.conv(1000).global_pool()


def squeezenet_1_1(size: int = 224) -> Net:
    """SqueezeNet 1.1 as torchvision has it."""
    net = Net(size).conv(64, 3, 2, pad=0).pool(3, 2, pad=0, up=True)
    plan = [(16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192)]
    for fire in [*plan, (64, 256), (64, 256)]:
        if fire is None:
            net.pool(3, 2, pad=0, up=True)
            continue
        squeeze, expand = fire
        net.conv(squeeze).conv(expand)
        net.channels = squeeze
        net.conv(expand, 3, pad=1).concat(expand, expand)
    return net.conv(1000).global_pool()


def vgg(*repeats: int) -> Net:
    """VGG (arXiv 1409.1556): `repeats` convolutions in each of its five stages."""
    net = Net(224)
    for count, out in zip(repeats, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            net.conv(out, 3, pad=1)
        net.pool(2, 2, pad=0)
    return net.dense(4096).dense(4096).dense(1000)


def vision_transformer_b32(size: int = 384) -> Net:
    """ViT-B/32 (arXiv 2010.11929): 12 blocks of width 768 over size/32 squared patches and one."""
    net = Net(size).conv(768, 32, 32, pad=0)
    tokens = net.size**2 + 1
    for _ in range(12):
        _transformer_block(net, tokens, 768, 4)
    return net.global_pool().dense(1000)


def _transformer_block(net: Net, tokens: int, width: int, ratio: int) -> None:
    """Add attention and a two-layer perceptron, each between a norm and an addition."""
    numbers = tokens * width

    def linear(reads: int, writes: int) -> None:
        net.operators.append(
            Operator(
                kind="pointwise",
                macs=tokens * reads * writes,
                inputs=tokens * reads,
                outputs=tokens * writes,
                weights=reads * writes,
            )
        )

    def simple(reads: int, writes: int) -> None:
        net.operators.append(Operator(kind="other", macs=0, inputs=reads, outputs=writes))

    simple(numbers, numbers)
    linear(width, 3 * width)
    attention = 2 * tokens**2 * width
    net.operators.append(
        Operator(kind="pointwise", macs=attention, inputs=3 * numbers, outputs=numbers)
    )
    linear(width, width)
    simple(2 * numbers, numbers)
    simple(numbers, numbers)
    linear(width, ratio * width)
    simple(ratio * numbers, ratio * numbers)
    linear(ratio * width, width)
    simple(2 * numbers, numbers)
