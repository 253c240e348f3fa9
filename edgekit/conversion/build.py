"""The second step of a conversion, one process per backend: ExportedGraph → Artifact.

Builds each precision, runs it in its own runtime on the parity images, holds it to the source
model's outputs, and writes a manifest only where it passes.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgekit.artifact import Manifest, ParityRecord, Precision, record_files, write_manifest
from edgekit.backends import Backend, Built, load_backend
from edgekit.conversion.guard import guard_int8
from edgekit.conversion.parity import judge
from edgekit.conversion.step_process import Report
from edgekit.conversion.ways import FAR, build_int8, distance, outputs_of
from edgekit.errors import EdgekitError, MissingPackage, ParityFailed
from edgekit.graph import ExportedGraph
from edgekit.outputs import Outputs
from edgekit.runtimes.table import role_of
from edgekit.version import __version__

FEW = 8
"""Under so many images the share of equal decisions is chance."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """Which precisions of which backend to build from a graph, and the folder that takes them."""

    graph: ExportedGraph
    backend: str
    precisions: tuple[Precision, ...]
    output: str
    min_agreement: float
    max_drop: float | None = None
    guard_minutes: float = 5.0


def run(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Build every precision (the step's entry), reporting each as a row when it is done."""
    asked = msgspec.convert(request, BuildRequest, dec_hook=lambda kind, value: kind(value))
    wrong = False
    # What is made of a float network that is wrong is wrong, though a decision may not show it.
    for precision in sorted(asked.precisions, key=lambda precision: precision != "fp32"):
        start = time.perf_counter()
        report({"event": "started", "precision": precision})
        row: dict[str, Any] = {"event": "row", "precision": precision}
        try:
            if wrong:
                raise ParityFailed(f"{asked.backend} {precision}: its float network is wrong")
            manifest = build_one(asked, precision)
        except EdgekitError as error:
            wrong = wrong or (isinstance(error, ParityFailed) and error.far)
            row |= {"error": str(error), "kind": type(error).__name__}
        else:
            row["parity"] = msgspec.to_builtins(manifest.parity)
        row["seconds"] = time.perf_counter() - start
        report(row)
    return {}


def build_one(request: BuildRequest, precision: Precision) -> Manifest:
    """Build and prove one artifact; on failure its folder is gone. Returns its manifest."""
    graph = request.graph
    folder = Path(request.output) / f"{request.backend}-{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        backend = load_backend(request.backend)
        ours: Outputs | None = None
        try:
            if precision == "int8":
                made = build_int8(
                    graph, backend, folder, lambda ours: _judged(request, precision, ours).passed
                )
                built, graph, ours = made.built, made.graph, made.outputs
                if request.max_drop is not None:
                    built = _guard(replace(request, graph=graph), backend, folder, built)
                    ours = None
                if made.note:
                    built = replace(built, notes=(*built.notes, made.note))
            else:
                built = backend.build(graph, precision, folder, ())
        except ImportError as error:
            raise MissingPackage(error.name or request.backend, backend.EXTRA) from None
        if ours is None:
            ours = outputs_of(graph, backend, folder, built, graph.parity_samples())
        manifest = _prove(request, precision, folder, built, ours)
        write_manifest(folder, manifest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


def _guard(request: BuildRequest, backend: Backend, folder: Path, built: Built) -> Built:
    """Build again with the worst layers in float until the drop is small enough.

    Raises ParityFailed where it stays above the limit.
    """
    graph, limit = request.graph, request.max_drop
    guard = graph.guard_set()
    assert guard is not None and limit is not None

    standing: tuple[str, ...] = ()  # the layers in float of what `folder` holds now

    def build(keep_float: tuple[str, ...]) -> Built:
        nonlocal standing, built
        if keep_float != standing:
            built, standing = backend.build(graph, "int8", folder, keep_float), keep_float
        return built

    def outputs(keep_float: tuple[str, ...]) -> Outputs:
        made = build(keep_float)
        return outputs_of(graph, backend, folder, made, guard.pixels)

    result = guard_int8(
        outputs, built.int8_layers, guard, graph.spec.outputs, limit, 60 * request.guard_minutes
    )
    if result.drop > limit:
        raise ParityFailed(
            f"{request.backend} int8 drops {result.drop:.2f} points on {len(guard.pixels)} guard "
            f"images, over {limit:g} ({result.reason}): raise --guard-minutes or --max-drop"
        )
    final = build(result.keep_float)
    kept = ", ".join(result.keep_float) or "none"
    lost = result.drop or 0.0  # not -0.0
    note = f"guard: drop {lost:.2f} points on {len(guard.pixels)} images; in float: {kept}"
    return replace(final, notes=(*final.notes, note))


def _judged(request: BuildRequest, precision: Precision, ours: Outputs) -> ParityRecord:
    """Return the parity record of outputs on the parity samples; ParityFailed for misfits."""
    graph = request.graph
    try:
        return judge(
            ours,
            graph.reference(),
            graph.spec.outputs,
            # This machine computes it in float32: that the file is right, is what is proven here.
            "fp16" if precision == "fp16-compute" else precision,
            graph.parity_images,
            request.min_agreement,
            noise=graph.noise,
            random_weights=graph.source.weights == "random",
        )
    except ValueError as error:
        raise ParityFailed(f"{request.backend} {precision}: {error}") from None


def _prove(
    request: BuildRequest, precision: Precision, folder: Path, built: Built, ours: Outputs
) -> Manifest:
    """Return the manifest of what `built` wrote. Raises ParityFailed below the bar.

    `ours` are its outputs on the parity samples.
    """
    graph = request.graph
    backend = load_backend(request.backend)
    parity = _judged(request, precision, ours)
    if set(parity.images) == {"noise"}:
        doubt = "proven on random numbers: give --images a folder of .npz or .npy samples"
        parity = replace(parity, doubts=(*parity.doubts, doubt))
    elif len(parity.images) < FEW and precision == "int8" and graph.source.weights != "random":
        one = len(parity.images) == 1
        doubt = f"int8 is proven on {len(parity.images)} {'image' if one else 'images'} alone"
        doubt += f", which proves little: give --images {2 * FEW} or more"
        parity = replace(parity, doubts=(*parity.doubts, doubt))
    if not parity.passed and role_of(request.backend) != "harness":
        failed = ParityFailed(
            f"{request.backend} {precision} does not compute the model on "
            f"{len(parity.images)} images: {'; '.join(parity.faults)}"
        )
        failed.far = precision == "fp32" and distance(ours, graph.reference()) > FAR
        raise failed
    return Manifest(
        model=graph.model,
        backend=request.backend,
        precision=precision,
        files=record_files(folder, built.files),
        source=graph.source,
        input=graph.spec.input,
        tensors=graph.spec.tensors,
        order=graph.spec.order,
        feed=built.feed,
        outputs=graph.spec.outputs,
        calibration=graph.calibration if precision == "int8" else None,
        tools=tool_versions(backend.PACKAGES),
        parity=parity,
        notes=built.notes,
    )


def tool_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution, and our own."""
    from importlib.metadata import version

    return {"edgekit": __version__, **{name: version(name) for name in packages}}
