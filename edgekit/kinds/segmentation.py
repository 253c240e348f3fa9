"""A class for every place; judged by the mean intersection over union with the model's."""

from __future__ import annotations

from edgekit.spec import OutputSpec

JUDGED_BY = "metric"
LEAST = 0.85
UNIT = ""
SHARE = True


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    count = len(output.labels)
    scores = len(shape) == 4 and count in (shape[1], shape[3])
    if scores or len(shape) == 3 or (len(shape) == 4 and shape[1] == 1):
        return ""
    return (
        f"a segmentation over {count} labels needs (1, {count}, HEIGHT, WIDTH), its channels first "
        "or last, or a map of classes (1, HEIGHT, WIDTH)"
    )
