"""The second step of a conversion, one process per backend: ExportedGraph → Artifact.

Builds each precision, runs it in its own runtime on the parity images, holds it to the source
model's outputs, and writes a manifest only where it passes.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import __version__
from edgekit.artifact import Manifest, Precision, record_files, write_manifest
from edgekit.backends import Built, load_backend
from edgekit.errors import EdgekitError, MissingPackage, ParityFailed
from edgekit.graph import ExportedGraph
from edgekit.steps import Report
from edgekit.verify import artifact_outputs, compare_outputs, judge


@dataclass(frozen=True)
class BuildRequest:
    """Which precisions of which backend to build from a graph, and the folder that takes them."""

    graph: ExportedGraph
    backend: str
    precisions: tuple[Precision, ...]
    output: str
    min_agreement: float


def run(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Build every precision (the step's entry), reporting each as a row when it is done."""
    asked = msgspec.convert(request, BuildRequest, dec_hook=lambda kind, value: kind(value))
    for precision in asked.precisions:
        start = time.perf_counter()
        report({"event": "started", "precision": precision})
        row: dict[str, Any] = {"event": "row", "precision": precision}
        try:
            manifest = build_one(asked, precision)
        except EdgekitError as error:
            row |= {"error": str(error), "kind": type(error).__name__}
        else:
            row["parity"] = msgspec.to_builtins(manifest.parity)
        row["seconds"] = time.perf_counter() - start
        report(row)
    return {}


def build_one(
    request: BuildRequest, precision: Precision, keep_float: tuple[str, ...] = ()
) -> Manifest:
    """Build and prove one artifact; on failure its folder is gone. Returns its manifest."""
    graph = request.graph
    folder = Path(request.output) / f"{request.backend}-{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        backend = load_backend(request.backend)
        try:
            built = backend.build(graph, precision, folder, keep_float)
        except ImportError as error:
            raise MissingPackage(error.name or request.backend, backend.EXTRA) from None
        manifest = _prove(request, precision, folder, built, keep_float)
        write_manifest(folder, manifest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


def _prove(
    request: BuildRequest,
    precision: Precision,
    folder: Path,
    built: Built,
    keep_float: tuple[str, ...],
) -> Manifest:
    """Return the manifest of what `built` wrote. Raises ParityFailed below the bar."""
    graph = request.graph
    backend = load_backend(request.backend)
    reference = graph.reference()
    ours = artifact_outputs(
        str(folder / built.files[0]), backend.RUNTIME, built.feed, graph.spec, graph.parity_pixels()
    )
    try:
        records = compare_outputs(ours, reference, graph.spec.outputs)
    except ValueError as error:
        raise ParityFailed(f"{request.backend} {precision}: {error}") from None
    parity = judge(
        records,
        reference,
        precision,
        graph.parity_images,
        request.min_agreement,
        random_weights=graph.source.weights == "random",
    )
    if not parity.passed and request.backend != "null":
        raise ParityFailed(
            f"{request.backend} {precision} does not compute the model: "
            f"max abs difference {parity.max_abs_diff:.3g}, "
            f"agreement {'-' if parity.agreement is None else format(parity.agreement, '.1%')} "
            f"on {len(parity.images)} images; the bar is {parity.bar}"
        )
    kept = (f"kept in float by the guard: {', '.join(keep_float)}",) if keep_float else ()
    return Manifest(
        graph.model,
        request.backend,
        precision,
        record_files(folder, built.files),
        graph.source,
        graph.spec.input,
        built.feed,
        graph.spec.outputs,
        graph.calibration if precision == "int8" else None,
        tool_versions(backend.PACKAGES),
        parity,
        built.notes + kept,
    )


def tool_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution, and our own."""
    from importlib.metadata import version

    return {"edgekit": __version__, **{name: version(name) for name in packages}}
