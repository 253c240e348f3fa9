"""Reads the operators of an ncnn `.param` file: a text that lists a network's layers.

The files are ncnn's own (`benchmark/models`, BSD-3); none is kept here, only what was counted.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

from edgekit.latency_model.operators.ncnn import JOINS
from edgekit.latency_model.workload import Operator, Workload, convolution, total

Shape = tuple[int, ...]  # width, height, channels

FREE = {"Input", "Split", "Flatten", "Reshape", "Noop", "MemoryData", "Dropout"}
"""Layers that compute nothing: views, copies by pointer, constants."""
CONVOLUTIONS = {"Convolution", "ConvolutionDepthWise", "DeconvolutionDepthWise"}


def read_param(path: Path) -> Workload:
    """Return the workload of the network in `path`, batch 1. Raises KeyError as `operators_of`."""
    return total(operators_of(path))


def operators_of(path: Path) -> list[Operator]:
    """Return the operators of the network in `path`, batch 1.

    The shapes are those the file's hints give, elsewhere they follow from the layers. Raises
    KeyError for a blob of unknown shape.
    """
    shapes: dict[str, Shape] = {}
    operators: list[Operator] = []
    for line in path.read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        names = rest[: int(inputs) + int(outputs)]
        given = dict(item.split("=", 1) for item in rest[len(names) :])
        ins, outs = names[: int(inputs)], names[int(inputs) :]
        hints = [int(word) for word in given.get("-23330", "0").split(",")[1:]]
        for index, name in enumerate(outs):
            hint = tuple(hints[4 * index + 1 : 4 * index + 4])
            shapes[name] = hint or _follow(kind, given, [shapes[i] for i in ins])
        read = sum(prod(shapes[name]) for name in ins)
        written = sum(prod(shapes[name]) for name in outs)
        if kind in CONVOLUTIONS:
            area = int(given["1"]) * int(given.get("11", given["1"]))
            groups, channels = int(given.get("7", 1)), int(given["0"])
            group_inputs = shapes[ins[0]][2] // groups
            operators.append(
                convolution(
                    read,
                    written,
                    area=area,
                    channels=channels,
                    group_inputs=group_inputs,
                    groups=groups,
                )
            )
        elif kind == "InnerProduct":
            weights = int(given["2"])
            operators.append(
                Operator(kind="dense", macs=weights, inputs=read, outputs=written, weights=weights)
            )
        elif kind not in FREE:
            joins = kind in JOINS
            operators.append(
                Operator(kind="other", macs=0, inputs=read, outputs=written, joins=joins)
            )
    return operators


def _follow(kind: str, given: dict[str, str], inputs: list[Shape]) -> Shape:
    """Return what a layer makes of its first input where the file has no hint."""

    def number(key: str, default: int = 0) -> int:
        return int(given.get(key, default))

    if kind == "Input":
        return number("0"), number("1"), number("2")
    width, height, channels = inputs[0]
    if kind in {"Convolution", "ConvolutionDepthWise", "Pooling"}:
        pooling = kind == "Pooling"
        kernel, stride = number("1", 1), number("2" if pooling else "3", 1)
        pad = number("3" if pooling else "4")
        out = channels if pooling else number("0")
        return (
            (width + 2 * pad - kernel) // stride + 1,
            (height + 2 * pad - kernel) // stride + 1,
            out,
        )
    if kind == "Padding":
        wide, high = number("2") + number("3"), number("0") + number("1")
        return width + wide, height + high, channels + number("7") + number("8")
    return inputs[0]
