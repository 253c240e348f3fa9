"""What the kinds share that have one score a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.kinds import NEAR_TIE
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def decisions(values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64]:
    """Return the place of each image's largest score, (N,)."""
    index: NDArray[np.int64] = values.reshape(len(values), -1).argmax(axis=1)
    return index


def nearly_tied(
    values: NDArray[np.float32], other: NDArray[np.int64], output: OutputSpec
) -> NDArray[np.bool_]:
    """Tell for each image whether `other` has all but the largest score, (N,)."""
    import numpy as np

    scores = values.reshape(len(values), -1).astype(np.float64)
    chosen = np.take_along_axis(scores, other[:, None], axis=1)[:, 0]
    span = float(scores.max() - scores.min()) or 1.0
    tied: NDArray[np.bool_] = (scores.max(axis=1) - chosen) / span <= NEAR_TIE
    return tied
