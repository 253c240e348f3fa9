"""Builds int8 in a backend's usual way, and in its others where the usual one is far off or fails.

int8 of every operator is fastest, and near the model for most networks. Where values of very
different sizes share one range, as in a transformer's sums or in boxes beside scores, it is far
off. So a backend may have other ways (`WAYS`): a gentler one, which keeps more in float, and a
plain one, which quantizes as its quantizer does by default. The one nearest to the model stays.
"""

from __future__ import annotations

import math
import shutil
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.backends import Backend, Built, loader, ways_of
from edgekit.conversion.parity import artifact_outputs
from edgekit.errors import EdgekitError, first_line
from edgekit.graph import ExportedGraph
from edgekit.onboard.runner import Distances
from edgekit.outputs import Outputs
from edgekit.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable

FAR = 0.1
"""The distance to the model, as a share of the outputs' spread, from which on the other ways are
tried. Trying them costs four or five more builds. Nearer than this, no output of 78 networks in
ONNX was further off than by the runtime's own default, beyond what 32 samples leave in doubt
(benchmarks/ecosystem/README.md)."""
WORTH = 0.95
"""The usual way, the fastest as a rule, stays where it is proven, unless another's distance is
below this share of its own: the gentler one costs ONNX Runtime a tenth more instructions or more
(benchmarks/evidence/executed/shipped.json)."""
SAMPLES = 16
"""How many samples of calibration the ways are compared on, half of them at most."""


@dataclass(frozen=True, kw_only=True)
class Int8:
    """An int8 artifact, and the graph that builds the like again.

    `outputs`: its answers on the parity samples, where they are known. `note` says which way was
    kept and why; empty for the usual one.
    """

    built: Built
    graph: ExportedGraph
    outputs: Outputs | None = None
    note: str = ""


def build_int8(
    graph: ExportedGraph, backend: Backend, folder: Path, holds: Callable[[Outputs], bool]
) -> Int8:
    """Write an int8 artifact into `folder`, in the graph's way where it names one.

    `holds` tells of the outputs on the parity samples whether they prove it. That the usual way
    does not, or is far off, is seen on these samples; which way is nearest, on some of
    calibration, so that the proof's samples do not choose.

    Raises what the usual way raised, where no way can be built.
    """
    ways = ways_of(backend)
    if graph.way or not ways or "fp32" not in backend.PRECISIONS:
        built = backend.build(graph, "int8", folder, ())
        return Int8(built=built, graph=graph, note=_note(graph.way, ways) if graph.way else "")
    usual: Int8 | None = None
    failed: Exception | None = None
    proven = False
    try:
        built = backend.build(graph, "int8", folder, ())
        ours = outputs_of(graph, backend, folder, built, graph.parity_samples())
        usual = Int8(built=built, graph=graph, outputs=ours)
    except (EdgekitError, ImportError):  # true of every way
        raise
    except Exception as error:  # a converter's or a runtime's own bug
        traceback.print_exc()
        failed = error
    else:
        proven = holds(ours)
        if proven and distance(ours, graph.reference()) <= FAR:
            return usual
    with scratch_folder() as scratch:
        tried = _tried(graph, backend, ("", *ways) if usual else tuple(ways), scratch)
        favour = WORTH if proven else 1.0
        for way in sorted(tried, key=lambda way: tried[way] * (1.0 if way else favour)):
            if usual and not way:
                return usual
            wanted, place = replace(graph, way=way), scratch / f"final-{way}"
            place.mkdir()
            try:
                built = backend.build(wanted, "int8", place, ())
            except Exception:
                traceback.print_exc()
                continue
            shutil.rmtree(folder)  # what failed may have left something
            folder.mkdir()
            for name in built.files:
                shutil.copyfile(place / name, folder / name)
            return Int8(built=built, graph=wanted, note=_note(way, ways, tried, failed))
    if usual:
        return usual
    assert failed is not None
    raise failed


def _tried(
    graph: ExportedGraph, backend: Backend, ways: tuple[str, ...], scratch: Path
) -> dict[str, float]:
    """Return how far off each way is, without those that cannot be built; NaN where unknown.

    Each is calibrated without the samples that it is then tried on: ranges look good on what they
    were chosen on. (MTCNN's R-Net in OpenVINO was 0.57 times as far in the gentler way on samples
    that had been seen, and 2.6 times as far on others.)
    """
    samples = graph.calibration_samples()
    kept = min(SAMPLES, len(samples) // 2)
    unknown = dict.fromkeys(ways, math.nan)
    if not kept:
        return unknown
    samples = samples[-kept:]
    place = scratch / "fp32"
    place.mkdir()
    try:
        floats = backend.build(graph, "fp32", place, ())
        exact = outputs_of(graph, backend, place, floats, samples)
    except Exception:
        traceback.print_exc()
        return unknown
    found = {}
    for way in ways:
        place = scratch / f"tried-{way}"
        place.mkdir()
        try:
            built = backend.build(replace(graph, way=way, held_back=kept), "int8", place, ())
            found[way] = distance(outputs_of(graph, backend, place, built, samples), exact)
        except Exception:
            traceback.print_exc()
    return found


def _note(
    way: str,
    ways: dict[str, str],
    tried: dict[str, float] | None = None,
    failed: Exception | None = None,
) -> str:
    """Return the line that says which way was kept, and why."""
    note, tried = f"{way} int8: {ways.get(way, '')}", tried or {}
    if failed is not None:
        note += f"; the usual int8 failed ({type(failed).__name__}: {first_line(failed)})"
    elif "" in tried:
        off, usual = tried[way], tried[""]
        note += f"; it is {off:.3g} of the answers' spread off, the usual int8 {usual:.3g}"
    return note


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
