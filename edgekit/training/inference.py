"""What a torch network answers on decoded images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit import outputs as by_name
from edgekit.data.decoded import Decoded
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


def validate(network: nn.Module, spec: ModelSpec, images: Decoded) -> dict[str, float]:
    """Return each output's exact accuracy in per cent, by output name."""
    chosen = decisions(predict(network, spec, images.pixels), spec)
    return {name: exact_percent(c, images.dataset.take(name)) for name, c in chosen.items()}
