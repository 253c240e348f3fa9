"""ncnn's two files: `.param` lists the layers, `.bin` holds their numbers one after the other.

The text and the order of the numbers are ncnn's own; where a layer of unknown kind has numbers,
the file cannot be cut into layers, and `read_net` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

MAGIC = "7767517"

_BYTES_A_NUMBER = {0: 4, 0x0002C056: 4, 0x01306B47: 2, 0x000D4B38: 1}
"""A tagged blob begins with four bytes that say what its numbers are: float32 (two ways), float16
or int8. Each blob is filled up to whole four bytes."""

Shape = tuple[int, ...]
"""Of a blob, which has no batch: channels, height and width, as far as it has them."""
Blob = tuple[bool, int]
"""Whether a blob of numbers is tagged, and how many numbers it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One line of a `.param` file, and its numbers as they stand in the `.bin` file."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: tuple[tuple[int, str], ...]
    numbers: bytes = b""

    def whole(self, key: int, default: int = 0) -> int:
        """Return an option that is a whole number."""
        return int(dict(self.options).get(key, default))

    def with_option(self, key: int, value: int) -> Layer:
        """Return the layer with one option set."""
        others = tuple(item for item in self.options if item[0] != key)
        return replace(self, options=(*others, (key, str(value))))

    def with_blob(self, old: str, new: str) -> Layer:
        """Return the layer with one of its blobs called otherwise."""
        inputs, outputs = (
            tuple(new if name == old else name for name in names)
            for names in (self.inputs, self.outputs)
        )
        return replace(self, inputs=inputs, outputs=outputs)


def reshape(name: str, source: str, target: str, shape: Shape) -> Layer:
    """Return a layer that gives a blob another shape of as many numbers, of 1 to 4 dimensions."""
    keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}[len(shape)]
    options = tuple((key, str(size)) for key, size in zip(keys, shape, strict=True))
    return Layer(
        kind="Reshape", name=name, inputs=(source,), outputs=(target,), options=options[::-1]
    )


def read_layers(param: Path) -> tuple[Layer, ...]:
    """Return a network's layers without their numbers. Raises ValueError for another format."""
    lines = param.read_text().splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError("not an ncnn .param file")
    return tuple(_layer(line) for line in lines[2:] if line.strip())


def read_net(param: Path, weights: Path) -> tuple[Layer, ...]:
    """Return a network's layers with their numbers.

    Raises ValueError where the two files do not belong together, or a layer's numbers are unknown.
    """
    data, at, layers = weights.read_bytes(), 0, []
    for layer in read_layers(param):
        end = at
        for tagged, count in blobs(layer):
            width = 4
            if tagged:
                tag = int.from_bytes(data[end : end + 4], "little")
                if tag not in _BYTES_A_NUMBER:
                    raise ValueError(f"the numbers of {layer.kind} {layer.name} cannot be read")
                width, end = _BYTES_A_NUMBER[tag], end + 4
            end += -(-count * width // 4) * 4
        layers.append(replace(layer, numbers=data[at:end]))
        at = end
    if at != len(data):
        kinds = ", ".join(sorted({layer.kind for layer in layers}))
        raise ValueError(f"one of its layers holds numbers of an unknown kind: {kinds}")
    return tuple(layers)


def write_net(layers: Sequence[Layer], param: Path, weights: Path) -> None:
    """Write both files."""
    write_param(layers, param)
    weights.write_bytes(b"".join(layer.numbers for layer in layers))


def write_param(layers: Sequence[Layer], param: Path) -> None:
    """Write the file that lists the layers, whose numbers stay what they are."""
    tensors = len({name for layer in layers for name in layer.outputs})
    lines = [MAGIC, f"{len(layers)} {tensors}"]
    for layer in layers:
        ends = (str(len(layer.inputs)), str(len(layer.outputs)), *layer.inputs, *layer.outputs)
        options = (f"{key}={value}" for key, value in layer.options)
        lines.append(" ".join((layer.kind, layer.name, *ends, *options)))
    param.write_text("\n".join(lines) + "\n")


def blob_shapes(param: Path, layers: Sequence[Layer]) -> dict[str, Shape]:
    """Return the shape of every blob: ncnn runs the network once, on black pixels.

    The input's shape is the manifest's, which lies beside the file. Raises ValueError where ncnn
    cannot run it.
    """
    import json

    import numpy as np

    from edgekit.onboard import runner

    manifest = json.loads((param.parent / "manifest.json").read_text())
    spec = manifest["input"]
    black = np.zeros((spec["height"], spec["width"], 1 if spec["colour"] == "GREY" else 3), "u1")
    run = runner.ncnn_net(str(param), 1, keep_blobs=True).create_extractor()
    run.input("in0", runner.ncnn_input(runner.feed(black, manifest), manifest))
    found: dict[str, Shape] = {}
    for name in (name for layer in layers for name in layer.outputs):
        code, value = run.extract(name)
        if code:
            raise ValueError(f"ncnn cannot compute blob {name}")
        found[name] = tuple(np.array(value).shape)
    return found


def blobs(layer: Layer) -> tuple[Blob, ...]:
    """Return the blobs of numbers that ncnn reads for a layer, in order."""
    of = _NUMBERS.get(layer.kind)
    return of(layer) if of else ()


def _layer(line: str) -> Layer:
    kind, name, inputs, outputs, *rest = line.split()
    into, out = int(inputs), int(outputs)
    given = (item.split("=", 1) for item in rest[into + out :])
    return Layer(
        kind=kind,
        name=name,
        inputs=tuple(rest[:into]),
        outputs=tuple(rest[into : into + out]),
        options=tuple((int(key), value) for key, value in given),
    )


def _weighted(weights: int, bias: int) -> Callable[[Layer], tuple[Blob, ...]]:
    """Return what reads a layer with weights and perhaps a bias, by those options' keys."""

    def of(layer: Layer) -> tuple[Blob, ...]:
        rows: list[Blob] = [(True, layer.whole(weights))] if layer.whole(weights) else []
        return (*rows, (False, layer.whole(0))) if rows and layer.whole(bias) else tuple(rows)

    return of


def _affine(channels: int, switch: int, count: int = 2) -> Callable[[Layer], tuple[Blob, ...]]:
    def of(layer: Layer) -> tuple[Blob, ...]:
        return ((False, layer.whole(channels)),) * (count if layer.whole(switch, 1) else 0)

    return of


def _recurrent(gates: int, biases: int) -> Callable[[Layer], tuple[Blob, ...]]:
    def of(layer: Layer) -> tuple[Blob, ...]:
        out, ways = layer.whole(0), 2 if layer.whole(2) == 2 else 1
        hidden = layer.whole(3, out) if layer.kind == "LSTM" else out
        rows: tuple[Blob, ...] = (
            (True, layer.whole(1)),
            (True, ways * hidden * biases),
            (True, ways * out * hidden * gates),
        )
        return rows if out == hidden else (*rows, (True, ways * hidden * out))

    return of


def _constant(layer: Layer) -> tuple[Blob, ...]:
    sizes = [layer.whole(key) for key in (0, 1, 11, 2)]
    return ((layer.whole(21, 1) == 0, prod(size for size in sizes if size)),)


def _gemm(layer: Layer) -> tuple[Blob, ...]:
    rows, columns, depth = (layer.whole(key) for key in (7, 8, 9))
    addend = {0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}
    found: list[Blob] = []
    if layer.whole(4):
        found.append((True, rows * depth))
    if layer.whole(5):
        found.append((True, columns * depth))
    if layer.whole(6) and layer.whole(10) != -1:
        found.append((True, addend[layer.whole(10)]))
    return tuple(found)


def _attention(layer: Layer) -> tuple[Blob, ...]:
    wide, size = layer.whole(0), layer.whole(2)
    query = size // wide
    keys = (layer.whole(3, wide), layer.whole(4, wide))
    projections = [(True, size), (False, wide)]
    for source in keys:
        projections += [(True, wide * source), (False, wide)]
    return (*projections, (True, size), (False, query))


_NUMBERS: dict[str, Callable[[Layer], tuple[Blob, ...]]] = {
    **{
        f"{kind}{way}{dimensions}": _weighted(6, 5)
        for kind in ("Convolution", "Deconvolution")
        for way in ("", "DepthWise")
        for dimensions in ("", "1D", "3D")
    },
    "DeformableConv2D": _weighted(6, 5),
    "InnerProduct": _weighted(2, 1),
    "Embed": _weighted(3, 2),
    "BatchNorm": lambda layer: ((False, layer.whole(0)),) * 4,
    "Scale": lambda layer: ((False, layer.whole(0)),) * (1 + layer.whole(1)),
    "Bias": lambda layer: ((False, layer.whole(0)),),
    "PReLU": lambda layer: ((False, layer.whole(0)),),
    "Normalize": lambda layer: ((False, layer.whole(3)),),
    "Padding": lambda layer: ((False, layer.whole(6)),),
    "LayerNorm": _affine(0, 2),
    "InstanceNorm": _affine(0, 2),
    "GroupNorm": _affine(1, 3),
    "RMSNorm": _affine(0, 2, 1),
    "LSTM": _recurrent(4, 4),
    "GRU": _recurrent(3, 4),
    "RNN": _recurrent(1, 1),
    "MemoryData": _constant,
    "Gemm": _gemm,
    "MultiHeadAttention": _attention,
}
"""What ncnn's `load_model` of each layer reads; a layer that is not here has no numbers."""
