"""YOLO11 (ultralytics, cfg/models/11/yolo11.yaml) as operators, from its published layout."""

from __future__ import annotations

from networks import Net

from edgekit.latency_model.workload import Operator

SCALES = {
    "n": (0.5, 0.25, 1024),
    "s": (0.5, 0.5, 1024),
    "m": (0.5, 1.0, 512),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.5, 512),
}
"""Depth, width and the most channels of each size."""
CLASSES = 80


def yolo11(scale: str, size: int = 640) -> Net:
    """Return YOLO11 of a scale for `size`² pixels; SiLU counts as one operator a convolution."""
    depth, width, most = SCALES[scale]
    deep = scale in "mlx"

    def channels(value: int) -> int:
        return int(-(-min(value, most) * width // 8) * 8)

    repeats = max(round(2 * depth), 1)
    net = Net(size)
    _act(net, channels(64), 3, 2)
    _act(net, channels(128), 3, 2)
    _c3k2(net, channels(256), repeats, deep, 0.25)
    _act(net, channels(256), 3, 2)
    _c3k2(net, channels(512), repeats, deep, 0.25)
    p3 = net.channels
    _act(net, channels(512), 3, 2)
    _c3k2(net, channels(512), repeats, True, 0.5)
    p4 = net.channels
    _act(net, channels(1024), 3, 2)
    _c3k2(net, channels(1024), repeats, True, 0.5)
    _sppf(net)
    _c2psa(net, repeats)
    p5 = net.channels
    _upsample(net).concat(net.channels, p4)
    _c3k2(net, channels(512), repeats, deep, 0.5)
    head4 = net.channels
    _upsample(net).concat(net.channels, p3)
    _c3k2(net, channels(256), repeats, deep, 0.5)
    head3 = net.channels
    inner, scores = max(16, head3 // 4, 64), max(head3, min(CLASSES, 100))
    _detect(net, inner, scores)
    _act(net, channels(256), 3, 2)
    net.concat(net.channels, head4)
    _c3k2(net, channels(512), repeats, deep, 0.5)
    _detect(net, inner, scores)
    _act(net, channels(512), 3, 2)
    net.concat(net.channels, p5)
    _c3k2(net, channels(1024), repeats, True, 0.5)
    _detect(net, inner, scores)
    return net


def _act(net: Net, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
    net.conv(out, kernel, stride, groups=groups).other()


def _upsample(net: Net) -> Net:
    before, net.size = net.numbers, 2 * net.size
    net.operators.append(Operator(kind="other", macs=0, inputs=before, outputs=net.numbers))
    return net


def _bottleneck(net: Net, share: float) -> None:
    out = net.channels
    _act(net, int(out * share), 3)
    _act(net, out, 3)
    net.other(2)


def _c3k2(net: Net, out: int, repeats: int, deep: bool, share: float) -> None:
    inner = int(out * share)
    _act(net, 2 * inner)
    net.channels = inner
    for _ in range(repeats):
        if not deep:
            _bottleneck(net, 0.5)
            continue
        half = inner // 2
        _act(net, half)
        net.channels = inner
        _act(net, half)
        for _ in range(2):
            _bottleneck(net, 1.0)
        net.concat(half, half)
        _act(net, inner)
    net.concat(*[inner] * (2 + repeats))
    _act(net, out)


def _sppf(net: Net) -> None:
    out = net.channels
    _act(net, out // 2)
    for _ in range(3):
        net.pool(5, 1)
    net.concat(*[out // 2] * 4)
    _act(net, out)


def _c2psa(net: Net, repeats: int) -> None:
    out = net.channels
    inner = out // 2
    _act(net, out)
    net.channels = inner
    for _ in range(repeats):
        net.conv(2 * inner)
        net.channels = inner
        tokens = net.size**2
        # Keys have half the width of values: queries × keys, then scores × values.
        macs = tokens**2 * (inner // 2 + inner)
        net.operators.append(
            Operator(kind="pointwise", macs=macs, inputs=2 * net.numbers, outputs=net.numbers)
        )
        net.depthwise().other(2).conv(inner).other(2)
        _act(net, 2 * inner)
        net.conv(inner).other(2)
    net.concat(inner, inner)
    _act(net, out)


def _detect(net: Net, inner: int, scores: int) -> None:
    """Add one scale's boxes and scores; the map goes on as it was."""
    here = net.size, net.channels
    _act(net, inner, 3)
    _act(net, inner, 3)
    net.conv(64)
    net.size, net.channels = here
    for _ in range(2):
        _act(net, net.channels, 3, groups=net.channels)
        _act(net, scores)
    net.conv(CLASSES)
    net.size, net.channels = here
