"""Measures images/s of whole training steps against forward, backward and update alone.

    OMP_NUM_THREADS=1 python benchmarks/scripts/training_speed.py utkface.zip

One thread, multitask-cnn:classification, the `strong` recipe, images per second of the process's
own CPU time, so that a busy machine does not blur the share. `bound` repeats one ready batch;
`whole` is one epoch's steps as training does them: shuffled from the decoded cache, augmented,
with the running mean of the weights. The bounds of torch's own layers show what was gained.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from copy import deepcopy

import torch

from edgekit import zoo
from edgekit.data import open_dataset
from edgekit.data.decoded import decode_all
from edgekit.training.kernels import accelerate
from edgekit.training.loop import _batches, _step, frame_of
from edgekit.training.losses import masked_cross_entropy
from edgekit.training.optimiser import average_weights, build_optimiser
from edgekit.training.recipe import STRONG

STEPS = 15


Step = Callable[[], None]


def images_per_second(steps: dict[str, Step]) -> dict[str, float]:
    """Return the rate of each one's median step; they take turns, after three to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(STEPS + 3):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return {
        name: round(STRONG.batch / sorted(values[3:])[STEPS // 2], 1)
        for name, values in seconds.items()
    }


def bound(fast: bool, channels_last: bool, bfloat16: bool) -> Step:
    """Return forward, backward and update on one ready batch."""
    network = zoo.build("multitask-cnn", "classification").train()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = (accelerate(network) if fast else network).to(memory_format=layout)
    images = torch.randn(STRONG.batch, 3, 64, 64).contiguous(memory_format=layout)
    optimiser = build_optimiser(network, STRONG)
    weights = torch.ones(STRONG.batch)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            values = network(images)
        targets = (torch.full_like(value, 1 / value.shape[1]).float() for value in values)
        losses = (masked_cross_entropy(v, t, weights) for v, t in zip(values, targets, strict=True))
        sum(losses, torch.zeros(())).backward()
        optimiser.step()

    return step


def whole(data: str) -> Step:
    """Return a step of training as it runs."""
    spec = zoo.spec("multitask-cnn", "classification")
    train = decode_all(open_dataset(data).split("train"), frame_of(spec.input, STRONG.margin))
    batches = _batches(train, spec, STRONG)
    network = accelerate(zoo.build("multitask-cnn", "classification")).train()
    network = network.to(memory_format=torch.channels_last)
    averaged = deepcopy(network)
    optimiser = build_optimiser(network, STRONG)
    source = batches.epoch(STRONG.batch, 0, 0)

    def step() -> None:
        pixels, rows = next(source)
        _step(network, spec, STRONG, batches, pixels, rows, optimiser)
        average_weights(averaged, network, STRONG.average, 100)

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rates = images_per_second(
        {
            "whole": whole(sys.argv[1]),
            "bound": bound(True, True, True),
            "bound, torch's own layers": bound(False, True, True),
            "bound, torch's own layers, float32": bound(False, True, False),
            "bound, torch's own layers, float32, channels first": bound(False, False, False),
        }
    )
    print(json.dumps(rates | {"share": round(rates["whole"] / rates["bound"], 3)}, indent=2))
