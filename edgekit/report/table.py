"""A table: what every builder returns and every format takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Cell = str | int | float | bool | None
"""None is 'we have no such number': an empty cell, or null in JSON."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns, and the notes that must stand beside the numbers.

    `name` is the stem of the table's files. Every row has exactly the keys `columns`, in that
    order. `sources` has, for each row, the `results.record_key` it was made from, None for a row
    without a record of ours; empty where no row has one. Raises ValueError for a row or source
    that does not fit, which is a builder's mistake.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()
    sources: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if tuple(row) != self.columns:
                raise ValueError(f"a row of '{self.title}' has {tuple(row)}, not {self.columns}")
        if self.sources and len(self.sources) != len(self.rows):
            raise ValueError(f"'{self.title}': {len(self.sources)} sources, {len(self.rows)} rows")

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it: title, rows and notes, everything escaped."""
        from html import escape

        align = {c: " style='text-align:right'" if self.is_numeric(c) else "" for c in self.columns}
        head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in self.columns)
        body = "".join(
            "<tr>"
            + "".join(f"<td{align[c]}>{escape(shown_cell(value))}</td>" for c, value in row.items())
            + "</tr>"
            for row in self.rows
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}"
        )

    def is_numeric(self, column: str) -> bool:
        """Tell whether a column holds numbers and nothing else, so that it is set flush right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(
            isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells
        )


def shown_cell(cell: Cell) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return cell
