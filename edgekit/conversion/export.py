"""The first step of a conversion, in its own process: ModelSource → ExportedGraph.

Loads the source, exports the float network, decodes the parity and calibration images, and
records the source model's own outputs, to which every artifact is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from edgekit.conversion.guard_images import save_guard_samples, save_guard_set
from edgekit.conversion.loading import Source, check_shapes, load_source
from edgekit.conversion.reference import check_answers, check_shown
from edgekit.conversion.sources import SourceKind, SourceRequest, source_kind
from edgekit.conversion.step_process import Report
from edgekit.data.images import check_findable, content_hash, decode_image, open_images
from edgekit.data.sample_images import sample_images
from edgekit.data.samples import noise_samples, read_samples
from edgekit.errors import BadData
from edgekit.graph import ExportedGraph, Noise
from edgekit.graph.scores import with_scores
from edgekit.onboard.runner import save_arrays
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    import numpy as np
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
    artifact is wanted. `evaluation`: content hashes of the evaluation set, for the linter. With
    `find_subject` every image is cut to its largest face. `wide_int8`: see ExportedGraph.
    """

    source: SourceRequest
    folder: str
    raw_input: bool
    images: str | None
    calibration: str | None
    recipe: Recipe
    evaluation: tuple[str, ...] = ()
    guard: str | None = None
    find_subject: bool = False
    wide_int8: bool = False


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
    source = load_source(request.source, request.raw_input)
    folder = Path(request.folder)
    if request.find_subject:
        check_findable(source.spec.input)
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
        save_guard_set(
            request.guard, source.spec, source.reference, folder / "guard.npz", request.find_subject
        )
    return _graph(request, source, kind, (parity_names, calibration, reference, noise), say)


def _with_samples(
    request: ExportRequest, source: Source, kind: SourceKind, say: Callable[[str], None]
) -> ExportedGraph:
    """Export a network with inputs that are no images: its samples are arrays by input name."""
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
    if request.guard is not None:
        say("running the reference model for the guard")
        save_guard_samples(request.guard, spec, source.reference, folder / "guard.npz")
    return _graph(request, source, kind, (hashes, calibration, reference, noise), say)


def _save_samples(path: Path, samples: Sequence[dict[str, NDArray[np.generic]]]) -> None:
    import numpy as np

    save_arrays(path, {name: np.stack([s[name] for s in samples]) for name in samples[0]})


def _refer(
    source: Source, samples: Any, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, Noise]]:
    """Return the source model's checked answers and its own rounding; keep the answers."""
    say("running the reference model")
    reference = source.reference(samples)
    shapes = [(1, *reference[output.name].shape[1:]) for output in source.spec.outputs]
    check_shapes(source.name, source.spec, shapes)
    check_answers(source.name, reference, source.reference(samples[:1]), source.broken)
    noise = source.noise(samples, reference)
    save_arrays(folder / "reference.npz", reference)
    return reference, noise


def _graph(
    request: ExportRequest,
    source: Source,
    kind: SourceKind,
    found: tuple[Any, ...],
    say: Callable[[str], None],
) -> ExportedGraph:
    """Save the network and return the whole of what was exported."""
    parity_names, calibration, reference, noise = found
    folder = Path(request.folder)
    say("exporting")
    check_shown(source.spec.outputs, reference)
    spec = with_scores(source.spec, source.save(folder), reference)
    record = SourceRecord(
        kind=kind,
        locator=request.source.locator,
        sha256=source.sha256,
        parameters=source.parameters,
        macs=source.macs,
        weights=source.weights,
        notes=source.notes,
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
        wide_int8=request.wide_int8,
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
            pixels.append(decode_image(data, spec, request.find_subject))
        except (OSError, ValueError):
            continue
        hashes.append(content_hash(data))
        if len(pixels) == PARITY_IMAGES:
            break
    if not pixels:
        raise BadData(f"no image in {images.path} can be decoded: give --images with readable ones")
    return tuple(hashes), np.stack(pixels)


def _calibrate(request: ExportRequest, source: Source, folder: Path) -> CalibrationRecord | None:
    import numpy as np

    if request.calibration is None:
        return None
    recipe = request.recipe
    if request.calibration == DATA_FREE:
        pixels, warnings = source.synthesise(recipe)
        hashes = tuple(content_hash(image.tobytes()) for image in pixels)
    else:
        samples = load_samples(
            Path(request.calibration),
            recipe,
            source.spec.image,
            request.evaluation,
            request.find_subject,
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
