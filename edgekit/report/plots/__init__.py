"""The report's plots: drawn once by matplotlib, shown in the page, saved as PNG and SVG.

Saved → scatter.py, distribution.py, trace.py, instructions.py, confusion.py → Plot
                                       Plot → inline.py → the page;  save_plots → files
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.progress import Say, silent
from edgekit.report.plots.canvas import Plot, drawing, picture
from edgekit.report.records import Saved

__all__ = ["MOST", "Plot", "Section", "save_plots", "sections"]

MOST = 4
"""Plots of one kind that are drawn; that there are more is told, and the tables hold them."""
LONGEST = 180
"""Letters of a plot's file name; file systems take 255, with the ending and what is added."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Plots of one kind: what they show, and by which rule samples were thinned for drawing."""

    name: str
    title: str
    lead: str
    plots: tuple[Plot, ...]
    notes: tuple[str, ...] = ()


def sections(saved: Saved, say: Say = silent) -> tuple[Section, ...]:
    """Return every kind of plot that has something to show; `say` is called with each kind.

    Raises MissingPackage without matplotlib.
    """
    from edgekit.report.plots import confusion, distribution, instructions, scatter, trace
    from edgekit.report.scatter_points import points

    placed, unplaced = points(saved)
    kinds: tuple[tuple[str, str, str, Iterator[Plot], Sequence[str]], ...] = (
        (
            "accuracy",
            "Latency against accuracy",
            scatter.LEAD,
            scatter.accuracy_plots(placed),
            unplaced,
        ),
        ("size", "Latency against size", scatter.LEAD, scatter.size_plots(placed), unplaced),
        (
            "distribution",
            "Latency, call by call",
            distribution.LEAD,
            distribution.distribution_plots(saved.measurements),
            (),
        ),
        (
            "trace",
            "Drift and heat over the run",
            trace.LEAD,
            trace.trace_plots(saved.measurements),
            trace.steady(saved.measurements),
        ),
        (
            "instructions",
            "Instructions on an emulated board",
            instructions.LEAD,
            instructions.instruction_plots(saved.emulations),
            (),
        ),
        (
            "confusion",
            "What is taken for what",
            confusion.LEAD,
            confusion.confusion_plots(saved),
            (),
        ),
    )
    made = []
    with drawing():
        for name, title, lead, plots, notes in kinds:
            say("plots", f"drawing {title.lower()}")
            made.append(_section(name, title, lead, plots, notes))
    say("plots", "done")
    return tuple(section for section in made if section.plots)


def save_plots(made: tuple[Section, ...], folder: Path) -> list[Path]:
    """Write each plot as `folder/<stem>.png` and `.svg`, and `captions.md`; return the paths.

    A stem is the plot's name, cut to what a file system takes, with a number where it is taken.
    All are drawn before the first is written, each whole. Files of an earlier report are replaced.
    """
    from edgekit.files import write_whole

    plots = list(_by_stem(plot for section in made for plot in section.plots))
    files: list[tuple[Path, bytes | str]] = []
    with drawing():
        for stem, plot in plots:
            for ending in ("png", "svg"):
                files.append((folder / f"{stem}.{ending}", picture(plot.figure, ending)))
    captions = [f"## {stem}\n\n{plot.title}. {plot.says}\n" for stem, plot in plots]
    files.append((folder / "captions.md", "\n".join(captions)))
    for path, content in files:
        write_whole(path, content)
    return [path for path, _ in files]


def _by_stem(plots: Iterable[Plot]) -> Iterator[tuple[str, Plot]]:
    """Yield each plot under a stem of its own: names of other scripts can become the same."""
    taken: set[str] = set()
    for plot in plots:
        stem = name = plot.name[:LONGEST]
        number = 1
        while stem in taken:
            number += 1
            stem = f"{name}-{number}"
        taken.add(stem)
        yield stem, plot


def _section(
    name: str, title: str, lead: str, plots: Iterator[Plot], notes: Sequence[str] = ()
) -> Section:
    """Return a section of the first plots: drawing is what a report's time goes into."""
    drawn = tuple(itertools.islice(plots, MOST))
    if next(plots, None) is not None:
        notes = (*notes, f"only the first {MOST} plots are drawn: the tables hold the others")
    return Section(name=name, title=title, lead=lead, plots=drawn, notes=tuple(notes))
