"""Pictures with a mask each: `images/1.jpg` and `masks/1.png`, a class index a pixel.

255 is no class: what lies there is not judged. A PNG with a palette holds its indices.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import Dataset, Decisions, Sample
from edgekit.data.images import is_image
from edgekit.data.splits import SplitPlan, side_of, sided
from edgekit.data.stores import ImageStore
from edgekit.data.true_boxes import beside, look_at
from edgekit.errors import BadData
from edgekit.onboard.runner import MAX_PIXELS
from edgekit.spec import OutputSpec

NOT_JUDGED = 255


def looks_like(names: Sequence[str], outputs: Sequence[OutputSpec]) -> bool:
    """Tell whether pictures lie in `images` and PNGs in `masks`, and the model has a map."""
    if not any(output.kind == "segmentation" for output in outputs):
        return False
    known = set(names)
    return any(_mask_file(name) in known for name in names if is_image(name))


def open_masks(
    name: str, store: ImageStore, plan: SplitPlan, outputs: Sequence[OutputSpec]
) -> Dataset:
    """Return the pictures that have a mask. Raises BadData where a mask cannot be meant."""
    found = [output for output in outputs if output.kind == "segmentation"]
    if len(found) != 1:
        raise BadData(f"{name} holds masks, and the model has {len(found)} outputs of that kind")
    (output,) = found
    names = store.names()
    known = set(names)
    decisions = Decisions()
    files = [file for file in names if is_image(file) and _mask_file(file)]
    for file in files:
        if _mask_file(file) not in known:
            decisions.note("image left out: it has no mask", file)
    pictures = look_at(store, [f for f in files if _mask_file(f) in known], decisions)
    samples = []
    held: set[int] = set()
    for file, picture in pictures.items():
        mask = _mask_file(file)
        values = read_mask(store, mask, len(output.labels))
        held.update(np.unique(values).tolist())
        if values.shape[::-1] != picture.size:
            size = f"{values.shape[1]}x{values.shape[0]}"
            raise BadData(
                f"{mask} is {size}, its picture {picture.size[0]}x{picture.size[1]}: "
                "save a mask of the picture's size"
            )
        samples.append(
            Sample(
                name=file,
                sha256=picture.sha256,
                labels={},
                size=picture.size,
                mask=mask,
                split=side_of(file),
            )
        )
    if not samples:
        raise BadData(f"{name}: no picture in its folder images that has a mask can be read")
    if held == {0, NOT_JUDGED}:
        raise BadData(
            f"the masks of {name} hold 0 and {NOT_JUDGED} alone, and {NOT_JUDGED} is not judged: "
            f"save class indices, 1 for {output.labels[1]}"
        )
    return sided(
        plan,
        name=name,
        labels={output.name: output.labels},
        samples=samples,
        store=store,
        decisions=decisions,
        holds="masks",
    )


def read_mask(store: ImageStore, name: str, count: int) -> NDArray[np.uint8]:
    """Return a mask's class indices (H, W). Raises BadData for what is none of `count` classes."""
    from PIL import Image

    try:
        data = store.read(name)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadData(f"{name} has more than {MAX_PIXELS:,} pixels: make it smaller")
            if picture.mode not in {"P", "L", "1", "I;16"}:
                raise BadData(
                    f"{name} has colours (mode {picture.mode}), no class indices: save a PNG with "
                    "one index a pixel"
                )
            values: NDArray[np.generic] = np.asarray(picture)
    except BadData:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads to
        reason = " ".join(str(error).split())[:100]
        raise BadData(f"{name} cannot be read as a PNG ({reason}): replace it") from None
    largest = int(np.where(values == NOT_JUDGED, 0, values).max(initial=0))
    if largest >= count:
        raise BadData(
            f"{name} holds class {largest}; the model has {count}, from 0 on ({NOT_JUDGED}: not "
            "judged)"
        )
    return values.astype(np.uint8)


def _mask_file(name: str) -> str:
    """Return the mask of a picture: its last folder `images` is `masks`; '' for no such."""
    return beside(name, "masks", ".png")
