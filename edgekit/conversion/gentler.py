"""Builds int8, and builds it a second way where the first is far from the model.

int8 of every operator is fastest, and near the model for most networks. Where values of very
different sizes share one range, as in a transformer's sums or in boxes beside scores, it is far
off. A backend may then have a gentler int8, which keeps more in float; the nearer of the two stays.
"""

from __future__ import annotations

import shutil
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.backends import Backend, Built, loader
from edgekit.conversion.parity import artifact_outputs
from edgekit.graph import ExportedGraph
from edgekit.onboard.runner import Distances
from edgekit.outputs import Outputs
from edgekit.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable

FAR = 0.1
"""The distance to the model, as a share of the outputs' spread, from which on the gentler int8 is
tried. Networks whose int8 is good are at 0.03 to 0.1 (benchmarks/ecosystem/results.md)."""
NOTE = "a gentler int8, which may be slower: the usual one was far from the model"
SAMPLES = 16
"""How many samples of calibration the two are compared on, half of them at most."""


def build_int8(
    graph: ExportedGraph, backend: Backend, folder: Path, holds: Callable[[Outputs], bool]
) -> tuple[Built, ExportedGraph, Outputs | None]:
    """Write an int8 artifact into `folder`.

    Return it, the graph that builds the like again, and its outputs on the parity samples where
    they are known.

    `holds` tells of the outputs on the parity samples whether they prove it. That it does not, or
    is far off, is seen on these samples; which of two is nearer, on some of calibration, so that
    the proof's samples do not choose between the two.
    """
    built = backend.build(graph, "int8", folder, ())
    if not built.gentler or "fp32" not in backend.PRECISIONS:
        return built, graph, None
    ours = outputs_of(graph, backend, folder, built, graph.parity_samples())
    if holds(ours) and distance(ours, graph.reference()) <= FAR:
        return built, graph, ours
    gentle = replace(graph, gentle=True)
    with scratch_folder() as scratch:
        try:
            nearer = _nearer(graph, gentle, backend, folder, built, Path(scratch))
        except Exception:  # a converter's own bug: what there is may still be proven
            traceback.print_exc()
            nearer = None
        if nearer is None:
            return built, graph, ours
        for name in nearer.files:  # not within the try: half of each would be no artifact
            shutil.copyfile(Path(scratch) / "int8" / name, folder / name)
    return nearer, gentle, None


def _nearer(
    graph: ExportedGraph,
    gentle: ExportedGraph,
    backend: Backend,
    folder: Path,
    built: Built,
    scratch: Path,
) -> Built | None:
    """Write the gentler int8 into `scratch`/int8, and return it, where it is nearer than `built`.

    It is tried on samples of calibration that it has not seen, `built` has: ranges look good on
    what they were chosen on. (MTCNN's R-Net in OpenVINO was 0.57 times as far in the gentler way
    on samples that both had seen, and 2.6 times as far on others.)
    """
    samples = graph.calibration_samples()
    kept = min(SAMPLES, len(samples) // 2)
    if not kept:
        return None
    samples = samples[-kept:]
    places = scratch / "fp32", scratch / "try", scratch / "int8"
    for place in places:
        place.mkdir()
    floats = backend.build(graph, "fp32", places[0], ())
    exact = outputs_of(graph, backend, places[0], floats, samples)
    tried = backend.build(replace(gentle, held_back=kept), "int8", places[1], ())
    first = distance(outputs_of(graph, backend, folder, built, samples), exact)
    second = distance(outputs_of(graph, backend, places[1], tried, samples), exact)
    return backend.build(gentle, "int8", places[2], ()) if second < first else None


def outputs_of(
    graph: ExportedGraph, backend: Backend, folder: Path, built: Built, samples: Any
) -> Outputs:
    """Return an artifact's outputs on pixels or arrays by name, in its own runtime."""
    model = str(folder / built.files[0])
    return artifact_outputs(model, loader(backend), built.feed, graph.spec, samples)


def distance(ours: Outputs, reference: Outputs) -> float:
    """Return how far outputs are from others, the largest of any output, in spreads.

    The RMS distance over how much the output varies from sample to sample; or that of its worst
    channel, where an output holds quantities of different size (runner.Distances).
    """
    import numpy as np

    shares = [0.0]
    for name, value in reference.items():
        exact, found = value.astype(np.float64), ours[name].reshape(value.shape)
        if not np.isfinite(found).all():
            return float("inf")
        spread = float(np.sqrt(np.square(exact.std(axis=0)).mean())) or 1.0
        off = float(np.sqrt(np.square(found - exact).mean()))
        shares += [off / spread, Distances(found, exact).worst]
    return max(shares)
