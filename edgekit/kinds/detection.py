"""Labelled boxes; judged by those that artifact and model share (IoU 0.5), and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JUDGED_BY = "metric"
LEAST = 0.85
UNIT = ""
SHARE = True


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    assert output.boxes is not None
    width = row_width(output)
    if (len(shape) == 3 and width in shape[1:]) or (len(shape) == 2 and width == 1):
        return ""
    kind = "keypoints" if output.points else "a detection"
    what = f"{kind} of {len(output.labels)} labels with row = '{output.boxes.row}'"
    apart = " beside its boxes" if output.boxes.output else ""
    return f"{what} needs (1, {width}, N) or (1, N, {width}){apart}"


def parts_fault(output: OutputSpec, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return why the outputs that hold its boxes and classes do not fit its scores, or ''."""
    assert output.boxes is not None
    if output.boxes.output is None:
        return ""
    boxes, scores = shapes[output.boxes.output], shapes[output.name]
    if len(boxes) != 3 or 4 not in boxes[1:]:
        return f"its boxes '{output.boxes.output}' have shape {boxes}, needed is (1, N, 4)"
    counts = {row_count(boxes, 4), row_count(scores, row_width(output))}
    if output.boxes.classes is not None:
        counts.add(row_count(shapes[output.boxes.classes], 1))
    return "" if len(counts) == 1 else uneven(output, shapes)


def uneven(output: OutputSpec, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the line about outputs of one detection that hold different numbers of rows."""
    told = {name: shapes[name] for name in (output.name, *output.parts)}
    return "of other numbers of boxes: " + ", ".join(f"'{k}' {v}" for k, v in told.items())


def score_part(output: OutputSpec, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the scores in an output's values, (N, …), without boxes and class indices."""
    assert output.boxes is not None
    if output.boxes.output is not None:
        return values
    width = row_width(output)
    rows = values if values.shape[2] == width else values.swapaxes(1, 2)
    return rows[..., 4:5] if output.boxes.row == "final" else rows[..., 4 : width - _after(output)]


def _after(output: OutputSpec) -> int:
    """Return how many numbers of points a row holds after its scores."""
    if output.points is None or output.points.output is not None:
        return 0
    return output.points.count * output.points.values


def row_width(output: OutputSpec) -> int:
    """Return how many numbers an output holds of each box."""
    assert output.boxes is not None
    labels = len(output.labels)
    row = {"final": 2, "scores": labels, "objectness": 1 + labels}[output.boxes.row]
    if output.boxes.classes is not None:
        return 1
    return row if output.boxes.output is not None else 4 + row + _after(output)


def row_count(shape: tuple[int, ...], width: int) -> int:
    """Return how many rows of `width` an output holds, as runner.rows reads it."""
    if len(shape) == 2:
        return shape[1]
    return shape[1] if shape[2] == width else shape[2]
