"""The run as it went: calls in order against the artifact's own median, heat and clock beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgekit.measurement.summary import verdict, was_throttled
from edgekit.records import Measurement, Round, record_key, slug
from edgekit.report.plots.canvas import LINES, Plot, canvas, colours, legend, scale
from edgekit.report.plots.distribution import by_panel, names
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT

STEPS = 16
"""Most points of one round."""
CLOCK_MOVES = 0.01
"""A clock that moves less than this share of itself over the run has no trace to show."""
LEAD = (
    "The calls of each round in the order they were made, each against its artifact's own median, "
    "so that a level line at 1 is a run without drift. A point is the median of the calls between "
    f"it and the one before, at most {STEPS} a round; after each gap it is a "
    "fresh process. Temperature and clock are beside it where the device told them."
)
Readings = Callable[[Round], tuple[float | None, ...]]
_HEAT: tuple[tuple[str, Readings], ...] = (
    ("°C", lambda item: item.temperature_c),
    ("clock, MHz", lambda item: item.clock_mhz),
)


def trace_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield one plot a model and place."""
    for place, model, own in by_panel(measurements):
        shown = [(label, read) for label, read in _HEAT if _moves(own, read)]
        figure, axes = canvas(
            2.9 + 0.14 * ((len(own) + 1) // 2) + 0.9 * len(shown), (2.4, *(1 for _ in shown))
        )
        colour = colours(m.artifact.backend for m in own)
        handles, rows, ratios = [], [], []
        labels = names(own)
        for label, measurement in zip(labels, own, strict=True):
            artifact = measurement.artifact
            x, y = _drift(measurement)
            ratios += y
            look = {
                "color": colour[artifact.backend],
                "linestyle": LINES.get(artifact.precision, "-"),
            }
            handles += axes[0].plot(x, y, linewidth=1.1, **look)
            for below, (_, read) in zip(axes[1:], shown, strict=True):
                below.plot(*_readings(measurement, read), linewidth=1.1, **look)
            for number, item in enumerate(measurement.rounds):
                if was_throttled(item.throttled):
                    axes[0].axvspan(number, number + 1, facecolor=LIGHT["series4"], alpha=0.12)
            rows.append(_row(label, measurement))
        rounds = max(len(m.rounds) for m in own)
        scale(axes[0].yaxis, [ratio for ratio in ratios if ratio > 0])
        axes[0].axhline(1, color=LIGHT["muted"], linewidth=0.6, zorder=1)
        axes[0].set_ylabel("latency / own median")
        for below, (label, _) in zip(axes[1:], shown, strict=True):
            below.set_ylabel(label)
        axes[-1].set_xlabel("round")
        axes[-1].set_xticks(np.arange(rounds) + 0.5, [str(n + 1) for n in range(rounds)])
        axes[-1].set_xlim(0, rounds)
        for each in axes:
            each.grid(False, axis="x")
            for number in range(1, rounds):
                each.axvline(number, color=LIGHT["line"], linewidth=0.6)
        legend(figure, handles, labels, 2)
        title = f"{model}: {place}"
        yield Plot(
            name=slug(f"trace {model} {place}"),
            title=title,
            says=_says(labels, own, rows),
            data=Table(
                name="data",
                title=title,
                columns=tuple(rows[0]),
                rows=tuple(rows),
                notes=(),
                sources=tuple(record_key(m) for m in own),
            ),
            figure=figure,
        )


def steady(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Return one line on what the devices of all traces did not tell, or told without a change."""
    own = [m for _, _, panel in by_panel(measurements) for m in panel]
    if not own:
        return ()
    lines = []
    for label, read in _HEAT:
        what = "temperature" if label == "°C" else "clock"
        found = [value for m in own for value in _known(m, read)]
        if not found:
            lines.append(f"No device here told its {what}: there is no trace of it")
        elif not any(_moves(panel, read) for _, _, panel in by_panel(measurements)):
            spread = f"{min(found):,.0f} to {max(found):,.0f}"
            lines.append(f"The {what} stayed within 1 % in every plot ({spread} {label[-3:]})")
    if not any(flag for m in own for item in m.rounds for flag in item.throttled):
        lines.append("No device here told of throttling, for or against")
    return tuple(lines)


def _drift(measurement: Measurement) -> tuple[list[float], list[float]]:
    """Return x (in rounds) and latency over the run's median, a gap (NaN) after each round."""
    median = float(np.median(np.concatenate([np.asarray(r.invoke_s) for r in measurement.rounds])))
    x: list[float] = []
    y: list[float] = []
    for number, item in enumerate(measurement.rounds):
        samples = np.asarray(item.invoke_s, dtype=np.float64)
        parts = np.array_split(samples, min(len(samples), STEPS)) if len(samples) else []
        inside = (np.arange(len(parts)) + 0.5) / max(len(parts), 1)
        x += [*(number + 0.06 + 0.88 * inside), float("nan")]
        y += [*(float(np.median(part)) / (median or 1.0) for part in parts), float("nan")]
    return x, y


def _readings(measurement: Measurement, read: Readings) -> tuple[list[float], list[float]]:
    x: list[float] = []
    y: list[float] = []
    for number, item in enumerate(measurement.rounds):
        values = read(item)
        for place, value in enumerate(values):
            x.append(number + 0.06 + 0.88 * (place + 0.5) / len(values))
            y.append(float("nan") if value is None else value)
    return x, y


def _known(measurement: Measurement, read: Readings) -> list[float]:
    return [value for item in measurement.rounds for value in read(item) if value is not None]


def _moves(measurements: Sequence[Measurement], read: Readings) -> bool:
    """Tell whether there is a trace: readings, and more than one steady value."""
    values = [value for m in measurements for value in _known(m, read)]
    return bool(values) and max(values) - min(values) > CLOCK_MOVES * max(values)


def _row(label: str, measurement: Measurement) -> dict[str, Cell]:
    halves = [
        (np.median(samples[: len(samples) // 2]), np.median(samples[-(len(samples) // 2) :]))
        for samples in (np.asarray(item.invoke_s) for item in measurement.rounds)
        if len(samples) > 1
    ]
    moved = [float(late / early - 1) for early, late in halves if early > 0]
    hottest, clock = (_known(measurement, read) for _, read in _HEAT)
    words = [was_throttled(item.throttled) for item in measurement.rounds]
    return {
        "artifact": label,
        "rounds": len(measurement.rounds),
        "most_drift_percent": 100 * max(moved, key=abs) if moved else None,
        "hottest_c": max(hottest) if hottest else None,
        "slowest_clock_mhz": min(clock) if clock else None,
        "throttled_rounds": None if all(word is None for word in words) else words.count(True),
        "verdict": verdict(measurement),
        "provenance": measurement.provenance,
    }


def _says(
    labels: Sequence[str], own: Sequence[Measurement], rows: Sequence[dict[str, Cell]]
) -> str:
    moved = [
        (label, change)
        for label, row in zip(labels, rows, strict=True)
        if isinstance(change := row["most_drift_percent"], float)
    ]
    said = f"{len(own)} artifacts over {max(len(m.rounds) for m in own)} rounds."
    if moved:
        label, change = max(moved, key=lambda item: abs(item[1]))
        said += (
            " Within a round, the second half's median moved furthest from the first's in "
            f"{label}: by {change:+.1f} %."
        )
    hot = [row["hottest_c"] for row in rows if isinstance(row["hottest_c"], int | float)]
    if hot:
        said += f" Hottest reading {max(hot):.1f} °C."
    throttled = [label for label, row in zip(labels, rows, strict=True) if row["throttled_rounds"]]
    if throttled:
        said += f" Throttled, shaded: {', '.join(throttled)}."
    return said
