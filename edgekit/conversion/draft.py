"""A first spec.toml for a network from a file: what the file says, and what its owner must add."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.conversion.onnx_source import ANY
from edgekit.conversion.pt2_source import open_pt2, output_paths
from edgekit.conversion.sources import check_kind
from edgekit.errors import BadModel
from edgekit.spec import DTYPES

FREE = 0
"""What stands for a size that the file leaves free: no spec is read with it."""
UNNAMED = {ANY, "?", "-1", "None", "unknown"}
"""What stands in files for a free size without a name: two of them need not be one size."""
PIXELS = """\
# A pixel, 0 to 255, becomes (pixel - mean) / std. These give 0 to 1: write what
# the training used. `colour` says RGB or BGR (OpenCV reads BGR), `fit` and
# `resize_to` how pictures of other sizes are fitted.
"""
KINDS = """\
# Give an output its kind, and int8 is judged by what it decides:
# classification, ordinal or multilabel (with labels, a list or a text file),
# detection, keypoints, segmentation, value, embedding, image. Without one it is
# a plain tensor.
"""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or an output of a network: its name in the file, its sizes, a free one by name."""

    name: str
    sizes: tuple[int | str, ...]
    dtype: str


def draft(path: Path, *, trust: bool = False) -> str:
    """Return the text of a spec for the network in an .onnx or .pt2 file.

    Sizes that the file leaves free are 0 there, which no conversion takes. Raises BadModel for
    other files, and for those that are damaged.
    """
    if not path.is_file():
        raise BadModel(f"there is no file {path}: check the path")
    read = {".onnx": _onnx_ports, ".pt2": _pt2_ports}.get(path.suffix)
    if read is None:
        check_kind(path)
        raise BadModel(
            f"{path} is no .onnx and no .pt2, so its inputs cannot be read from it: write the spec "
            "by hand, as docs/no-board.md shows"
        )
    inputs, outputs = read(path, trust)
    # A free first size is the batch in nearly every file, and so is the same name elsewhere.
    batches = {port.sizes[0] for port in inputs if port.sizes and isinstance(port.sizes[0], str)}
    named = batches - UNNAMED
    inputs = [
        replace(
            port,
            sizes=tuple(
                1 if size in (named if place else batches) else size
                for place, size in enumerate(port.sizes)
            ),
        )
        for port in inputs
    ]
    head = f"# Drafted from {_escaped(path.name)} by `edgekit spec`. Check every line.\n"
    return head + "\n".join(
        [*_inputs(inputs, path), KINDS + "\n".join(map(_output, outputs, _names(outputs)))]
    )


def _inputs(inputs: Sequence[Port], path: Path) -> list[str]:
    if len(inputs) == 1 and inputs[0].dtype == "float32" and len(inputs[0].sizes) == 4:
        _, *rest = inputs[0].sizes
        for layout, (channels, height, width) in (
            ("NCHW", rest),
            ("NHWC", (rest[2], rest[0], rest[1])),
        ):
            if channels in {1, 3}:
                return [_picture(layout, int(channels), height, width)]
    return [_tensor(port, path) for port in inputs]


def _picture(layout: str, channels: int, height: int | str, width: int | str) -> str:
    lines = ["[input]"]
    for name, size in (("height", height), ("width", width)):
        lines.append(f"{name} = {_size(size)}{_free([size])}")
    zeros, full = ", ".join(["0.0"] * channels), ", ".join(["255.0"] * channels)
    extra = [f'layout = "{layout}"'] if layout != "NCHW" else []
    extra += ['colour = "GREY"'] if channels == 1 else []
    text = "\n".join([*lines, *extra])
    return f"{text}\n{PIXELS}mean = [{zeros}]\nstd = [{full}]\n"


def _tensor(port: Port, path: Path) -> str:
    if port.dtype not in DTYPES:
        raise BadModel(
            f"the input '{port.name}' of {path} is {port.dtype}, and edgekit takes "
            f"{', '.join(DTYPES)}: export the network with one of them"
        )
    shape = ", ".join(str(_size(size)) for size in port.sizes)
    kind = "" if port.dtype == "float32" else f'dtype = "{port.dtype}"\n'
    return (
        f'[[inputs]]\nname = {_quoted(port.name)}\nkind = "tensor"\n'
        f"shape = [{shape}]{_free(port.sizes)}\n{kind}"
        "# range = [0, 1]   the least and the largest value, if you know them\n"
    )


def _output(port: Port, name: str) -> str:
    sizes = _escaped(", ".join(map(str, port.sizes)))
    taken = f"from = {_quoted(port.name)}\n" if name != port.name else ""
    return f"[[outputs]]\nname = {_quoted(name)}\n{taken}# its shape: [{sizes}]\n"


def _names(outputs: Sequence[Port]) -> list[str]:
    """Return a plain name for each output; that of the file, where that is one."""
    plain = [re.sub(r"\W+", "_", port.name).strip("_") for port in outputs]
    return [
        name if name and plain.count(name) == 1 else f"output_{at}" for at, name in enumerate(plain)
    ]


def _size(size: int | str) -> int:
    return FREE if isinstance(size, str) else size


def _free(sizes: Sequence[int | str]) -> str:
    names = [f"'{_escaped(size)}'" for size in sizes if isinstance(size, str)]
    return f"   # 0: the file leaves {', '.join(names)} free: say the size" if names else ""


def _quoted(name: str) -> str:
    return '"' + _escaped(name.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escaped(text: str) -> str:
    """Return text in which TOML's own escapes stand for what does not print, line ends too."""
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _onnx_ports(path: Path, trust: bool) -> tuple[list[Port], list[Port]]:
    from edgekit.backends.onnx import inputs_of
    from edgekit.conversion.onnx_source import dtype_of, load, sizes_of

    model = load(path)

    def port(value: Any) -> Port:
        return Port(name=value.name, sizes=tuple(sizes_of(value)), dtype=dtype_of(value))

    return [*map(port, inputs_of(model))], [*map(port, model.graph.output)]


def _pt2_ports(path: Path, trust: bool) -> tuple[list[Port], list[Port]]:
    program = open_pt2(path, trust)
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}

    def port(name: str, held: Any) -> Port:
        value = values.get(held)
        if value is None or not hasattr(value, "shape"):
            raise BadModel(f"{path} answers what is no tensor ('{name}'): export it without that")
        sizes = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
        return Port(name=name, sizes=sizes, dtype=str(value.dtype).removeprefix("torch."))

    paths = output_paths(program)
    return (
        # A number or None that was given when it was exported is fixed in the program.
        [port(name, name) for name in signature.user_inputs if isinstance(name, str)],
        [port(path, held) for path, held in zip(paths, signature.user_outputs, strict=True)],
    )
