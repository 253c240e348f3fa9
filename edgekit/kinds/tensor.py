"""Numbers that mean nothing to us; held to distances in units of their own spread."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "spread"
LEAST = 0.0
UNIT = ""
SHARE = False


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    return ""
