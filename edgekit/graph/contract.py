"""The input contract as torch modules: raw pixels in, named outputs out, baked into the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.artifact import Feed
from edgekit.spec import InputSpec, ModelSpec


def uniform_zero_point(spec: InputSpec) -> int | None:
    """Return z such that the normalised value is (int8 − z) / std with int8 = pixel − 128.

    Exists where all channels share one whole-numbered mean and one std; then an int8 graph needs
    no arithmetic for normalisation: its input has scale 1 / std and zero point z = mean − 128.
    """
    mean = spec.mean[0]
    same = set(spec.mean) == {mean} and set(spec.std) == {spec.std[0]}
    whole = float(mean).is_integer() and 0 <= mean <= 255
    return int(mean) - 128 if same and whole and spec.colour != "BGR" else None


class Flat(nn.Module):
    """A network whose outputs are one tuple, whatever the user's forward returns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the network on its own float input."""
        answer = self.network(image)
        if isinstance(answer, dict):
            answer = tuple(answer.values())
        return tuple(answer) if isinstance(answer, tuple | list) else (answer,)


class Baked(nn.Module):
    """A network behind the contract: takes N×H×W×C pixels of 0 to 255, RGB or grey.

    With feed `uint8` they arrive as uint8. With `float32` the pixels are already normalised but
    still N×H×W×C: the form an int8 graph is made from where its input scale normalises. With
    `planes` they arrive as floats of 0 to 255, N×C×H×W, in the network's own order of colours.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, spec: InputSpec, *, normalise: bool, planes: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.planes = planes
        self.flip = spec.colour == "BGR" and not planes
        self.nchw = spec.layout == "NCHW"
        self.normalise = normalise
        # One number for all channels where they agree: a scalar folds into the first layer.
        shape = (1, -1, 1, 1) if self.nchw else (1, 1, 1, -1)
        same = len(set(spec.mean)) == 1 and len(set(spec.std)) == 1
        mean, std = (spec.mean[:1], spec.std[:1]) if same else (spec.mean, spec.std)
        self.register_buffer("mean", torch.tensor(mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(shape), persistent=False)
        self.centred = any(spec.mean)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the network's outputs for one batch of pixels."""
        value = image.to(torch.float32)
        if self.flip:
            value = value.flip(-1)
        if self.nchw != self.planes:
            value = value.permute(0, 3, 1, 2) if self.nchw else value.permute(0, 2, 3, 1)
        if self.normalise:
            if self.centred:
                value = value - self.mean
            value = value / self.std
        outputs: tuple[Tensor, ...] = self.network(value)
        return outputs


def reference_input(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return what the bare network sees of uint8 N×H×W×C pixels: normalised, in its layout."""
    value = pixels.to(torch.float32)
    if spec.colour == "BGR":
        value = value.flip(-1)
    value = (value - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    return value.permute(0, 3, 1, 2).contiguous() if spec.layout == "NCHW" else value


def example_input(spec: ModelSpec, feed: Feed, *, batch: int = 1) -> Tensor:
    """Return a mid-grey input of the shape and dtype an artifact of that feed takes."""
    image = spec.input
    if feed == "uint8":
        return torch.full(
            (batch, image.height, image.width, image.channels), 128, dtype=torch.uint8
        )
    return torch.zeros((batch, image.height, image.width, image.channels))
