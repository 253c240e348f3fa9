"""int8 for ncnn: its Python package has no quantizer, so this one writes what ncnn's own would.

Convolutions, depthwise convolutions and inner products get int8 weights, one scale a channel, and
one scale for what comes in; all other layers compute in float. ncnn multiplies and adds in whole
numbers, so the scales decide all:

    weights      127 / largest weight of the channel
    activations  127 / largest value that the calibration pixels gave
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.backends._ncnn_files import Layer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUANTIZED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
REQUANTIZES = QUANTIZED[:2]
"""What can hand int8 on to a convolution behind it, with no float between."""

SCALES = 8
"""The option that says an int8 layer's scales stand in the file; 100 more: the output's too."""
_INT8 = (0x000D4B38).to_bytes(4, "little")

WINOGRAD_LIMIT = (2**31 - 1) // (576 * 127)
"""How large the int8 weights of one output channel of a 3×3 convolution may be together.

ncnn computes such convolutions by Winograd's F(4, 3) where the CPU has no dot product. It holds
576 times the sum of products in int32, and an input is 127 at most: with weights up to this sum
no input at all can leave int32. ncnn's own tool takes 6-bit weights there, whatever their sum.
"""


def quantizable(layer: Layer) -> bool:
    """Tell whether a layer can run in int8.

    Its weights are stored, not computed. A grouped convolution that is not depthwise stays in
    float: ncnn's int8 of them was seen to be wrong (release 1.0.20261020, 16 to 32 channels in 4
    groups: 0.1 to 0.3 off where outputs were 0.01 apart).
    """
    if layer.kind == "ConvolutionDepthWise":
        window = layer.whole(1) * layer.whole(11, layer.whole(1))
        return bool(layer.numbers) and layer.whole(6) == window * layer.whole(0)
    return layer.kind in QUANTIZED and bool(layer.numbers)


def ranges(
    net: Any, feed: Callable[[Any], Any], samples: Iterable[Any], names: Iterable[str]
) -> dict[str, float]:
    """Return the largest absolute value of each named blob of an ncnn.Net over the samples.

    `feed` makes an ncnn.Mat of a sample. The net must keep its blobs (`lightmode` off).
    """
    import numpy as np

    largest = dict.fromkeys(names, 0.0)
    for sample in samples:
        run = net.create_extractor()
        run.input("in0", feed(sample))
        for name in largest:
            code, value = run.extract(name)
            if code:
                raise RuntimeError(f"ncnn could not compute blob {name} (code {code})")
            largest[name] = max(largest[name], float(np.abs(np.array(value)).max()))
    return largest


def quantize(
    layers: tuple[Layer, ...], largest: dict[str, float], keep_float: tuple[str, ...]
) -> tuple[Layer, ...]:
    """Return the network with every quantizable layer in int8 but those named in `keep_float`.

    `largest` has the input blob of each.
    """
    chosen = {
        layer.name: _activation_scale(largest[layer.inputs[0]])
        for layer in layers
        if quantizable(layer) and layer.name not in keep_float
    }
    passed_on = _passed_on(layers, chosen)
    return tuple(
        _int8(layer, chosen[layer.name], passed_on.get(layer.name))
        if layer.name in chosen
        else layer
        for layer in layers
    )


def _activation_scale(largest: float) -> float:
    return 127 / largest if largest > 0 else 1.0


def _passed_on(layers: tuple[Layer, ...], chosen: dict[str, float]) -> dict[str, float]:
    """Return the layers whose output only int8 convolutions take, and the scale these share."""
    takers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            takers.setdefault(name, []).append(layer)

    def behind(blob: str) -> list[Layer]:
        found = []
        for taker in takers.get(blob, []):
            if taker.kind == "Split":
                found += [layer for name in taker.outputs for layer in behind(name) or [taker]]
            else:
                found.append(taker)
        return found

    scales = {}
    for layer in layers:
        if layer.name not in chosen or layer.kind not in REQUANTIZES:
            continue
        following = behind(layer.outputs[0])
        wanted = {chosen.get(item.name) for item in following}
        same = len(wanted) == 1 and None not in wanted
        if same and all(item.kind in REQUANTIZES for item in following):
            scales[layer.name] = chosen[following[0].name]
    return scales


def _int8(layer: Layer, scale: float, handed_on: float | None) -> Layer:
    """Return a layer with int8 weights; `handed_on` is its output's scale where that is int8."""
    import numpy as np

    count = layer.whole(2 if layer.kind == "InnerProduct" else 6)
    depthwise = layer.kind == "ConvolutionDepthWise"
    rows = layer.whole(7, 1) if depthwise else layer.whole(0)
    weights = np.frombuffer(layer.numbers, np.float32, count, offset=4).reshape(rows, -1)
    bias = layer.numbers[4 + 4 * count :]
    limit = WINOGRAD_LIMIT if _by_winograd(layer, weights.shape[1]) else None
    scales, whole = _weights(weights, limit)
    ends = [scale] if handed_on is None else [scale, handed_on]
    numbers = b"".join(
        (
            _INT8,
            whole.tobytes() + bytes(-whole.size % 4),
            bias,
            scales.tobytes(),
            np.array(ends, np.float32).tobytes(),
        )
    )
    term = (1 if depthwise else 2) + (0 if handed_on is None else 100)
    return replace(layer.with_option(SCALES, term), numbers=numbers)


def _weights(
    weights: NDArray[np.float32], limit: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return each row's scale and its int8 weights, their absolute sum held to `limit`."""
    import numpy as np

    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest > 0, 127 / np.where(largest > 0, largest, 1), 1).astype(np.float32)
    while True:
        whole = np.clip(np.round(weights * scales[:, None]), -127, 127).astype(np.int8)
        sums = np.abs(whole.astype(np.int64)).sum(axis=1)
        if limit is None or (sums <= limit).all():
            return scales, whole
        # A little more than the sum asks for: rounding may bring some of it back.
        scales = np.where(sums > limit, scales * (0.999 * limit / sums), scales).astype(np.float32)


def _by_winograd(layer: Layer, row: int) -> bool:
    """Tell whether ncnn may take F(4, 3) for a layer: 3×3, stride and dilation 1."""
    if layer.kind != "Convolution":
        return False
    window = (layer.whole(1), layer.whole(11, layer.whole(1)))
    steps = [layer.whole(key, 1) for key in (2, 3)]
    steps += [layer.whole(12, steps[0]), layer.whole(13, steps[1])]
    return window == (3, 3) and set(steps) == {1} and row >= 9
