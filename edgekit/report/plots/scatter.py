"""Latency against size and against accuracy: a mark an artifact, the Pareto front joined up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgekit.records import slug
from edgekit.report.pareto import front
from edgekit.report.plots.canvas import MARKS, POINT, Plot, canvas, colours, legend, scale
from edgekit.report.scatter_points import Point
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAD = (
    "Each mark is one artifact; colour is its backend, shape its precision, a bar its interval. "
    "The step line is the Pareto front: it begins at the fastest artifact, and each step is one "
    "that is slower and clearly better, so that their intervals do not meet. A hollow mark is in "
    "doubt (its verdict says why) and on no front; a diamond is a prediction and has a front of "
    "its own. Only one machine and setting shares a plot."
)
Ends = tuple[float, float, float]
"""A value and its interval."""
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
            lambda point: (point.artifact.bytes / 1e6,) * 3,
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
                partial(_quality, key=(what, data)),
                sign=-1,
            )


def _quality(point: Point, key: tuple[str, str]) -> Ends:
    quality = point.qualities[key]
    return quality.percent, quality.low, quality.high


def _by_place(points: Sequence[Point]) -> Iterator[tuple[str, list[Point]]]:
    for place in dict.fromkeys(point.place for point in points):
        yield place, [point for point in points if point.place == place]


def _plot(
    name: str,
    title: str,
    points: Sequence[Point],
    words: tuple[str, str, str],
    ends: Callable[[Point], Ends],
    sign: int,
) -> Plot:
    """Return the plot of a value against latency; `sign` is -1 where more of it is better."""

    def value(point: Point) -> float:
        return ends(point)[0]

    column, label, better = words
    figure, (axes,) = canvas(3.9)
    colour = colours(point.artifact.backend for point in points)
    reach = [x for p in points for x in (p.ms, p.low, p.high) if x is not None and x > 0]
    scale(axes.xaxis, reach)
    if sign > 0:
        scale(axes.yaxis, [value(point) for point in points])
    for point in points:
        _mark(axes, point, ends(point), colour[point.artifact.backend])
    fronts = {}
    for provenance in sorted({point.provenance for point in points}):
        eligible = [p for p in points if p.provenance == provenance and p.ranked]
        kept = front([(p.ms, sign * value(p)) for p in eligible])
        fronts[provenance] = _clear_steps([eligible[place] for place in kept], ends, sign)
    axes.set_xlabel("p50 of one inference, ms")
    axes.set_ylabel(label)
    axes.margins(0.08)
    if sign < 0:  # a share: no axis goes where none can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0.0), min(high, 100.0))
    drawn = any(len(kept) > 1 for kept in fronts.values())
    _legend(figure, points, colour, front_drawn=drawn)
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


def _clear_steps(
    front_points: Sequence[Point], ends: Callable[[Point], Ends], sign: int
) -> list[Point]:
    """Return the first point of a front and each later one that is clearly better than the last."""
    kept: list[Point] = []
    for point in front_points:
        _, low, high = ends(point)
        if kept:
            _, last_low, last_high = ends(kept[-1])
            if not (low > last_high if sign < 0 else high < last_low):
                continue
        kept.append(point)
    return kept


def _mark(axes: Axes, point: Point, ends: Ends, colour: str) -> None:
    height, bottom, top = ends
    if bottom < top:
        axes.vlines(point.ms, bottom, top, colors=colour, linewidth=1.0)
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
        clip_on=False,
    )
    mark.set_gid(f"{POINT}{point.key}")


def _draw_front(axes: Axes, corners: Sequence[tuple[float, float]], provenance: str) -> None:
    """Draw a front as a step line and number its points; numbers that would touch are one label.

    A single point is no line and needs no number.
    """
    if len(corners) < 2:
        return
    style = ":" if provenance == "predicted" else "-"
    axes.step(
        *zip(*corners, strict=True), where="post", color=LIGHT["ink"], lw=0.9, ls=style, zorder=1.5
    )
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


def _legend(
    figure: Any, points: Sequence[Point], colour: dict[str, str], *, front_drawn: bool
) -> None:
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
    if front_drawn:
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
