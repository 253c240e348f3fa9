"""How the calls of each artifact are spread: the share of raw samples that took at most so long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.measurement.stats import percentile
from edgekit.records import Measurement, record_key, slug
from edgekit.report.plots.canvas import LINES, Plot, canvas, colours, legend, scale
from edgekit.report.records import has_times, table_order
from edgekit.report.scatter_points import measured_place
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT
from edgekit.runtimes.table import role_of

STEPS = 120
"""Most steps of one line."""
LEAD = (
    "The share of all calls that ended within a time (the empirical distribution of the raw "
    "samples, every round of them): a steep line is a steady artifact, a long tail to the right "
    f"its slow calls. Up to {STEPS} samples each one is a step; of more, {STEPS} are drawn, evenly "
    "spaced in rank, the fastest and the slowest among them. The numbers are of all samples."
)


def by_panel(
    measurements: Sequence[Measurement],
) -> Iterator[tuple[str, str, list[Measurement]]]:
    """Yield (place, model, its measurements with times there), in the tables' order."""
    timed = [
        m
        for m in sorted(measurements, key=table_order)
        if has_times(m)
        and any(r.invoke_s for r in m.rounds)
        and role_of(m.artifact.backend) != "harness"
    ]
    for place, model in dict.fromkeys((measured_place(m), m.artifact.model) for m in timed):
        own = [m for m in timed if (measured_place(m), m.artifact.model) == (place, model)]
        yield place, model, own


def names(measurements: Sequence[Measurement]) -> list[str]:
    """Return what to call each of a model's measurements: `onnx int8`, of several `onnx int8 (2)`.

    Another runtime than the most common is named too.
    """
    found: list[str] = []
    for measurement in measurements:
        plain = f"{measurement.artifact.backend} {measurement.artifact.precision}"
        again = sum(name == plain or name.startswith(f"{plain} (") for name in found)
        found.append(f"{plain} ({again + 1})" if again else plain)
    return found


def distribution_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield one plot a model and place."""
    for place, model, own in by_panel(measurements):
        samples = [
            1000 * np.sort(np.concatenate([np.asarray(r.invoke_s) for r in m.rounds])) for m in own
        ]
        order = sorted(range(len(own)), key=lambda i: (float(np.median(samples[i])), i))
        labels = names(own)
        colour = colours(m.artifact.backend for m in own)
        figure, (axes,) = canvas(3.2 + 0.14 * ((len(own) + 1) // 2))
        scale(axes.xaxis, [float(s) for values in samples for s in (values[0], values[-1])])
        handles = []
        for place_in_order in order:
            values, artifact = samples[place_in_order], own[place_in_order].artifact
            drawn, share = thinned(values)
            (line,) = axes.step(
                drawn,
                100 * share,
                where="post",
                color=colour[artifact.backend],
                linestyle=LINES.get(artifact.precision, "-"),
                linewidth=1.3,
            )
            handles.append(line)
        for level in (50, 90):
            axes.axhline(level, color=LIGHT["muted"], linewidth=0.6, zorder=1)
        axes.set_ylim(-2, 102)
        axes.set_yticks([0, 25, 50, 75, 90, 100])
        axes.set_xlabel("one inference, ms")
        axes.set_ylabel("calls that ended within it, %")
        worded = [f"{labels[i]}, {np.median(samples[i]):.3g} ms" for i in order]
        legend(figure, handles, worded, 2)
        rows = [_row(labels[i], own[i], samples[i]) for i in order]
        sources = tuple(record_key(own[i]) for i in order)
        title = f"{model}: {place}"
        yield Plot(
            name=slug(f"distribution {model} {place}"),
            title=title,
            says=_says(model, [(labels[i], samples[i]) for i in order]),
            data=Table(
                name="data",
                title=title,
                columns=tuple(rows[0]),
                rows=tuple(rows),
                notes=(),
                sources=sources,
            ),
            figure=figure,
        )


def thinned(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most STEPS of the sorted `values` and the share of samples at or below each."""
    count = len(values)
    ranks = np.unique(np.linspace(0, count - 1, min(count, STEPS)).round().astype(np.int64))
    drawn, share = values[ranks], (ranks + 1) / count
    return np.concatenate([drawn[:1], drawn]), np.concatenate([[0.0], share])


def _row(label: str, measurement: Measurement, values: NDArray[np.float64]) -> dict[str, Cell]:
    return {
        "artifact": label,
        "samples": len(values),
        "rounds": len(measurement.rounds),
        "fastest_ms": float(values[0]),
        "p50_ms": percentile(values, "p50"),
        "p90_ms": percentile(values, "p90"),
        "p99_ms": percentile(values, "p99"),
        "slowest_ms": float(values[-1]),
        "provenance": measurement.provenance,
    }


def _says(model: str, lines: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    parts = [
        f"{label}: half of {len(values):,} calls within {np.median(values):.3g} ms, the slowest "
        f"{values[-1]:.3g} ms"
        for label, values in lines
    ]
    return f"Calls of {model}, by rising median. {'; '.join(parts)}."
