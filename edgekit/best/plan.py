"""What a board can run: the backends whose runtimes it has, in the precisions that help there."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.artifact import Precision
from edgekit.errors import UserError
from edgekit.runtimes.table import deployed
from edgekit.targets import Target


def backends_for(target: Target, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the backends to build for a board: `wanted`, or all that it has a runtime for.

    Raises UserError for one that the board cannot run.
    """
    said = target.software.runtimes
    there = [item for item in deployed() if said is None or item.name in said.value]
    able = tuple(dict.fromkeys(item.backend for item in there))
    if foreign := [name for name in wanted or () if name not in able]:
        raise UserError(
            f"{target.name} has no runtime for {foreign[0]} artifacts: it runs {', '.join(able)}"
        )
    return tuple(wanted or able)


def precisions_for(target: Target) -> tuple[Precision, ...]:
    """Return the precisions to build for a board where none is named."""
    half: tuple[Precision, ...] = ("fp16-compute",) if has_half(target) else ()
    return ("fp32", *half, "int8", "int8-dynamic")


def adds_in_32_bits(target: Target) -> bool:
    """Tell whether the board's CPU is known to add int8 products without overflow.

    Arm does, and x86 with VNNI; other x86 adds two uint8 × int8 products in 16 bits.
    """
    known = target.hardware.dot_product
    return target.architecture == "aarch64" or (known is not None and known.value)


def has_half(target: Target) -> bool:
    """Tell whether the board's CPU is known to compute in half precision."""
    known = target.hardware.fp16_arithmetic
    return known is not None and known.value
