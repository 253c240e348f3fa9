"""What the kinds share that have one score a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def largest(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the place of each image's largest score, (N,)."""
    index: NDArray[np.int64] = values.reshape(len(values), -1).argmax(axis=1)
    return index


def behind(values: NDArray[np.float32], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far the score of `other` is below the largest, as a share of the range, (N,)."""
    import numpy as np

    scores = values.reshape(len(values), -1).astype(np.float64)
    chosen = np.take_along_axis(scores, other[:, None], axis=1)[:, 0]
    span = float(scores.max() - scores.min()) or 1.0
    margin: NDArray[np.float64] = (scores.max(axis=1) - chosen) / span
    return margin
