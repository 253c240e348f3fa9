"""Latency against size and against accuracy: a mark an artifact, the Pareto front joined up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgekit.report.pareto import front
from edgekit.report.plots.canvas import MARKS, POINT, Plot, canvas, colours, legend, scale
from edgekit.report.scatter_points import Point
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT
from edgekit.results import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAD = (
    "Each mark is one artifact; colour is its backend, shape its precision. The line joins the "
    "Pareto front: what nothing else here beats in both at once, by the estimates alone. A hollow "
    "mark is in doubt (its verdict says why) and on no front; a diamond is a prediction, its bar "
    "the interval, and has a front of its own. Only one machine and setting shares a plot."
)
_APART = 9.0
"""Points (1/72 inch) two numbers must be apart to be written one by one."""


def size_plots(points: Sequence[Point]) -> Iterator[Plot]:
    """Yield one plot a place."""
    for place, here in _by_place(points):
        yield _plot(
            f"latency-size {place}",
            f"Size against latency: {place}",
            here,
            ("size_mb", "artifact size, MB", "smaller"),
            lambda point: point.artifact.bytes / 1e6,
            sign=1,
        )


def accuracy_plots(points: Sequence[Point]) -> Iterator[Plot]:
    """Yield one plot a place, kind of accuracy and data it was judged on."""
    for place, here in _by_place(points):
        for what, data in dict.fromkeys(key for point in here for key in point.qualities):
            judged = [point for point in here if (what, data) in point.qualities]
            column = f"{what.replace(' ', '_')}_percent"
            yield _plot(
                f"latency-{what} {place} {data}",
                f"{what.capitalize()} against latency: {place} ({data})",
                judged,
                (column, f"{what}, %", "more accurate"),
                lambda point, key=(what, data): point.qualities[key].percent,  # type: ignore[misc]
                sign=-1,
            )


def _by_place(points: Sequence[Point]) -> Iterator[tuple[str, list[Point]]]:
    for place in dict.fromkeys(point.place for point in points):
        yield place, [point for point in points if point.place == place]


def _plot(
    name: str,
    title: str,
    points: Sequence[Point],
    words: tuple[str, str, str],
    value: Callable[[Point], float],
    sign: int,
) -> Plot:
    """Return the plot of `value` against latency; `sign` is -1 where more of it is better."""
    column, label, better = words
    figure, (axes,) = canvas(3.9)
    colour = colours(point.artifact.backend for point in points)
    reach = [x for p in points for x in (p.ms, p.low, p.high) if x is not None and x > 0]
    scale(axes.xaxis, reach)
    if sign > 0:
        scale(axes.yaxis, [value(point) for point in points])
    for point in points:
        _mark(axes, point, value(point), colour[point.artifact.backend])
    fronts = {}
    for provenance in sorted({point.provenance for point in points}):
        eligible = [p for p in points if p.provenance == provenance and p.ranked]
        kept = front([(p.ms, sign * value(p)) for p in eligible])
        fronts[provenance] = [eligible[place] for place in kept]
    axes.set_xlabel("p50 of one inference, ms")
    axes.set_ylabel(label)
    axes.margins(0.08)
    _legend(figure, points, colour)
    for provenance, kept_points in fronts.items():
        _draw_front(axes, [(p.ms, value(p)) for p in kept_points], provenance)
    on_front = {p.key: place for kept in fronts.values() for place, p in enumerate(kept, 1)}
    return Plot(
        name=slug(name),
        title=title,
        says=_says(points, fronts, value, label, better),
        data=_data(title, column, points, value, on_front),
        figure=figure,
    )


def _mark(axes: Axes, point: Point, height: float, colour: str) -> None:
    predicted = point.provenance == "predicted"
    if point.low is not None and point.high is not None:
        axes.hlines(height, point.low, point.high, colors=colour, linewidth=1.0)
    (mark,) = axes.plot(
        [point.ms],
        [height],
        marker="D" if predicted else MARKS.get(point.artifact.precision, "o"),
        markersize=5.5,
        markerfacecolor=colour if point.ranked and not predicted else LIGHT["paper"],
        markeredgecolor=colour,
        markeredgewidth=1.1,
        linestyle="",
    )
    mark.set_gid(f"{POINT}{point.key}")


def _draw_front(axes: Axes, corners: Sequence[tuple[float, float]], provenance: str) -> None:
    """Join a front's points with a line and number them; numbers that would touch are one label."""
    if not corners:
        return
    style = ":" if provenance == "predicted" else "-"
    axes.plot(*zip(*corners, strict=True), color=LIGHT["ink"], lw=0.9, ls=style, zorder=1.5)
    scale_to_points = 72 / axes.figure.dpi
    places = [axes.transData.transform(corner) * scale_to_points for corner in corners]
    groups: list[list[int]] = []
    for place in range(len(corners)):
        if groups and all(abs(places[place] - places[groups[-1][0]]) < _APART):
            groups[-1].append(place)
        else:
            groups.append([place])
    for group in groups:
        words = f"{group[0] + 1}" if len(group) == 1 else f"{group[0] + 1}–{group[-1] + 1}"
        axes.annotate(
            words,
            corners[group[0]],
            xytext=(0, -7),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7,
            fontweight="bold",
        )


def _legend(figure: Any, points: Sequence[Point], colour: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def sample(marker: str, edge: str, face: str) -> Line2D:
        mark: Any = marker
        return Line2D(
            [], [], linestyle="", marker=mark, markersize=5.5, mfc=face, mec=edge, mew=1.1
        )

    ink, paper = LIGHT["muted"], LIGHT["paper"]
    entries = {name: sample("o", tone, tone) for name, tone in colour.items()}
    for precision in sorted({p.artifact.precision for p in points if p.provenance != "predicted"}):
        entries[precision] = sample(MARKS.get(precision, "o"), ink, ink)
    if any(not p.ranked for p in points):
        entries["in doubt"] = sample("o", ink, paper)
    if any(p.provenance == "predicted" for p in points):
        entries["predicted"] = sample("D", ink, paper)
    entries["Pareto front"] = Line2D([], [], color=LIGHT["ink"], linewidth=0.9)
    legend(figure, list(entries.values()), list(entries), 4)


def _says(
    points: Sequence[Point],
    fronts: dict[Any, list[Point]],
    value: Callable[[Point], float],
    label: str,
    better: str,
) -> str:
    parts = [f"{len(points)} artifacts, p50 {_span([p.ms for p in points])} ms"]
    parts.append(f"{label}: {_span([value(p) for p in points])}")
    said = "; ".join(parts) + "."
    for provenance, kept in fronts.items():
        if kept:
            steps = ", ".join(
                f"({place}) {p.name} {p.ms:.3g} ms, {value(p):.4g}"
                for place, p in enumerate(kept, 1)
            )
            said += f" Pareto front, {provenance}, fastest first, then {better}: {steps}."
        else:
            said += f" No front of the {provenance} ones: every one of them is in doubt."
    return said


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _data(
    title: str,
    column: str,
    points: Sequence[Point],
    value: Callable[[Point], float],
    on_front: dict[str, int],
) -> Table:
    rows: list[dict[str, Cell]] = [
        {
            "artifact": point.name,
            "p50_ms": point.ms,
            "p50_low_ms": point.low,
            "p50_high_ms": point.high,
            column: value(point),
            "on_front": on_front.get(point.key),
            "verdict": point.verdict,
            "provenance": point.provenance,
        }
        for point in points
    ]
    return Table(
        name="data",
        title=title,
        columns=tuple(rows[0]),
        rows=tuple(rows),
        notes=(),
        sources=tuple(point.key for point in points),
    )
