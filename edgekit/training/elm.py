"""cnn-elm: a readout solved in closed form on the features of a trained adiencenet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.data.dataset import UNLABELLED, Dataset
from edgekit.data.decoded import Decoded, decode_all, frame_of
from edgekit.evaluation.scores import exact_percent
from edgekit.graph.rewrites import rewrite
from edgekit.spec import InputSpec, ModelSpec
from edgekit.training.augment import normalise, plain
from edgekit.training.inference import BATCH
from edgekit.training.loop import Told, Trained
from edgekit.training.recipe import Recipe
from edgekit.training.teachers import Lessons
from edgekit.zoo.cnn_elm import CnnElm

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""The strengths tried; validation chooses, for each output apart."""


def fit_elm(
    network: nn.Module,
    spec: ModelSpec,
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    seed: int = 0,
    workers: int = 2,
    device: str = "cpu",
    lessons: Lessons | None = None,
    tell: Callable[[Told], None] = lambda told: None,
) -> Trained:
    """Fit the readouts of a cnn-elm whose features come from a trained adiencenet.

    Nothing is drawn, augmented or taught: `recipe`, `folder`, `seed`, `device` and `lessons` play
    no part, and there is one epoch. One ridge regression per output and strength, on the train
    side.
    """
    frame = frame_of(spec.image)
    train = decode_all(dataset.split("train"), frame, workers)
    validation = decode_all(dataset.split("val"), frame, workers)
    machines = [layer for layer in network.modules() if isinstance(layer, CnnElm)]
    scores = []
    for machine, output in zip(machines, spec.outputs, strict=True):
        known = np.array(train.dataset.take(output.name))
        rows = np.flatnonzero(known != UNLABELLED)
        features = _features(machine, spec.image, train, rows)
        labels = torch.from_numpy(known[rows])
        held_out = np.arange(len(validation.samples))
        tested = torch.sigmoid(machine.hidden(_features(machine, spec.image, validation, held_out)))
        expected = validation.dataset.take(output.name)
        found: list[tuple[float, float]] = []
        for ridge in RIDGES:
            machine.fit_readout(features, labels, ridge)
            answers = machine.readout(tested).argmax(1).numpy()
            found.append((exact_percent(answers, expected), ridge))
        best, ridge = max(found)
        machine.fit_readout(features, labels, ridge)
        scores.append(best)
        tell(
            Told(
                epoch=1,
                epochs=1,
                done=len(train.samples),
                images=len(train.samples),
                images_per_second=0.0,
            )
        )
    mean = sum(scores) / len(scores)
    names = (output.name for output in spec.outputs)
    return Trained(
        network=network.eval(),
        best_epoch=1,
        best_score=mean,
        history=(dict(zip(names, scores, strict=True)),),
        images_per_second=0.0,
    )


@torch.inference_mode()
def _features(machine: CnnElm, spec: InputSpec, images: Decoded, rows: NDArray[np.intp]) -> Tensor:
    """Return the trunk's features (N, 512) of some rows, plainly decoded."""
    shape = torch.zeros(1, spec.channels, spec.height, spec.width)
    trunk = rewrite(copy.deepcopy(machine.features), shape).eval()
    parts = []
    for start in range(0, len(rows), BATCH):
        frames = torch.from_numpy(images.pixels[rows[start : start + BATCH]])
        parts.append(trunk(normalise(plain(frames, spec), spec)))
    return torch.cat(parts)
