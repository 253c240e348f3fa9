"""One score a label, of labels in an order: a neighbour is nearly right (1-off)."""

from __future__ import annotations

from edgekit.kinds._scores import decisions, nearly_tied
from edgekit.spec import OutputSpec

__all__ = ["JUDGED_BY", "LEAST", "SHARE", "UNIT", "decisions", "nearly_tied", "shape_fault"]

JUDGED_BY = "decisions"
LEAST = 0.0
UNIT = ""
SHARE = False


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if shape == (1, len(output.labels)):
        return ""
    return f"an {output.kind} over {len(output.labels)} labels needs (1, {len(output.labels)})"
