"""Points of things or of the picture; judged by how near they are, against the thing's size.

The measure is COCO's object keypoint similarity: runner.similarity has the formula.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.kinds import detection
from edgekit.kinds.detection import score_part
from edgekit.spec import OutputSpec

__all__ = ["JUDGED_BY", "LEAST", "SHARE", "UNIT", "parts_fault", "score_part", "shape_fault"]

JUDGED_BY = "metric"
LEAST = 0.85
UNIT = ""
SHARE = True


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    assert output.points is not None
    count, values = output.points.count, output.points.values
    if output.boxes is not None:
        fault = detection.shape_fault(output, shape)
        within = f", {count * values} of each row for its points" * (output.points.output is None)
        return fault and fault + within
    if shape in {(1, count, values), (1, count * values)}:
        return ""
    return f"{count} points of {values} values need (1, {count}, {values}) or (1, {count * values})"


def parts_fault(output: OutputSpec, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return why the outputs that hold its boxes and points do not fit its scores, or ''."""
    assert output.points is not None
    fault = detection.parts_fault(output, shapes) if output.boxes is not None else ""
    count = output.points.count
    parts = {output.points.output: count * output.points.values, output.points.shown: count}
    rows = 1
    if output.boxes is not None:
        rows = detection.row_count(shapes[output.name], detection.row_width(output))
    for part, width in parts.items():
        if part is None or fault:
            continue
        shape = shapes[part]
        flat = shape if len(shape) < 4 else (*shape[:2], shape[2] * shape[3])
        if output.boxes is None and flat[1:] in {(width,), (width, 1)}:
            continue
        if len(flat) != 3 or width not in flat[1:]:
            needed = f"(1, N, {width})" if output.boxes is not None else f"(1, {width})"
            return f"its points' output '{part}' has shape {shape}, needed is {needed}"
        if detection.row_count(flat, width) != rows:
            return detection.uneven(output, shapes)
    return fault
