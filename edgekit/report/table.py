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

    def is_numeric(self, column: str) -> bool:
        """Tell whether a column holds numbers and nothing else, so that it is set flush right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(
            isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells
        )
