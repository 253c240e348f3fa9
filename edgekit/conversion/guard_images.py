"""Gathers the images int8 is held to, with answers and labels, and those it must not see."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.data import (
    Dataset,
    Sample,
    SplitPlan,
    check_labels,
    is_dataset,
    open_dataset,
    open_store,
)
from edgekit.data.images import content_hash, decode_image, open_images
from edgekit.data.masks import read_mask
from edgekit.data.samples import read_samples
from edgekit.data.stores import FolderStore
from edgekit.errors import BadData, BadModel
from edgekit.kinds import kind_of
from edgekit.onboard.runner import save_arrays
from edgekit.scoring.boxes import check_scorer
from edgekit.scoring.masks import framed_mask
from edgekit.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GUARD_IMAGES = 1000
"""A tenth of a point each: enough to tell half a point, few enough to try layers one by one."""

GUARD_PICTURES = 200
"""Of those with boxes or masks, of which a model answers megabytes to each."""


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
    dataset = _labelled(text, spec)
    encoded = _plain(text) if dataset is None else _encoded(dataset)
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
    if dataset is not None:
        samples = tuple(dataset.samples[index] for index in kept)
        arrays |= _truth(replace(dataset, samples=samples), spec)
    save_arrays(path, arrays)


def _truth(dataset: Dataset, spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    """Return what is known of a dataset's samples, as guard.npz holds it."""
    import numpy as np

    samples = dataset.samples
    (name, *_), arrays = dataset.labels, dict[str, "NDArray[np.generic]"]()
    if dataset.holds == "classes":
        for output in spec.outputs:
            known = [sample.labels.get(output.name, -1) for sample in samples]
            arrays[f"label:{output.name}"] = np.array(known, np.int64)
    elif dataset.holds == "boxes":
        if next(o for o in spec.outputs if o.name == name).points is not None:
            return arrays  # boxes alone would not guard the points: by agreement with the model
        rows = [
            (image, item.index, *item.box, item.area, item.crowd)
            for image, sample in enumerate(samples)
            for item in sample.boxes
        ]
        if not rows:
            raise BadData(
                f"{dataset.name} has no box in {len(samples)} images: give --guard another"
            )
        arrays[f"boxes:{name}"] = np.array(rows, np.float64)
        arrays["sizes"] = np.array([sample.size for sample in samples], np.int64)
    else:
        count = len(next(o for o in spec.outputs if o.name == name).labels)
        frame = msgspec.to_builtins(spec.image)
        masks = [framed_mask(read_mask(dataset.store, s.mask, count), frame) for s in samples]
        arrays[f"mask:{name}"] = np.stack(masks)
    return arrays


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
    """Write guard.npz from .npz or .npy samples, labelled or not. Raises as save_guard_set."""
    import numpy as np

    check_guarded(spec)
    dataset = _labelled(text, spec)
    if dataset is None:
        held = read_samples(Path(text), spec.input, spec.tensors).values[:GUARD_IMAGES]
    else:
        held = tuple(_one(dataset, sample, spec) for sample in dataset.samples)
    arrays = {f"sample:{name}": np.stack([sample[name] for sample in held]) for name in spec.names}
    arrays |= {f"output:{name}": value for name, value in reference(held).items()}
    if dataset is not None:
        arrays |= _truth(dataset, spec)
    save_arrays(path, arrays)


def _one(dataset: Dataset, sample: Sample, spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of one labelled file. Raises BadData for a file of several samples."""
    from edgekit.onboard import runner

    contract = {
        "input": msgspec.to_builtins(spec.input),
        "tensors": msgspec.to_builtins(spec.tensors),
    }
    try:
        held = runner.read_samples(dataset.read(sample), contract)
    except (OSError, ValueError) as error:
        raise BadData(f"{sample.name} of {dataset.name}: {error}") from None
    if len(held) > 1:
        raise BadData(f"{sample.name} of {dataset.name} holds {len(held)} samples: give one a file")
    return dict(held[0])


def evaluation_hashes(text: str) -> tuple[str, ...]:
    """Return the SHA-256 of every image of a dataset's test split, or of all plain images."""
    if is_dataset(text):
        dataset = open_dataset(text, SplitPlan(judging=True)).split("test")
        return tuple(sample.sha256 for sample in dataset.samples)
    store = open_store(Path(text)) if text.endswith(".json") else None
    images = open_images(store.root if isinstance(store, FolderStore) else Path(text))
    return tuple(content_hash(images.read(name)) for name in images.names)


def _labelled(text: str, spec: ModelSpec) -> Dataset | None:
    """Return a dataset's validation split, drawn by a fixed seed; None for what has no labels.

    All of a dataset that has no sides.
    """
    if not is_dataset(text, spec.outputs):
        return None
    plan = SplitPlan(judging=True)
    dataset = open_dataset(text, plan, outputs=spec.outputs, side="val")
    check_labels(dataset, spec.outputs)
    if not dataset.whole:
        dataset = dataset.split("val")
    if dataset.holds == "boxes":
        check_scorer()
    most = GUARD_IMAGES if dataset.holds == "classes" else GUARD_PICTURES
    samples = random.Random(0).sample(dataset.samples, min(most, len(dataset.samples)))
    return replace(dataset, samples=tuple(samples))


def _encoded(dataset: Dataset) -> list[bytes]:
    return [dataset.read(sample) for sample in dataset.samples]


def _plain(text: str) -> list[bytes]:
    images = open_images(Path(text))
    return [images.read(name) for name in images.names[:GUARD_IMAGES]]
