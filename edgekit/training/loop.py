"""The training loop: epochs of steps, a validation after each, a checkpoint after each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.data.dataset import Dataset
from edgekit.data.decoded import Decoded, decode_all, frame_of
from edgekit.errors import BadData, EdgekitError
from edgekit.files import write_whole
from edgekit.graph.rewrites import rewrite
from edgekit.spec import InputSpec, ModelSpec
from edgekit.training.augment import augment, normalise
from edgekit.training.device import prepare
from edgekit.training.inference import validate
from edgekit.training.kernels import keep_memory, with_dropout
from edgekit.training.label_targets import class_targets, scale_targets
from edgekit.training.losses import masked_cross_entropy, masked_squared_error
from edgekit.training.optimiser import average_weights, build_optimiser, schedule
from edgekit.training.recipe import Recipe
from edgekit.training.regression_scale import refit_scales
from edgekit.training.state import Progress, load_state, save_state
from edgekit.training.teachers import Lessons, mixed, points

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "classification": masked_cross_entropy,
    "regression": masked_squared_error,
}
TARGETS = {"classification": class_targets, "regression": scale_targets}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a run tells after each step: for a progress bar."""

    epoch: int
    epochs: int
    done: int
    images: int
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run: the network holding the weights of its best epoch by validation."""

    network: nn.Module
    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Training images with their targets and weights, one pair per output.

    `used` are the rows of the images that weigh something for some output: the others would cost
    a step and teach nothing.
    """

    pixels: NDArray[np.uint8]
    targets: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    used: NDArray[np.intp]

    def epoch(self, batch: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, NDArray[np.intp]]]:
        """Yield shuffled batches of uint8 (N, H, W, C) and their rows; a rest below 2 is dropped.

        (Batch normalisation cannot train on one image.)
        """
        order = self.used[np.random.default_rng((seed, epoch)).permutation(len(self.used))]
        for start in range(0, len(order), batch):
            rows = np.sort(order[start : start + batch])
            if len(rows) > 1 or len(order) == 1:
                yield torch.from_numpy(self.pixels[rows]), rows


def fit(
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
    """Train `network`, in place, on the train side and keep the best epoch by the val side.

    `device` is torch's, of the steps; a run may go on on another. `lessons` are teachers' answers.

    `folder` gets `checkpoint.pt` and `log.csv` after every epoch; a run that finds its own
    checkpoint goes on from there. Every random draw depends on the seed and the epoch alone, so
    on one thread an interrupted run ends with the weights of an unbroken one. Raises BadData
    where a side is empty, and EdgekitError where the loss stops being finite.
    """
    keep_memory()
    frame = frame_of(spec.image, recipe.margin)
    train = decode_all(dataset.split("train"), frame, workers)
    validation = decode_all(dataset.split("val"), frame_of(spec.image), workers)
    batches = _batches(train, spec, recipe, lessons or {})
    plain = network
    network = with_dropout(
        rewrite(deepcopy(plain), torch.zeros(1, *_shape(spec.image))), recipe.dropout
    )
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = deepcopy(network)
    forward = prepare(network, device)
    optimiser = build_optimiser(network, recipe)
    images = len(batches.used)
    steps_per_epoch = math.ceil(images / recipe.batch)
    run = _identity(plain, spec, train, validation, recipe, seed, lessons or {})
    progress = Progress(epoch=0, step=0, history=[], best={}, best_epoch=0, best_score=-math.inf)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.is_file():
        progress = load_state(checkpoint, run, network, averaged, optimiser)
    while not _ended(progress, recipe):
        torch.manual_seed(_draw(seed, progress.epoch))
        network.train()
        start, seen, total = time.perf_counter(), 0, 0.0
        for pixels, rows in batches.epoch(recipe.batch, seed, progress.epoch):
            rate = recipe.learning_rate * schedule(recipe, progress.step / steps_per_epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = _step(forward, device, spec, recipe, batches, pixels, rows, optimiser)
            if not math.isfinite(loss):
                raise EdgekitError(
                    f"the loss is no longer finite in epoch {progress.epoch + 1}: "
                    "try a smaller learning rate"
                )
            progress.step += 1
            average_weights(averaged, network, recipe.average, progress.step)
            seen += len(rows)
            total += loss * len(rows)
            speed = seen / (time.perf_counter() - start)
            tell(
                Told(
                    epoch=progress.epoch + 1,
                    epochs=recipe.epochs,
                    done=seen,
                    images=images,
                    images_per_second=speed,
                )
            )
        progress.epoch += 1
        scores = validate(averaged, spec, validation)
        progress.history.append(
            {"epoch": progress.epoch, "loss": total / seen, "rate": rate, **scores, "speed": speed}
        )
        score = fmean(scores.values())
        if score > progress.best_score:
            progress.best = {k: v.cpu().clone() for k, v in averaged.state_dict().items()}
            progress.best_epoch, progress.best_score = progress.epoch, score
        save_state(checkpoint, run, network, averaged, optimiser, progress)
        write_whole(folder / "log.csv", _csv(progress.history))
    plain.load_state_dict({name: progress.best[name] for name in plain.state_dict()})
    best_score = progress.best_score
    if recipe.refit:
        refit_scales(plain, spec, validation)
        best_score = fmean(validate(plain, spec, validation).values())
    return Trained(
        network=plain.eval(),
        best_epoch=progress.best_epoch,
        best_score=best_score,
        history=tuple(progress.history),
        images_per_second=fmean(row["speed"] for row in progress.history),
    )


def _ended(progress: Progress, recipe: Recipe) -> bool:
    last = min(recipe.epochs, recipe.stop or recipe.epochs)
    waited = progress.epoch - progress.best_epoch
    return progress.epoch >= last or 0 < recipe.patience <= waited


def _step(
    forward: Callable[[Tensor], tuple[Tensor, ...]],
    device: str,
    spec: ModelSpec,
    recipe: Recipe,
    batches: Batches,
    pixels: Tensor,
    rows: NDArray[np.intp],
    optimiser: torch.optim.Optimizer,
) -> float:
    """Do one step of the optimiser and return the loss: the sum over the outputs."""
    pixels = pixels.to(device)
    images = normalise(augment(pixels, spec.image, recipe.augmentation), spec.image)
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=recipe.bfloat16 and device != "mps"):
        values = forward(images.contiguous(memory_format=torch.channels_last))
    loss = torch.zeros((), device=device)
    for index, (output, value) in enumerate(zip(spec.outputs, values, strict=True)):
        targets, weights = batches.targets[index][rows], batches.weights[index][rows]
        loss = loss + LOSSES[output.kind](value, targets.to(device), weights.to(device))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _batches(images: Decoded, spec: ModelSpec, recipe: Recipe, lessons: Lessons) -> Batches:
    """Return the training images with every output's targets. Raises BadData without labels."""
    pairs = []
    for output in spec.outputs:
        if output.kind not in TARGETS:
            raise BadData(f"output '{output.name}' is a plain tensor: it cannot be trained")
        targets, weights = TARGETS[output.kind](images.samples, output, recipe)
        if not weights.any():
            raise BadData(f"no training image of {images.dataset.name} has a label '{output.name}'")
        if output.name in lessons:
            lesson = lessons[output.name]
            if output.kind == "regression":
                lesson = points(lesson)
            targets, weights = mixed(targets, weights, lesson, recipe.teacher_share)
        pairs.append((torch.from_numpy(targets), torch.from_numpy(weights)))
    used = np.flatnonzero(torch.stack([w for _, w in pairs]).any(0).numpy())
    return Batches(
        pixels=images.pixels,
        targets=tuple(t for t, _ in pairs),
        weights=tuple(w for _, w in pairs),
        used=used,
    )


def _shape(spec: InputSpec) -> tuple[int, int, int]:
    return spec.channels, spec.height, spec.width


def _identity(
    network: nn.Module,
    spec: ModelSpec,
    train: Decoded,
    validation: Decoded,
    recipe: Recipe,
    seed: int,
    lessons: Lessons,
) -> str:
    """Return, as JSON, all that two runs must share for one to go on from the other."""
    initial = hashlib.sha256()
    for name, value in network.state_dict().items():
        initial.update(f"{name} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    facts = {
        "initial": initial.hexdigest(),
        "spec": asdict(spec),
        "train": sha256_of(sample.sha256 for sample in train.samples),
        "validation": sha256_of(sample.sha256 for sample in validation.samples),
        "recipe": asdict(recipe),
        "seed": seed,
        "lessons": {
            name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in lessons.items()
        },
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
    }
    return json.dumps(facts, sort_keys=True)


def sha256_of(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines, each ended by a newline."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _draw(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


def _csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
