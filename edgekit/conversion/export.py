"""The first step of a conversion, in its own process: ModelSource → ExportedGraph.

Loads the source, exports the float network, decodes the parity and calibration images, and
records the source model's own outputs, to which every artifact is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import CalibrationRecord, SourceRecord
from edgekit.conversion.calibration import (
    DATA_FREE,
    Recipe,
    choose,
    choose_samples,
    load_samples,
)
from edgekit.conversion.guard_images import save_guard_set
from edgekit.conversion.reference import (
    broken_weights,
    check_answers,
    torch_answers,
    torch_noise,
)
from edgekit.conversion.sources import (
    LoadedModule,
    SourceKind,
    SourceRequest,
    check_count,
    complete_spec,
    load_module,
    numbered,
    read_spec,
    source_kind,
)
from edgekit.conversion.steps import Report
from edgekit.data.images import content_hash, decode_image, open_images
from edgekit.data.sample_images import sample_images
from edgekit.data.samples import noise_samples, read_samples
from edgekit.errors import BadData, BadModel, UnsupportedModel, first_line
from edgekit.graph import ExportedGraph, Noise
from edgekit.graph.scores import with_scores
from edgekit.kinds import kind_of
from edgekit.onboard.runner import save_arrays
from edgekit.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

PARITY_IMAGES = 64
"""One decision in 64 is 1.6 points of agreement: fewer images judge int8 by chance."""
PARITY_NOISE = 16
"""Samples of noise, where nobody gave any that mean something."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export, from where the images come, and the folder that takes the result.

    `images`: folder, zip or image for parity; None takes them from the calibration set, or from
    the shipped sample picture. `calibration`: folder, zip or `data-free`; None where no int8
    artifact is wanted. `evaluation`: content hashes of the evaluation set, for the linter.
    """

    source: SourceRequest
    folder: str
    raw_input: bool
    images: str | None
    calibration: str | None
    recipe: Recipe
    evaluation: tuple[str, ...] = ()
    guard: str | None = None


def run(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Export (the step's entry); the reply is the ExportedGraph."""
    asked = msgspec.convert(request, ExportRequest)
    graph = export(asked, lambda text: report({"event": "progress", "text": text}))
    reply: dict[str, Any] = msgspec.to_builtins(graph, enc_hook=str)
    return reply


def export(request: ExportRequest, say: Callable[[str], None]) -> ExportedGraph:
    """Export `request.source` into `request.folder`. Raises BadModel, BadData, UnsupportedModel."""
    import numpy as np

    kind = source_kind(request.source)
    say(f"loading {request.source.locator}")
    load = _load_onnx if kind == "onnx" else _load_torch
    source = load(request)
    folder = Path(request.folder)
    if source.spec.tensors:
        return _with_samples(request, source, kind, say)
    say("decoding images")
    parity_names, parity = _parity_images(request, source.spec.image)
    np.save(folder / "parity.npy", parity)
    reference, noise = _refer(source, parity, folder, say)
    say("preparing calibration")
    calibration = _calibrate(request, source, folder)
    if request.guard is not None:
        say("running the reference model for the guard")
        save_guard_set(request.guard, source.spec, source.reference, folder / "guard.npz")
    return _graph(request, source, kind, (parity_names, calibration, reference, noise), say)


def _with_samples(
    request: ExportRequest, source: _Source, kind: SourceKind, say: Callable[[str], None]
) -> ExportedGraph:
    """Export a network with inputs that are no images: its samples are arrays by input name."""
    if request.guard is not None:
        raise BadModel("--max-drop guards models of one image: leave it out")
    spec, folder = source.spec, Path(request.folder)
    say("reading samples")
    calibration, picked = None, set[str]()
    given = request.calibration or DATA_FREE
    held = None
    if given != DATA_FREE:
        held = read_samples(Path(given), spec.input, spec.tensors)
    if request.calibration is not None:
        if held is None:
            raise BadData(
                f"int8 of {source.name} needs samples of {', '.join(spec.names)}: "
                "give --calibration a folder of .npz or .npy files, or --precision fp32"
            )
        chosen, calibration = choose_samples(held, request.recipe)
        picked = set(chosen.hashes)
        _save_samples(folder / "calibration.npz", chosen.values)
    if request.images:
        held = read_samples(Path(request.images), spec.input, spec.tensors)
        picked = set()
    if held is None:
        values = noise_samples(spec.input, spec.tensors, PARITY_NOISE)
        pairs = [("noise", value) for value in values]
    else:
        pairs = list(zip(held.hashes, held.values, strict=True))
        pairs = [pair for pair in pairs if pair[0] not in picked] or pairs
    hashes, parity = zip(*pairs[:PARITY_IMAGES], strict=True)
    _save_samples(folder / "parity.npz", parity)
    reference, noise = _refer(source, parity, folder, say)
    return _graph(request, source, kind, (hashes, calibration, reference, noise), say)


def _save_samples(path: Path, samples: Sequence[dict[str, NDArray[np.generic]]]) -> None:
    import numpy as np

    np.savez(path, **{n: np.stack([s[n] for s in samples]) for n in samples[0]})  # type: ignore[arg-type]


def _refer(
    source: _Source, samples: Any, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, Noise]]:
    """Return the source model's checked answers and its own rounding; keep the answers."""
    say("running the reference model")
    reference = source.reference(samples)
    shapes = [(1, *reference[output.name].shape[1:]) for output in source.spec.outputs]
    _check_shapes(source.name, source.spec, shapes)
    check_answers(source.name, reference, source.reference(samples[:1]), source.broken)
    noise = source.noise(samples, reference)
    save_arrays(folder / "reference.npz", reference)
    return reference, noise


def _graph(
    request: ExportRequest,
    source: _Source,
    kind: SourceKind,
    found: tuple[Any, ...],
    say: Callable[[str], None],
) -> ExportedGraph:
    """Save the network and return the whole of what was exported."""
    parity_names, calibration, reference, noise = found
    folder = Path(request.folder)
    say("exporting")
    spec = with_scores(source.spec, source.save(folder), reference)
    record = SourceRecord(
        kind=kind,
        locator=request.source.locator,
        sha256=source.sha256,
        parameters=source.parameters,
        macs=source.macs,
        weights=source.weights,
    )
    return ExportedGraph(
        folder=folder,
        format=source.format,
        model=source.name,
        source=record,
        spec=spec,
        raw_input=request.raw_input,
        parity_images=parity_names,
        calibration=calibration,
        noise=noise,
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
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
    broken: list[str]
    reference: Callable[[Any], dict[str, NDArray[np.generic]]]
    noise: Callable[[Any, dict[str, NDArray[np.generic]]], dict[str, Noise]]
    synthesise: Callable[[Recipe], tuple[NDArray[np.uint8], tuple[str, ...]]]
    save: Callable[[Path], tuple[bool, ...]]


def _load_torch(request: ExportRequest) -> _Source:
    import torch

    from edgekit.conversion.synthesis import synthesise
    from edgekit.graph.contract import Flat, example_inputs
    from edgekit.graph.rewrites import rewrite, with_float_bounds
    from edgekit.graph.scores import torch_endings
    from edgekit.zoo.counts import count_parameters

    torch.manual_seed(0)
    kind = source_kind(request.source)
    loaded = load_module(request.source, kind)
    spec = loaded.spec
    network = Flat(loaded.module, spec.outputs).eval()
    example = example_inputs(spec, raw=True)
    macs = _check_forward(network, loaded, example)
    stored = [*loaded.module.named_parameters(), *loaded.module.named_buffers()]

    def save(folder: Path) -> tuple[bool, ...]:
        # After the reference was taken: it is the user's model, the graph may be the faster form.
        with torch.no_grad():
            program = with_float_bounds(_export(rewrite(network, *example), example))
        torch.export.save(program, folder / "graph.pt2")
        return torch_endings(program)

    return _Source(
        format="pt2",
        name=loaded.name,
        spec=spec,
        sha256=loaded.sha256,
        parameters=count_parameters(loaded.module),
        macs=macs,
        weights=loaded.weights,
        broken=broken_weights((name, tensor.detach().numpy()) for name, tensor in stored),
        reference=lambda pixels: torch_answers(network, spec, pixels),
        noise=lambda pixels, answers: torch_noise(network, spec, pixels, macs, answers),
        synthesise=lambda recipe: synthesise(network, spec.image, recipe),
        save=save,
    )


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
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        needed = _needed_inputs(loaded.module)
        if needed > len(example):
            raise BadModel(
                f"{loaded.name} takes {needed} inputs, the spec names {len(example)} "
                f"({', '.join(loaded.spec.names)}): describe each with [[inputs]]"
            ) from None
        kinds = {str(p.dtype).removeprefix("torch.") for p in loaded.module.parameters()}
        remedy = f" (its weights are {', '.join(sorted(kinds))}: call .float() on it)"
        shapes = " and ".join(
            f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" for value in example
        )
        raise BadModel(
            f"{loaded.name} does not run on a {shapes} input: "
            f"{first_line(error)}{remedy if kinds - {'float32'} else ''}"
        ) from None
    for value, output in zip(outputs, loaded.spec.outputs, strict=True):
        if value.ndim < 1 or value.shape[0] != 1:
            raise BadModel(
                f"output '{output.name}' of {loaded.name} has shape {tuple(value.shape)} for one "
                "image: its first dimension must be the batch, 1 (add it with [None])"
            )
    _check_shapes(loaded.name, loaded.spec, [tuple(value.shape) for value in outputs])
    macs: int = counter.get_total_flops() // 2
    return macs


def _check_shapes(model: str, spec: ModelSpec, shapes: Iterable[tuple[int, ...]]) -> None:
    """Raise BadModel for an output, of one image, whose shape its kind cannot have."""
    for output, shape in zip(spec.outputs, shapes, strict=True):
        fault = kind_of(output).shape_fault(output, shape)
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
            f"torch.export cannot trace the model: {first_line(error)}; "
            "see torch.export's guide to data-dependent control flow"
        ) from None


def _load_onnx(request: ExportRequest) -> _Source:
    from edgekit.conversion import onnx_source

    path = Path(request.source.locator)
    model = onnx_source.load(path)
    given = read_spec(request.source.spec) if request.source.spec else None
    if given is None and not request.raw_input:
        raise BadModel(
            f"{path} does not say what its input means: give --spec FILE.toml, or --raw-input"
        )
    if given is not None and given.tensors:
        onnx_source.take_tensors(model, given, path)
        spec = given
        check_count(spec, len(model.graph.output), str(path))
    else:
        shape, outputs = onnx_source.shapes(model, path)
        spec = complete_spec(given, shape, numbered(outputs), str(path))
    onnx_source.pick(model, spec, path)
    names = [value.name for value in model.graph.output]
    return _Source(
        format="onnx",
        name=path.stem,
        spec=spec,
        sha256=onnx_source.content_hash(model),
        parameters=onnx_source.count_parameters(model),
        macs=None,
        weights="given",
        broken=broken_weights(onnx_source.weights(model)),
        reference=lambda pixels: onnx_source.reference(path, pixels, spec, names),
        noise=lambda pixels, answers: {},
        synthesise=lambda recipe: onnx_source.no_statistics(recipe, spec),
        save=lambda folder: onnx_source.save(model, folder / "graph.onnx"),
    )


def _parity_images(
    request: ExportRequest, spec: InputSpec
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Return hashes and pixels of up to PARITY_IMAGES images, other than calibration's picks."""
    import numpy as np

    if request.images:
        images = open_images(Path(request.images))
        names = images.names
    elif request.calibration and request.calibration != DATA_FREE:
        images = open_images(Path(request.calibration))
        picked = set(choose(images, request.recipe))
        names = tuple(name for name in images.names if name not in picked) or images.names
    else:
        images = sample_images()
        names = images.names
    hashes, pixels = [], []
    for name in names:
        data = images.read(name)
        try:
            pixels.append(decode_image(data, spec))
        except (OSError, ValueError):
            continue
        hashes.append(content_hash(data))
        if len(pixels) == PARITY_IMAGES:
            break
    if not pixels:
        raise BadData(f"no image in {images.path} can be decoded: give --images with readable ones")
    return tuple(hashes), np.stack(pixels)


def _calibrate(request: ExportRequest, source: _Source, folder: Path) -> CalibrationRecord | None:
    import numpy as np

    if request.calibration is None:
        return None
    recipe = request.recipe
    if request.calibration == DATA_FREE:
        pixels, warnings = source.synthesise(recipe)
        hashes = tuple(content_hash(image.tobytes()) for image in pixels)
    else:
        samples = load_samples(
            Path(request.calibration), recipe, source.spec.image, request.evaluation
        )
        pixels, hashes, warnings = samples.pixels, samples.hashes, samples.warnings
    np.save(folder / "calibration.npy", pixels)
    return CalibrationRecord(
        recipe=recipe.name,
        method=recipe.method,
        seed=recipe.seed,
        data_free=request.calibration == DATA_FREE,
        samples=hashes,
        warnings=warnings,
    )
