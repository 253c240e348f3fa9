"""One executed operator in the words all runtimes share: what it is, and in which arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import msgspec

from edgekit.errors import DeviceError

Arithmetic = Literal["int8", "float", "half", "hybrid", "quantize", "dequantize", "other"]
"""`half`: floats of 16 bits. `hybrid`: int8 weights, float activations. `other`: indexes, shapes
and casts."""

_BYTES = frozenset({"int8", "uint8", "i8", "u8"})
_HALVES = frozenset({"float16", "f16"})
_FLOATS = frozenset({"float", "float32", "f32", "bf16"}) | _HALVES
_CASTS = frozenset({"Cast", "CAST", "Convert"})
_WIDTHS = {"float16": 2, "f16": 2, "bf16": 2, "int64": 8, "i64": 8}

PRODUCTS = frozenset(
    {
        "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul",
        "FusedMatMul", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger",
        "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits",
        "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED",
        "BATCH_MATMUL",
        "Convolution", "Deconvolution", "FullyConnected",
        "ConvolutionDepthWise", "DeconvolutionDepthWise", "InnerProduct",
    }
)  # fmt: skip
"""Convolutions and matrix products, by the names that the runtimes have for them."""

LAYOUT = frozenset(
    {"Transpose", "ReorderInput", "ReorderOutput", "TRANSPOSE", "Reorder", "Permute"}
)  # fmt: skip
"""What only moves values to another order."""

RUN_TIME_QUANTIZED = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})
"""What finds a tensor's range anew at every call."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as its runtime names it."""

    type: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes in memory; unknown types count four bytes a value."""
        width = 1 if self.type in _BYTES else _WIDTHS.get(self.type, 4)
        return width * self.numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """One operator a runtime executed.

    `place` is what ran it: a provider, a delegate, a kernel. `seconds` are of one call, None
    where nothing was timed; `instructions` are of one call too, None where nothing was counted.
    """

    name: str
    kind: str
    place: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    seconds: float | None
    instructions: int | None = None

    @property
    def cost(self) -> float | None:
        """Its time, or where there is none its instructions: what shares are shares of."""
        return self.instructions if self.seconds is None else self.seconds

    @property
    def is_product(self) -> bool:
        """Whether it is a convolution or a matrix product."""
        return self.kind in PRODUCTS

    @property
    def bytes_written(self) -> int:
        """What its outputs take."""
        return sum(tensor.bytes for tensor in self.outputs)

    @property
    def arithmetic(self) -> Arithmetic:
        """What it computes in, told by its first input, its first output and its weights."""
        if not self.inputs or not self.outputs or self.kind in _CASTS:
            return "other"
        source, result = self.inputs[0].type, self.outputs[0].type
        if source in _BYTES:
            # A product that answers float rescales by itself; it multiplied int8.
            return "dequantize" if result in _FLOATS and not self.is_product else "int8"
        if source not in _FLOATS:
            return "other"
        if result in _BYTES and not self.is_product:
            return "quantize"
        weights = {tensor.type for tensor in self.inputs[1:]}
        if self.kind in RUN_TIME_QUANTIZED or (self.is_product and weights & _BYTES):
            return "hybrid"
        if source not in _HALVES:
            return "float"
        return "dequantize" if self.kind == "DEQUANTIZE" else "half"


def read_operators(told: list[Any]) -> tuple[Operator, ...]:
    """Return a profiler's operators, in the order they ran.

    Raises DeviceError where they are not what a profiler tells: what a device sends is not
    trusted.
    """
    try:
        operators = msgspec.convert(told, tuple[Operator, ...])
    except msgspec.ValidationError as error:
        raise DeviceError(f"the profiler's operators cannot be read: {error}") from None
    if not all(o.seconds is None or 0 <= o.seconds < float("inf") for o in operators):
        raise DeviceError("the profiler's answer has times below 0, or not finite")
    return tuple(replace(operator, instructions=None) for operator in operators)


def row(operator: Operator, total: float) -> dict[str, Any]:
    """Return an operator as a table row; `total` is the cost of all of them, 0 for none."""
    seconds, cost = operator.seconds, operator.cost
    return {
        "operator": operator.kind,
        "name": operator.name,
        "arithmetic": operator.arithmetic,
        "ran_in": operator.place,
        "output": " ".join("×".join(map(str, t.shape)) for t in operator.outputs),
        "microseconds": 1e6 * seconds if seconds is not None else None,
        "instructions": operator.instructions,
        "share_percent": None if cost is None or not total else 100 * cost / total,
    }
