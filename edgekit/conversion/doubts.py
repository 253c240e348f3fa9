"""What the images cannot prove of an artifact: the model answers the same on all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from edgekit.onboard.runner import detections, read_with
from edgekit.outputs import Outputs, decisions
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _finds(reference: Outputs, output: OutputSpec) -> bool:
    """Tell whether the model finds a box on any image."""
    told = msgspec.to_builtins(output)
    rows = read_with(told, reference)
    return any(len(detections(each, told, output.threshold)[1]) for each in rows)


def doubts_of(reference: Outputs, outputs: Iterable[OutputSpec]) -> list[str]:
    """Return what the images cannot prove."""
    lines = []
    for output in outputs:
        values = reference[output.name]
        decided = decisions(values, output)
        if output.boxes is not None and not _finds(reference, output):
            lines.append(
                f"'{output.name}' finds nothing on all {len(values)} images at threshold "
                f"{output.threshold:g}, which proves little: give --images that show something"
            )
            continue
        if constant(values):
            what = "is the same"
        elif decided is not None and constant(decided):
            what = "decides the same"
        else:
            continue
        lines.append(
            f"'{output.name}' {what} on all {len(values)} images, which proves little: "
            "give --images that differ"
        )
    return lines


def constant(reference: NDArray[np.generic]) -> bool:
    """Tell whether an output is the same on every one of two images or more."""
    return len(reference) > 1 and bool((reference == reference[:1]).all())
