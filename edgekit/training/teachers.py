"""What larger networks say of the training images: soft targets for a smaller one.

A teacher's answer to an image is the mean of its probabilities over a few changed copies: as it
is, mirrored, and lightly reframed. It is worked out once, before training, and kept in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit import zoo
from edgekit.data.dataset import Dataset
from edgekit.data.decoded import decode_all, frame_of
from edgekit.errors import BadModel
from edgekit.files import file_whole, sha256
from edgekit.paths import cache_folder
from edgekit.spec import ModelSpec
from edgekit.training.augment import augment, normalise
from edgekit.training.inference import BATCH
from edgekit.training.recipe import Augmentation, Recipe
from edgekit.zoo.checkpoint import load_weights, read_metadata

Lessons = dict[str, NDArray[np.float32]]
"""Class probabilities (N, classes) of the training images, by output."""

VIEW = Augmentation(zoom=0.1, shift=0.04, rotate=5.0)
MARGIN = 0.25


def weights_of(path: Path) -> Path:
    """Return a teacher's weights: the file itself, or the one that a run's folder holds."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise BadModel(f"{path} holds {len(found)} weights files: give the one to learn from")
    return found[0]


def lessons_of(
    teachers: Sequence[Path], spec: ModelSpec, train: Dataset, recipe: Recipe, workers: int
) -> Lessons:
    """Return the mean of several teachers' probabilities of the train side's readable images.

    A teacher is a weights file that edgekit trained, or the folder of a run. Raises BadModel
    where one cannot be read, or classifies none of the outputs by the same classes.
    """
    given = [_lessons(weights_of(path), spec, train, recipe, workers) for path in teachers]
    names = {name for one in given for name in one}
    return {
        name: np.mean([one[name] for one in given if name in one], axis=0, dtype=np.float32)
        for name in names
    }


def _lessons(
    weights: Path, spec: ModelSpec, train: Dataset, recipe: Recipe, workers: int
) -> Lessons:
    note = read_metadata(weights)
    if not isinstance(note.get("model"), str) or not isinstance(note.get("variant"), str):
        raise BadModel(f"{weights} does not say whose weights it holds: train it with edgekit")
    name, variant = zoo.resolve(f"{note['model']}:{note['variant']}")
    own = zoo.spec(name, variant)
    classes = {output.name: output.labels for output in spec.outputs}
    shared = [
        output.name
        for output in own.outputs
        if output.kind == "classification" and classes.get(output.name) == output.labels
    ]
    if not shared:
        raise BadModel(f"{weights} classifies none of the outputs by the same classes")
    images = decode_all(train, frame_of(own.image, MARGIN), workers)
    digest = hashlib.sha256(f"{sha256(weights)} {VIEW} {MARGIN} {recipe.teacher_views}".encode())
    for sample in images.samples:
        digest.update(f"{sample.sha256}\n".encode())
    kept = cache_folder() / "lessons" / f"{digest.hexdigest()[:24]}.npz"
    if not kept.is_file():
        network = zoo.build(name, variant)
        load_weights(network, weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            answers = _answers(network, own, images.pixels, recipe)
        with file_whole(kept) as file:
            np.savez(file, **answers)  # type: ignore[arg-type]
    with np.load(kept, allow_pickle=False) as saved:
        return {name: saved[name] for name in shared}


def _answers(
    network: nn.Module, spec: ModelSpec, pixels: NDArray[np.uint8], recipe: Recipe
) -> Lessons:
    """Return the classifications' probabilities (N, classes), the mean over the views."""
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows: list[list[Tensor]] = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        for start in range(0, len(pixels), BATCH):
            frames = torch.from_numpy(np.array(pixels[start : start + BATCH]))
            sums: list[Tensor] = []
            for view in range(recipe.teacher_views):
                changed = _view(frames, spec, view)
                images = normalise(changed, spec.image)
                values = network(images.contiguous(memory_format=torch.channels_last))
                shares = [value.float().softmax(1) for value in values]
                sums = [a + b for a, b in zip(sums, shares, strict=True)] if sums else shares
            rows.append([total / recipe.teacher_views for total in sums])
    columns = zip(*rows, strict=True)
    return {
        o.name: torch.cat(c).numpy()
        for o, c in zip(spec.outputs, columns, strict=True)
        if o.kind == "classification"
    }


def _view(frames: Tensor, spec: ModelSpec, view: int) -> Tensor:
    """Return frames as they are, mirrored, or lightly reframed by a draw."""
    if view > 1:
        return augment(frames, spec.image, VIEW)
    still = augment(frames, spec.image, Augmentation(mirror=False, shift=0.0))
    return still.flip(3) if view else still


def points(lesson: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities (N, classes) as a regression's targets (N, 1): the mean class index."""
    scale = np.arange(lesson.shape[1], dtype=np.float32)
    return (lesson @ scale)[:, None].astype(np.float32)


def mixed(
    targets: NDArray[np.float32], weights: NDArray[np.float32], lesson: NDArray[np.float32],
    share: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Return targets (N, classes or 1) and weights (N) in which teachers have a share.

    An image without a label is learned from the teachers alone, with their share as its weight.
    """
    labelled = weights > 0
    part = np.where(labelled, share, 1.0)[:, None]
    blended = (1 - part) * targets + part * lesson
    return blended.astype(np.float32), np.where(labelled, weights, share).astype(np.float32)
