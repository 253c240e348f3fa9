"""Gathers the images int8 is held to, with answers and labels, and those it must not see."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.data import check_labels, is_dataset, open_dataset
from edgekit.data.images import content_hash, decode_image, open_images
from edgekit.data.samples import read_samples
from edgekit.errors import BadData, BadModel
from edgekit.kinds import kind_of
from edgekit.onboard.runner import save_arrays
from edgekit.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GUARD_IMAGES = 1000
"""A tenth of a point each: enough to tell half a point, few enough to try layers one by one."""


def save_guard_set(
    text: str,
    spec: ModelSpec,
    reference: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.generic]]],
    path: Path,
    find: bool = False,
) -> None:
    """Write guard.npz (see graph.py) from a dataset's validation split, or from plain images.

    With `find`, of the largest face in each.
    Raises BadData where there are no readable images, BadModel where no output decides anything.
    """
    import numpy as np

    check_guarded(spec)
    encoded, labels = _labelled(text, spec) if is_dataset(text) else (_plain(text), [])
    kept, pixels = [], []
    for index, data in enumerate(encoded):
        try:
            pixels.append(decode_image(data, spec.image, find))
        except (OSError, ValueError):
            continue
        kept.append(index)
    if not pixels:
        raise BadData(f"no image of the guard set {text} can be decoded: give --guard another")
    arrays: dict[str, NDArray[np.generic]] = {"pixels": np.stack(pixels)}
    arrays |= {f"output:{name}": value for name, value in reference(arrays["pixels"]).items()}  # type: ignore[arg-type]
    for output in spec.outputs if labels else ():
        known = np.array([labels[index].get(output.name, -1) for index in kept], np.int64)
        arrays[f"label:{output.name}"] = known
    save_arrays(path, arrays)


def check_guarded(spec: ModelSpec) -> None:
    """Raise BadModel where no output decides anything that points could be counted of."""
    kinds = [kind_of(output) for output in spec.outputs]
    if not any(kind.JUDGED_BY == "decisions" or kind.SHARE for kind in kinds):
        declared = " or ".join(dict.fromkeys(output.kind for output in spec.outputs))
        declared = declared.replace("tensor", "plain tensor")
        raise BadModel(
            f"--max-drop counts points of decisions, and every output of the spec is a {declared}: "
            "leave it out, or declare a classification or a regression"
        )


def save_guard_samples(
    text: str,
    spec: ModelSpec,
    reference: Callable[[Any], dict[str, NDArray[np.generic]]],
    path: Path,
) -> None:
    """Write guard.npz from .npz or .npy samples, which have no labels. Raises as save_guard_set."""
    import numpy as np

    check_guarded(spec)
    held = read_samples(Path(text), spec.input, spec.tensors).values[:GUARD_IMAGES]
    arrays = {f"sample:{name}": np.stack([sample[name] for sample in held]) for name in spec.names}
    arrays |= {f"output:{name}": value for name, value in reference(held).items()}
    save_arrays(path, arrays)


def evaluation_hashes(text: str) -> tuple[str, ...]:
    """Return the SHA-256 of every image of a dataset's test split, or of all plain images."""
    if is_dataset(text):
        return tuple(sample.sha256 for sample in open_dataset(text).split("test").samples)
    images = open_images(Path(text))
    return tuple(content_hash(images.read(name)) for name in images.names)


def _labelled(text: str, spec: ModelSpec) -> tuple[list[bytes], list[dict[str, int]]]:
    """Return encoded images and labels of a dataset's validation split, drawn by a fixed seed."""
    labels = {output.name: output.labels for output in spec.outputs if output.labels}
    dataset = open_dataset(text, labels=labels).split("val")
    check_labels(dataset, spec.outputs)
    count = min(GUARD_IMAGES, len(dataset.samples))
    samples = random.Random(0).sample(dataset.samples, count)
    return [dataset.read(sample) for sample in samples], [dict(s.labels) for s in samples]


def _plain(text: str) -> list[bytes]:
    images = open_images(Path(text))
    return [images.read(name) for name in images.names[:GUARD_IMAGES]]
