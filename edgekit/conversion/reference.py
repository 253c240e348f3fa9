"""What the source model itself answers, and whether anything can be held to it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.errors import BadModel
from edgekit.graph import Noise
from edgekit.onboard.runner import Distances, of_one, points_of, read_with
from edgekit.spec import ModelSpec, OutputSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Answers = Mapping[str, NDArray[np.generic]]

FLOAT64_MACS = 8_000_000_000
"""Multiply-accumulates spent in float64, a few seconds of one core: a large network is measured on
fewer images. Counted, not timed, so that the bar is the same on every machine."""


def torch_answers(
    network: torch.nn.Module, spec: ModelSpec, samples: Any, *, double: bool = False
) -> dict[str, NDArray[np.generic]]:
    """Return a network's outputs by name, (N, …), on pixels (uint8 H×W×C) or arrays by input name.

    Floats become float32, or float64 with `double`; integers and booleans stay what they are.
    """
    import torch

    from edgekit.graph.contract import reference_inputs

    kind = torch.float64 if double else torch.float32
    with torch.inference_mode():
        rows = [network(*reference_inputs(spec, sample, kind)) for sample in samples]
    columns = (torch.stack([*map(of_one, column)]) for column in zip(*rows, strict=True))
    arrays = (column.to(kind) if column.is_floating_point() else column for column in columns)
    names = (output.name for output in spec.outputs)
    return {name: array.numpy() for name, array in zip(names, arrays, strict=True)}


def torch_noise(
    network: torch.nn.Module,
    spec: ModelSpec,
    samples: Any,
    macs: int,
    answers: Answers,
) -> dict[str, Noise]:
    """Return how far `answers`, the network's in float32, are from its answers in float64.

    Measured on as many of the images as FLOAT64_MACS allow. Empty where the network cannot be
    copied, cast or run in float64.
    """
    import torch

    count = max(1, min(len(samples), FLOAT64_MACS // max(macs, 1)))
    try:
        exact = torch_answers(copy.deepcopy(network).double(), spec, samples[:count], double=True)
    except Exception:  # user code: a cast to float32 inside, a custom operator, no deepcopy
        return {}
    noise = {}
    for name, value in exact.items():
        if value.dtype.kind == "f" and torch.isfinite(torch.from_numpy(value)).all():
            ours = answers[name][:count]
            difference = float(abs(ours.astype(value.dtype) - value).max())
            noise[name] = Noise(difference, Distances(ours, value).worst)
    return noise


def check_answers(model: str, answers: Answers, again: Answers, weights: Iterable[str]) -> None:
    """Raise BadModel for answers that nothing can be held to.

    `again` are the answers to the first image once more; `weights` says which weights hold NaN or
    infinity.
    """
    import numpy as np

    broken = "; ".join(weights)
    for name, value in answers.items():
        bad = sum(not np.isfinite(image).all() for image in value)
        if bad:
            raise BadModel(
                f"output '{name}' of {model} is NaN or infinite on {bad} of {len(value)} "
                f"images: {broken or 'look for a division by 0, a log or an overflow in it'}"
            )
    if broken:
        raise BadModel(f"{model} is broken, though these images do not show it: {broken}")
    for name, value in again.items():
        first, second = answers[name][:1].astype(np.float64), value.astype(np.float64)
        if not np.allclose(second, first, rtol=1e-3, atol=1e-3 * float(np.abs(first).max())):
            raise BadModel(
                f"output '{name}' of {model} differs between two runs on one image "
                f"(by {float(np.abs(second - first).max()):.3g}): the model draws random numbers; "
                "is dropout left on (F.dropout needs training=self.training)?"
            )


def broken_weights(tensors: Iterable[tuple[str, Any]]) -> list[str]:
    """Return one line for each array that holds NaN or infinity; a mask's -inf is left alone."""
    import numpy as np

    lines = []
    for name, value in tensors:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            bad = int((np.isnan(array) | np.isposinf(array)).sum())
            if bad:
                lines.append(f"the weight '{name}' holds NaN or infinity ({bad} of {array.size})")
    return lines


def check_shown(outputs: Iterable[OutputSpec], reference: dict[str, NDArray[np.generic]]) -> None:
    """Raise BadModel where what should be the probabilities of points are none.

    `reference` holds the model's answers, (N, …), by output.
    """
    for output in outputs:
        points = output.points
        if points is None or (points.values == 2 and points.shown is None):
            continue
        told = msgspec.to_builtins(output) | {"scores": "probabilities"}
        rows = read_with(told, reference)
        shown = (points_of(rows, told) if output.boxes else rows)[..., 2]
        low, high = float(shown.min()), float(shown.max())
        if low < -1e-3 or high > 1 + 1e-3:
            where = f"'{points.shown}'" if points.shown else "the third value of its points"
            raise BadModel(
                f"output '{output.name}': {where} goes from {low:.3g} to {high:.3g}, no "
                "probability: let forward apply a sigmoid to it, or leave it out"
            )
