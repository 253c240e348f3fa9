"""What a torch network answers on decoded images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit import outputs as by_name
from edgekit.data.decoded import Decoded
from edgekit.evaluation.assessment import Sure
from edgekit.evaluation.confidence import fit_temperature
from edgekit.evaluation.scores import exact_percent
from edgekit.spec import ModelSpec
from edgekit.training.augment import normalise, plain

BATCH = 128


def predict(network: nn.Module, spec: ModelSpec, pixels: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Return each output (N, ...) float32 of images decoded at the input's size, in eval mode."""
    network.eval()
    device = next(network.parameters()).device
    rows: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            frames = torch.from_numpy(np.array(pixels[start : start + BATCH])).to(device)
            images = normalise(plain(frames, spec.image), spec.image)
            rows.append(network(images.contiguous(memory_format=torch.channels_last)))
    columns = zip(*rows, strict=True)
    return {o.name: torch.cat(c).float().cpu() for o, c in zip(spec.outputs, columns, strict=True)}


def decisions(outputs: dict[str, Tensor], spec: ModelSpec) -> dict[str, NDArray[np.int64]]:
    """Return each output's class index per image, decided as `spec.OutputSpec` says."""
    decided = {o.name: by_name.decisions(outputs[o.name].numpy(), o) for o in spec.outputs}
    return {name: chosen for name, chosen in decided.items() if chosen is not None}


def sureness(outputs: dict[str, Tensor], spec: ModelSpec) -> dict[str, Sure]:
    """Return how sure each decision is, by the output's temperature and without it."""
    found = {}
    for output in spec.outputs:
        values = outputs[output.name].numpy()
        told = by_name.confidences(values, output)
        plain = by_name.confidences(values, output, plain=True)
        if told is not None and plain is not None:
            found[output.name] = Sure(temperature=output.temperature, told=told, plain=plain)
    return found


def temperatures(network: nn.Module, spec: ModelSpec, images: Decoded) -> dict[str, float]:
    """Return the temperature of each output of logits that fits labelled images best.

    The images must be none that the network was trained on.
    """
    outputs = predict(network, spec, images.pixels)
    return {
        output.name: fit_temperature(outputs[output.name].numpy(), images.dataset.take(output.name))
        for output in spec.outputs
        if output.kind in {"classification", "ordinal"}
    }


def validate(network: nn.Module, spec: ModelSpec, images: Decoded) -> dict[str, float]:
    """Return each output's exact accuracy in per cent, by output name."""
    chosen = decisions(predict(network, spec, images.pixels), spec)
    return {name: exact_percent(c, images.dataset.take(name)) for name, c in chosen.items()}
