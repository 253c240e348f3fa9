"""The input contract as torch modules: raw pixels in, named outputs out, baked into the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgekit.artifact import Feed
from edgekit.errors import BadModel
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
    """A network whose outputs are one tuple, whatever the user's forward returns.

    With `names`, the spec's, a dict is read by its keys, never by their order, and every output is
    checked: BadModel where one is missing, unknown, or no tensor. A network that was exported
    through a Flat answers a tuple in the spec's order, and needs no names.
    """

    def __init__(self, network: nn.Module, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the network on its own float input."""
        answer = self.network(image)
        if self.names:
            return _apart(_arranged(answer, self.names), image)
        return tuple(answer) if isinstance(answer, tuple | list) else (answer,)


def _arranged(answer: object, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return what a forward answered as tensors, in the order of `names`."""
    fields = getattr(answer, "_fields", ())
    if isinstance(answer, tuple) and set(fields) == set(names):
        answer = dict(zip(fields, answer, strict=True))
    if isinstance(answer, Mapping):
        missing = [name for name in names if name not in answer]
        unknown = [str(key) for key in answer if key not in names]
        if missing or unknown:
            raise BadModel(
                f"the model answers {_quoted(map(str, answer))} but the spec names "
                f"{_quoted(names)}: name the spec's outputs by the keys of the model's dict"
            )
        values = [answer[name] for name in names]
    else:
        values = list(answer) if isinstance(answer, tuple | list) else [answer]
    if len(values) != len(names):
        raise BadModel(
            f"the model gives {len(values)} outputs, its spec names {len(names)} ({_quoted(names)})"
        )
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, Tensor):
            raise BadModel(
                f"output '{name}' is {_called(value)}, not a tensor: "
                "let forward return one tensor an output"
            )
        if value.is_complex():
            raise BadModel(f"output '{name}' is complex: return its real and imaginary parts")
    return tuple(values)


def _apart(values: tuple[Tensor, ...], image: Tensor) -> tuple[Tensor, ...]:
    """Return the values, copied where one is the input or was there before.

    Converters take an output's name for its tensor's: one tensor cannot have two.
    """
    seen = [image]
    for value in values:
        seen.append(value.clone() if any(value is other for other in seen) else value)
    return tuple(seen[1:])


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _called(value: object) -> str:
    """Return what a value that is no tensor is, in a few words."""
    if value is None:
        return "None"
    sized = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"a {type(value).__name__}{sized}"


class Baked(nn.Module):
    """A network behind the contract: takes N×H×W×C pixels of 0 to 255, RGB or grey.

    With feed `uint8` they arrive as uint8. With `float32` the pixels are already normalised but
    still N×H×W×C: the form an int8 graph is made from where its input scale normalises.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: InputSpec, *, normalise: bool) -> None:
        super().__init__()
        self.network = network
        self.flip = spec.colour == "BGR"
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
        if self.nchw:
            value = value.permute(0, 3, 1, 2)
        if self.normalise:
            if self.centred:
                value = value - self.mean
            value = value / self.std
        outputs: tuple[Tensor, ...] = self.network(value)
        return outputs


def reference_input(pixels: Tensor, spec: InputSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what the bare network sees of uint8 N×H×W×C pixels: normalised, in its layout."""
    value = pixels.to(dtype)
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
