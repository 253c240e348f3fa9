"""Mean intersection over union of masks with the true ones, at the size of the network's input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.onboard.runner import fit_picture

NOT_JUDGED = 255


def framed_mask(mask: NDArray[np.uint8], spec: dict[str, Any]) -> NDArray[np.uint8]:
    """Return a mask (H, W) as the network sees its picture, by a manifest's `input`.

    No class is mixed with another; what a letterbox adds is not judged.
    """
    from PIL import Image

    fit = spec.get("fit", "stretch")
    framed: NDArray[np.uint8] = fit_picture(
        Image.fromarray(mask), spec["height"], spec["width"], spec.get("resize_to"), fit,
        "nearest", (NOT_JUDGED,), True,
    )  # fmt: skip
    return framed[..., 0]


def overlaps(found: NDArray[np.int64], mask: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return pixels of each class in both, in `found`, and in the mask, (3, CLASSES).

    `found` (h, w) is enlarged to the mask's size by its nearest pixels.
    """
    rows = np.arange(mask.shape[0]) * found.shape[0] // mask.shape[0]
    columns = np.arange(mask.shape[1]) * found.shape[1] // mask.shape[1]
    judged = mask != NOT_JUDGED
    mine, theirs = found[rows][:, columns][judged], mask[judged]
    mine = np.where((mine < 0) | (mine >= classes), classes, mine)
    sides = (mine[mine == theirs], mine, theirs)
    return np.stack([np.bincount(side, minlength=classes + 1)[:classes] for side in sides])


def mean_iou(tables: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over the classes that either side shows, (1,), of N tables of `overlaps`.

    Each image counts as often as `counts` says, (N,).
    """
    both, mine, theirs = np.einsum("n,nsc->sc", counts, tables)
    either = mine + theirs - both
    shown = either > 0
    if not shown.any():
        return np.array([np.nan])
    return np.array([float((both[shown] / either[shown]).mean())])
