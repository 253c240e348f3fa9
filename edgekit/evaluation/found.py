"""What an artifact found in labelled pictures, in a form that other processes can send back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import Manifest
from edgekit.data import Dataset, Sample
from edgekit.data.masks import read_mask
from edgekit.onboard import runner
from edgekit.outputs import Outputs
from edgekit.scoring.boxes import FoundBoxes, found_in
from edgekit.scoring.masks import framed_mask, overlaps
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 32
"""Pictures whose boxes or masks are fetched together: a detector answers megabytes to each."""


def boxes_in(
    outputs: Outputs, output: OutputSpec, manifest: Manifest, samples: Sequence[Sample]
) -> list[FoundBoxes]:
    """Return what a detection found in each picture, in pixels of it, however unsure."""
    rows = runner.read_with(msgspec.to_builtins(output), outputs)
    return [
        found_in(own, output, manifest.image, sample.size or (0, 0))
        for own, sample in zip(rows, samples, strict=True)
    ]


def masks_in(
    outputs: Outputs, output: OutputSpec, manifest: Manifest, dataset: Dataset
) -> NDArray[np.int64]:
    """Return the overlaps (N, 3, CLASSES) of a segmentation with the dataset's masks."""
    import numpy as np

    told, frame = msgspec.to_builtins(output), msgspec.to_builtins(manifest.image)
    count = len(output.labels)
    tables = []
    for found, sample in zip(
        runner.class_map(outputs[output.name], told), dataset.samples, strict=True
    ):
        mask = framed_mask(read_mask(dataset.store, sample.mask, count), frame)
        tables.append(overlaps(found, mask, count))
    return np.stack(tables)
