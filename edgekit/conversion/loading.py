"""A loaded source of whatever format, behind one set of functions; for the export step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekit.conversion.calibration import Recipe
from edgekit.conversion.convertible import in_float32
from edgekit.conversion.reference import broken_weights, torch_answers, torch_noise
from edgekit.conversion.sources import LoadedModule, SourceRequest, load_module, source_kind
from edgekit.conversion.spec_files import (
    check_batch,
    check_count,
    check_units,
    complete_spec,
    numbered,
    read_spec,
)
from edgekit.errors import BadModel, UnsupportedModel, first_line
from edgekit.graph import Noise
from edgekit.kinds import kind_of
from edgekit.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Source:
    """A loaded source, whatever its format: how to run it, calibrate it and save its graph.

    `broken` says which weights hold NaN, `noise` how far the answers are from float64's, and
    `save` of each output whether it ends in a softmax or a sigmoid.
    """

    format: Any
    name: str
    spec: ModelSpec
    sha256: str
    parameters: int
    macs: int | None
    weights: Any
    notes: tuple[str, ...]
    broken: list[str]
    reference: Callable[[Any], dict[str, NDArray[np.generic]]]
    noise: Callable[[Any, dict[str, NDArray[np.generic]]], dict[str, Noise]]
    synthesise: Callable[[Recipe], tuple[NDArray[np.uint8], tuple[str, ...]]]
    save: Callable[[Path], tuple[bool, ...]]


def load_source(request: SourceRequest, raw_input: bool) -> Source:
    """Load a source of any kind. Raises BadModel in one line."""
    onnx = source_kind(request) == "onnx"
    source = _load_onnx(request, raw_input) if onnx else _load_torch(request)
    check_units(source.name, source.spec.input)
    return source


def _load_torch(request: SourceRequest) -> Source:
    import torch

    from edgekit.conversion.synthesis import synthesise
    from edgekit.graph.contract import Flat, example_inputs
    from edgekit.graph.rewrites import for_converters, rewrite
    from edgekit.graph.scores import torch_endings
    from edgekit.zoo.counts import count_parameters

    torch.manual_seed(0)
    kind = source_kind(request)
    loaded = load_module(request, kind)
    spec = loaded.spec
    network = Flat(loaded.module, spec.outputs).eval()
    example = example_inputs(spec, raw=True)
    notes = (*loaded.notes, *in_float32(loaded.module, lambda: _runs(network, spec)))
    macs = _check_forward(network, loaded, example)
    stored = [*loaded.module.named_parameters(), *loaded.module.named_buffers()]

    def save(folder: Path) -> tuple[bool, ...]:
        # After the reference was taken: it is the user's model, the graph may be the faster form.
        with torch.no_grad():
            program = for_converters(_export(rewrite(network, *example), example))
        torch.export.save(program, folder / "graph.pt2")
        return torch_endings(program)

    return Source(
        format="pt2",
        name=loaded.name,
        spec=spec,
        sha256=loaded.sha256,
        parameters=count_parameters(loaded.module),
        macs=macs,
        weights=loaded.weights,
        notes=notes,
        broken=broken_weights((name, as_numpy(tensor)) for name, tensor in stored),
        reference=lambda pixels: torch_answers(network, spec, pixels),
        noise=lambda pixels, answers: torch_noise(network, spec, pixels, macs, answers),
        synthesise=lambda recipe: synthesise(network, spec.image, recipe),
        save=save,
    )


def as_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """Return a tensor's values; NumPy has no bfloat16, which float32 holds exactly."""
    import torch

    held = tensor.detach()
    array: NDArray[np.generic] = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
    return array


def _check_forward(
    network: torch.nn.Module, loaded: LoadedModule, example: tuple[torch.Tensor, ...]
) -> int:
    """Return the multiply-accumulates of one image, by torch's own flop counter.

    Raises BadModel unless the network takes its spec's input and gives its spec's outputs.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            outputs = network(*example)
    except BadModel:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise BadModel(_does_not_run(network, loaded, example, error)) from None
    for value, output in zip(outputs, loaded.spec.outputs, strict=True):
        check_batch(loaded.name, output, tuple(value.shape))
    check_shapes(loaded.name, loaded.spec, [tuple(value.shape) for value in outputs])
    macs: int = counter.get_total_flops() // 2
    return macs


def _does_not_run(
    network: torch.nn.Module,
    loaded: LoadedModule,
    example: tuple[torch.Tensor, ...],
    error: Exception,
) -> str:
    """Return what to say of a network that its own input ends, with the remedy if one is seen."""
    needed = _needed_inputs(loaded.module)
    if needed > len(example):
        return (
            f"{loaded.name} takes {needed} inputs, the spec names {len(example)} "
            f"({', '.join(loaded.spec.names)}): describe each with [[inputs]]"
        )
    kinds = {str(p.dtype).removeprefix("torch.") for p in loaded.module.parameters()}
    remedy = _what_runs(network, loaded.spec)
    if kinds - {"float32"}:
        remedy = f" (its weights are {', '.join(sorted(kinds))}: call .float() on it)"
    shapes = " and ".join(
        f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" for value in example
    )
    said, kind = first_line(error), type(error).__name__
    if not isinstance(error, RuntimeError | ValueError) and said != kind:
        said = f"{kind}: {said}"  # a KeyError says but the key
    return f"{loaded.name} does not run on a {shapes} input: {said}{remedy}"


def _what_runs(network: torch.nn.Module, spec: ModelSpec) -> str:
    """Return which other shape, layout or colour the network does run on, or ''."""
    if spec.input is None:
        batched = tuple(replace(each, shape=(1, *each.shape)) for each in spec.tensors)
        shapes = " and ".join(f"shape = {list(each.shape)}" for each in batched)
        alike = replace(spec, tensors=batched)
        return _said(shapes) if _runs(network, alike) else ""
    grey = replace(spec.input, colour="GREY", mean=(0.0,), std=(255.0,), pad=(114,))
    rgb = replace(spec.input, colour="RGB", mean=(0.0,) * 3, std=(255.0,) * 3, pad=(114,))
    other = grey if spec.input.colour != "GREY" else rgb
    layout: Literal["NCHW", "NHWC"] = "NHWC" if spec.input.layout == "NCHW" else "NCHW"
    for change, said in (
        (replace(spec.input, layout=layout), f'layout = "{layout}"'),
        (other, f'colour = "{other.colour}" and a mean and std of {other.channels}'),
    ):
        if _runs(network, replace(spec, input=change)):
            return _said(said)
    return ""


def _said(fields: str) -> str:
    return f" (it runs with {fields} in the spec)"


def _runs(network: torch.nn.Module, spec: ModelSpec) -> bool:
    """Tell whether a network takes what another spec says of its input."""
    import torch

    from edgekit.graph.contract import example_inputs

    try:
        with torch.no_grad():
            network(*example_inputs(spec, raw=True))
    except Exception:  # whatever the user's own code raises
        return False
    return True


def check_shapes(model: str, spec: ModelSpec, shapes: Iterable[tuple[int, ...]]) -> None:
    """Raise BadModel for an output, of one image, whose shape its kind cannot have."""
    named = dict(zip((output.name for output in spec.outputs), shapes, strict=True))
    for output in spec.outputs:
        shape = named[output.name]
        kind = kind_of(output)
        fault = kind.shape_fault(output, shape)
        if output.parts and not fault:
            fault = kind.parts_fault(output, named)
        if fault:
            raise BadModel(f"output '{output.name}' of {model} has shape {shape}, {fault}")


def _needed_inputs(module: torch.nn.Module) -> int:
    """Return how many arguments a module's forward cannot do without."""
    import inspect

    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(p.kind in places and p.default is p.empty for p in parameters)


def _export(
    network: torch.nn.Module, example: tuple[torch.Tensor, ...]
) -> torch.export.ExportedProgram:
    import torch

    try:
        return torch.export.export(network, example)
    except Exception as error:  # torch.export wraps user code's errors in many private classes
        raise UnsupportedModel(
            f"torch.export cannot trace the model: {first_line(error)}; let its forward compute "
            "with tensors alone, without .item(), .numpy() or an if on a value"
        ) from None


def _load_onnx(request: SourceRequest, raw_input: bool) -> Source:
    from edgekit.conversion import onnx_source

    path = Path(request.locator)
    model = onnx_source.load(path)
    given = read_spec(request.spec) if request.spec else None
    if given is None and not raw_input:
        raise BadModel(
            f"{path} does not say what its input means: give --spec FILE.toml "
            f"(`edgekit spec {path}` drafts one), or --raw-input"
        )
    if given is not None and given.tensors:
        onnx_source.take_tensors(model, given, path)
        spec = given
        check_count(spec, len(model.graph.output), str(path))
    else:
        shape, outputs = onnx_source.shapes(model, path, given.input if given else None)
        spec = complete_spec(given, shape, numbered(outputs), str(path))
    onnx_source.pick(model, spec, path)
    onnx_source.check_branches(model, path)
    names = [value.name for value in model.graph.output]
    return Source(
        format="onnx",
        name=path.stem,
        spec=spec,
        sha256=onnx_source.content_hash(model),
        parameters=onnx_source.count_parameters(model),
        macs=None,
        weights="given",
        notes=(),
        broken=broken_weights(onnx_source.weights(model)),
        reference=lambda pixels: onnx_source.reference(path, pixels, spec, names),
        noise=lambda pixels, answers: {},
        synthesise=lambda recipe: onnx_source.no_statistics(recipe, spec),
        save=lambda folder: onnx_source.save(model, folder / "graph.onnx"),
    )
