"""A real number with a unit; int8 is held to the distance in units of its own spread."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "spread"
LEAST = 0.0
UNIT = ""
SHARE = False


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if shape in {(1,), (1, 1)}:
        return ""
    return "a value needs (1, 1)"
