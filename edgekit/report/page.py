"""The report as one HTML file: tables, plots and every record behind them; it fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingPackage
from edgekit.paths import RESULTS
from edgekit.progress import Say, silent
from edgekit.report.columns import SHOWN
from edgekit.report.formats import Told
from edgekit.report.record_details import Details, details
from edgekit.report.records import Saved
from edgekit.report.table import Cell, Table, shown_cell
from edgekit.report.theme import DARK, LIGHT

if TYPE_CHECKING:
    from edgekit.report.plots import Section

_TEMPLATES = Path(__file__).parent / "templates"
_OWN = frozenset({"artifacts"})
"""Long tables that are there without the seed paper's."""
_FOLDED = frozenset({"trace", "confusion"})
"""Kinds of plots that are asked for after a doubt, not before: the page opens them on a click."""
_MOST = 4
"""Short tables that are open; of more the page opens the rest on a click."""
_PROVENANCE = frozenset({"provenance"})
WORDS = {
    "measured": "on that device, in real time; every sample is saved",
    "emulated": "real ARM binaries on an emulated CPU: outputs and counts are exact, there is no "
    "time",
    "predicted": "by a model of the board, with an interval; nobody measured it",
    "published": "somebody else's number, with its source",
}
"""What stands behind each kind of number."""


@dataclass(frozen=True, kw_only=True)
class ShownCell:
    """A cell as the page has it: `text` for people, `order` for sorting, empty where it is none."""

    text: str
    order: str
    column: str
    badge: str
    extra: bool


@dataclass(frozen=True)
class ShownColumn:
    """A column's head; `extra` ones are hidden until all are asked for."""

    name: str
    numeric: bool
    extra: bool


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table as the page has it: rows of cells, each with the details it links to, or None."""

    name: str
    title: str
    columns: tuple[ShownColumn, ...]
    rows: tuple[tuple[Details | None, tuple[ShownCell, ...]], ...]
    notes: tuple[str, ...]

    @property
    def has_extra(self) -> bool:
        """Whether there is more than what is shown at first."""
        return any(column.extra for column in self.columns)

    @property
    def linked(self) -> bool:
        """Whether some row has a record behind it."""
        return any(record is not None for record, _ in self.rows)


def html_page(
    saved: Saved,
    results: Path = RESULTS,
    made: tuple[Section, ...] | None = None,
    *,
    summary: Sequence[Told] = (),
    short: Sequence[Table] | None = None,
    full: Sequence[Table] | None = None,
    paper: bool = False,
    say: Say = silent,
) -> str:
    """Return the whole report as HTML, the summary first; equal records give equal text.

    `made` are the plots, `short` the tables that people read and `full` those with all columns,
    where they were made already; `paper` adds the seed paper's. `say` is called with each part
    that is begun.
    Raises MissingPackage without jinja2 or matplotlib.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingPackage("jinja2", "report") from None
    from edgekit.report import short_tables, tables_of
    from edgekit.report.plots import sections
    from edgekit.report.plots.canvas import drawing
    from edgekit.report.plots.inline import inline

    say("page", "reading the records")
    known = details(saved, results)
    drawn: list[dict[str, Any]] = []
    with drawing():
        for section in made if made is not None else sections(saved, say):
            say("page", f"adding {section.title.lower()}")
            plots = [
                {
                    "title": plot.title,
                    "says": plot.says,
                    "svg": inline(plot.figure, f"{section.name}{number}", plot.says, _tips(known)),
                    "table": shown_table(plot.data, known),
                }
                for number, plot in enumerate(section.plots)
            ]
            drawn.append({"section": section, "plots": plots})
    say("page", "writing the tables")
    script = (_TEMPLATES / "report.js").read_text()
    style = _colours() + (_TEMPLATES / "report.css").read_text()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(
        summary=summary,
        most=_MOST,
        short=[
            shown_table(table, known)
            for table in (short_tables(saved, paper=paper) if short is None else short)
        ],
        tables=[
            shown_table(table if paper else _own(table), known)
            for table in (tables_of(saved) if full is None else full)
            if table.rows and (paper or table.name in _OWN or any(table.sources))
        ],
        drawn=[item for item in drawn if item["section"].name not in _FOLDED],
        folded=[item for item in drawn if item["section"].name in _FOLDED],
        records=list(known.values()),
        words=WORDS,
        script=script,
        style=style,
        policy=f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}",
        counts=_counts(saved),
    )


def shown_table(table: Table, known: dict[str, Details]) -> ShownTable:
    """Return a table as the page has it; `known` are the details of all records."""
    first = SHOWN.get(table.name, table.columns)
    columns = tuple(
        ShownColumn(name, table.is_numeric(name), name not in first) for name in table.columns
    )
    sources = table.sources or (None,) * len(table.rows)
    rows = tuple(
        (known.get(source) if source else None, tuple(_cells(columns, row.values())))
        for source, row in zip(sources, table.rows, strict=True)
    )
    return ShownTable(
        name=table.name, title=table.title, columns=columns, rows=rows, notes=table.notes
    )


def _own(table: Table) -> Table:
    """Return a table without the rows that no record of the reader's is behind."""
    if not table.sources:
        return table
    kept = [place for place, source in enumerate(table.sources) if source is not None]
    return replace(
        table,
        rows=tuple(table.rows[place] for place in kept),
        sources=tuple(table.sources[place] for place in kept),
    )


def _cells(columns: Iterable[ShownColumn], values: Iterable[Cell]) -> Iterator[ShownCell]:
    for column, value in zip(columns, values, strict=True):
        badge = str(value) if column.name in _PROVENANCE and value in WORDS else ""
        order = "" if value is None else str(value)
        yield ShownCell(
            text=shown_cell(value), order=order, column=column.name, badge=badge, extra=column.extra
        )


def _tips(known: dict[str, Details]) -> dict[str, str]:
    return {key: f"{item.title}, {item.provenance}" for key, item in known.items()}


def _counts(saved: Saved) -> dict[str, Any]:
    return {
        "measured": len(saved.measurements),
        "judged": len(saved.accuracy),
        "emulated": len(saved.emulations),
        "predicted": len(saved.predictions),
        "chosen": len(saved.choices),
    }


def _colours() -> str:
    """Return the theme as CSS: its variables, and the classes that the plots are drawn with."""
    light = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    marks = "".join(
        f".fill-{name}{{fill:var(--{name})}}.stroke-{name}{{stroke:var(--{name})}}"
        for name in LIGHT
    )
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{marks}\n"
    )


def _digest(text: str) -> str:
    """Return a content policy's word for one inline style or script (CSP Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
