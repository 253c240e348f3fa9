"""The input contract as torch modules: raw pixels in, named outputs out, baked into the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.errors import BadModel
from edgekit.spec import InputSpec, ModelSpec, OutputSpec


class Flat(nn.Module):
    """A network whose outputs are one tuple, whatever the user's forward returns.

    With `outputs`, the spec's, what the forward returns may be nested to any depth. Its parts have
    paths: dict keys, field names and places, joined by dots ("boxes", "features.0"). An output is
    taken by its `path`; where no output has one, by its name where there are names, and in order
    from tuples and lists alone. Every output is checked: BadModel where one is missing, unknown,
    or no tensor. A network that was exported through a Flat answers a tuple in the spec's order,
    and needs no outputs.
    """

    def __init__(self, network: nn.Module, outputs: Sequence[OutputSpec] = ()) -> None:
        super().__init__()
        self.network = network
        self.outputs = tuple(outputs)

    def forward(self, image: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Run the network on its own inputs."""
        answer = self.network(image, *others)
        if self.outputs:
            return _apart(_arranged(answer, self.outputs), image)
        return tuple(answer) if isinstance(answer, tuple | list) else (answer,)


def parts(answer: object, path: str = "") -> dict[str, object]:
    """Return what a forward answered by path, in order; a bare value has the path ''."""
    items: Iterable[tuple[object, object]]
    if isinstance(answer, Mapping):
        items = answer.items()
    elif isinstance(answer, tuple | list):
        fields = getattr(answer, "_fields", range(len(answer)))
        items = zip(fields, answer, strict=True)
    else:
        return {path: answer}
    found: dict[str, object] = {}
    for key, value in items:
        found |= parts(value, f"{path}.{key}" if path else str(key))
    return found


def _arranged(answer: object, outputs: tuple[OutputSpec, ...]) -> tuple[Tensor, ...]:
    """Return what a forward answered as tensors, in the order of `outputs`."""
    found = parts(answer)
    names = [output.name for output in outputs]
    if any(output.path for output in outputs):
        wanted = [output.path or output.name for output in outputs]
        missing = [path for path in wanted if path not in found]
        if missing:
            raise BadModel(
                f"the spec takes an output from {_quoted(missing)}, the model answers "
                f"{_quoted(found)}: name one of these in `from`"
            )
        values = [found[path] for path in wanted]
    elif set(found) == set(names):
        values = [found[name] for name in names]
    elif _has_keys(answer):
        raise BadModel(
            f"the model answers {_quoted(found)} but the spec names {_quoted(names)}: name the "
            "spec's outputs by these, or pick some of them with `from`"
        )
    else:
        values = list(found.values())
    if len(values) != len(names):
        raise BadModel(
            f"the model gives {len(values)} outputs, its spec names {len(names)} ({_quoted(names)})"
        )
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, Tensor):
            raise BadModel(
                f"output '{name}' is {_called(value)}, not a tensor: "
                "let forward return one tensor an output, or pick others with `from` in the spec"
            )
        if value.is_complex():
            raise BadModel(f"output '{name}' is complex: return its real and imaginary parts")
    return tuple(value for value in values if isinstance(value, Tensor))


def _has_keys(answer: object) -> bool:
    """Tell whether a dict is anywhere in an answer: its order means nothing."""
    if isinstance(answer, tuple | list):
        return any(map(_has_keys, answer))
    return isinstance(answer, Mapping)


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
    return f"a {type(value).__name__}"


class Baked(nn.Module):
    """A network behind the contract: takes N×H×W×C pixels of 0 to 255, RGB or grey.

    With `planes` they arrive as floats of 0 to 255, N×C×H×W, in the network's own order of colours.
    Inputs that are no image pass as they are; `place` says which one is the image.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        spec: InputSpec,
        *,
        planes: bool = False,
        place: int = 0,
    ) -> None:
        super().__init__()
        self.place = place
        self.network = network
        self.planes = planes
        self.flip = spec.colour == "BGR" and not planes
        self.nchw = spec.layout == "NCHW"
        # One number for all channels where they agree: a scalar folds into the first layer.
        shape = (1, -1, 1, 1) if self.nchw else (1, 1, 1, -1)
        same = len(set(spec.mean)) == 1 and len(set(spec.std)) == 1
        mean, std = (spec.mean[:1], spec.std[:1]) if same else (spec.mean, spec.std)
        self.register_buffer("mean", torch.tensor(mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(shape), persistent=False)
        self.centred = any(spec.mean)

    def forward(self, image: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Return the network's outputs for one batch of pixels and what else it takes, in order."""
        inputs = [image, *others]
        value = inputs[self.place].to(torch.float32)
        if self.flip:
            value = value.flip(-1)
        if self.nchw != self.planes:
            value = value.permute(0, 3, 1, 2) if self.nchw else value.permute(0, 2, 3, 1)
        if self.centred:
            value = value - self.mean
        value = value / self.std
        inputs[self.place] = value
        outputs: tuple[Tensor, ...] = self.network(*inputs)
        return outputs


def reference_input(pixels: Tensor, spec: InputSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what the bare network sees of uint8 N×H×W×C pixels: normalised, in its layout."""
    value = pixels.to(dtype)
    if spec.colour == "BGR":
        value = value.flip(-1)
    value = (value - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    return value.permute(0, 3, 1, 2).contiguous() if spec.layout == "NCHW" else value


def example_input(spec: ModelSpec) -> Tensor:
    """Return a mid-grey uint8 image of the shape an artifact takes."""
    image = spec.image
    return torch.full((1, image.height, image.width, image.channels), 128, dtype=torch.uint8)


def example_inputs(spec: ModelSpec, *, raw: bool) -> tuple[Tensor, ...]:
    """Return an input for each of the network's, in order; `raw`: the image as the bare one's."""
    return tuple(_example(spec, name, raw) for name in spec.names)


def _example(spec: ModelSpec, name: str, raw: bool) -> Tensor:
    for tensor in spec.tensors:
        if tensor.name == name:
            middle = sum(tensor.range) / 2 if tensor.range else 0
            return torch.full(tensor.shape, middle, dtype=getattr(torch, tensor.dtype))
    pixels = example_input(spec)
    return reference_input(pixels, spec.image) if raw else pixels


def reference_inputs(
    spec: ModelSpec, sample: Any, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Return what the bare network takes of one sample: pixels, or arrays by input name."""
    if not spec.tensors:
        return (reference_input(torch.from_numpy(sample[None]), spec.image, dtype),)
    image = None if spec.input is None else spec.input.name
    inputs = []
    for name in spec.names:
        value = torch.from_numpy(np.asarray(sample[name]))
        if name == image:
            inputs.append(reference_input(value[None], spec.image, dtype))
        else:
            inputs.append(value.to(dtype) if value.is_floating_point() else value)
    return tuple(inputs)
