"""One value on the scale of the label index; the decision is the value, rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.kinds import NEAR_TIE
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
    if shape == (1, 1):
        return ""
    return f"a regression over {len(output.labels)} labels needs (1, 1)"


def decisions(values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64]:
    """Return each image's value rounded half up and clipped to the labels, (N,)."""
    import numpy as np

    rounded = np.floor(values.reshape(len(values), -1)[:, 0] + 0.5)
    index: NDArray[np.int64] = np.clip(rounded, 0, len(output.labels) - 1).astype(np.int64)
    return index


def nearly_tied(
    values: NDArray[np.float32], other: NDArray[np.int64], output: OutputSpec
) -> NDArray[np.bool_]:
    """Tell for each image whether its value is all but rounded to `other`, (N,)."""
    import numpy as np

    value = values.reshape(len(values), -1)[:, 0].astype(np.float64)
    away = np.abs(value - other) - 0.5
    tied: NDArray[np.bool_] = away <= NEAR_TIE * (len(output.labels) - 1)
    return tied
