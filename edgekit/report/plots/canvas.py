"""What every plot shares: its size, its type, its colours and marks, and how it becomes a file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingPackage
from edgekit.report.table import Table
from edgekit.report.theme import LIGHT, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 4.0
"""Inches: one column of a paper, and the width of a phone at a size that can be read there."""
DPI = 200
MARKS = {"fp32": "o", "fp16": "^", "fp16-compute": "v", "int8": "s", "int8-dynamic": "P"}
LINES: dict[str, Any] = {
    "fp32": "-",
    "fp16": (0, (1, 1)),
    "fp16-compute": (0, (3, 1)),
    "int8": (0, (5, 1.5)),
    "int8-dynamic": (0, (5, 1, 1, 1)),
}
"""Shapes and strokes tell precisions apart, so that colour is never alone in telling."""
POINT = "record:"
"""How the group of a mark that stands for a record is named, before the record's key."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "edgekit",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.facecolor": LIGHT["paper"],
    "figure.facecolor": LIGHT["paper"],
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "axes.grid": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.axisbelow": True,
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One figure, named as its files are; `says` tells in words and numbers what it shows.

    `data` are the drawn numbers, one row a mark or line, for those who cannot see it.
    """

    name: str
    title: str
    says: str
    data: Table
    figure: Figure


@contextmanager
def drawing() -> Iterator[None]:
    """Hold matplotlib to our style, whatever the user's own settings are.

    Raises MissingPackage without it.
    """
    import warnings

    try:
        import matplotlib
    except ImportError:
        raise MissingPackage("matplotlib", "report") from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the shipped font lacks: the page's own fonts show it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def canvas(height: float, rows: Sequence[float] = (1,)) -> tuple[Figure, list[Axes]]:
    """Return a figure of `height` inches and its axes, one above the other, sharing their x."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    made = figure.subplots(
        len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(rows)}
    )
    return figure, list(made[:, 0])


def picture(figure: Figure, ending: str, *, text: bool = False) -> bytes:
    """Return a figure as a file's bytes, the same every time; `text` keeps an SVG's letters."""
    import matplotlib

    empty = {"png": {"Software": None}, "svg": dict.fromkeys(("Date", "Creator", "Format", "Type"))}
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none" if text else "path"}):
        figure.savefig(file, format=ending, dpi=DPI, metadata=empty[ending])
    return file.getvalue()


def colours(backends: Iterable[str]) -> dict[str, str]:
    """Return each backend's colour; past eight they come again, and the legend's words tell."""
    names = sorted(set(backends))
    return {name: LIGHT[SERIES[place % len(SERIES)]] for place, name in enumerate(names)}


def scale(axis: Axis, values: Sequence[float]) -> None:
    """Set an axis to powers of ten where its values are far apart, with plain numbers on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    spread = max(values) / min(values) if values and min(values) > 0 else 1.0
    if spread < 4:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        return
    subs = (1.0, 2.0, 5.0) if spread < 100 else (1.0, 3.0) if spread < 1000 else (1.0,)
    axis.axes.set(**{"xscale" if axis is axis.axes.xaxis else "yscale": "log"})
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """Put a legend under the plot, where it hides nothing, and settle the figure."""
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    settle(figure)


def settle(figure: Figure) -> None:
    """Lay a figure out, once: its layout would else be sought again for every file."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
