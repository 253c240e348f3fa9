"""Any number of labels at once; judged by the labels that both artifact and model give."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "metric"
LEAST = 0.9
UNIT = ""
SHARE = True


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if shape == (1, len(output.labels)):
        return ""
    return f"a {output.kind} over {len(output.labels)} labels needs (1, {len(output.labels)})"
