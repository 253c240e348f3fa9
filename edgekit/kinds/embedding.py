"""A vector to compare with others; judged by the cosine, less what all images share."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "metric"
LEAST = 0.9
UNIT = ""
SHARE = True


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if len(shape) == 2 and shape[1] > 1:
        return ""
    return "an embedding needs (1, LENGTH)"
