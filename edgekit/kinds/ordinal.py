"""One score a label, of labels in an order: a neighbour is nearly right (1-off)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.kinds import NEAR_TIE
from edgekit.kinds._scores import behind, largest
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JUDGED_BY = "decisions"
LEAST = 0.0
UNIT = ""
SHARE = False


def shape_fault(output: OutputSpec, shape: tuple[int, ...]) -> str:
    """Return what shape is needed, or ''."""
    if shape == (1, len(output.labels)):
        return ""
    return f"an {output.kind} over {len(output.labels)} labels needs (1, {len(output.labels)})"


def decisions(values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64]:
    """Return the place of each image's largest score, (N,)."""
    return largest(values)


def nearly_tied(
    values: NDArray[np.float32], other: NDArray[np.int64], output: OutputSpec
) -> NDArray[np.bool_]:
    """Tell for each image whether `other` has all but the largest score, (N,)."""
    tied: NDArray[np.bool_] = behind(values, other) <= NEAR_TIE
    return tied
