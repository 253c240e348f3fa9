"""Lays a table out as lines of text that fit a terminal.

Text wraps at words. A number with its unit and interval, a name and a host are never cut or split.
Where the columns do not fit side by side, every row becomes a block of `heading  value` lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.report.cells import NONE

INDENT = "  "
_GAP = 2
_NARROWEST = 14
"""Letters that a column of text keeps, if it has them: narrower ones are hard to read."""
_UNIT = r"(?: (?:[kMG]?B|ms|s|%)(?!\w))?"
_TOKEN = re.compile(rf"[-+~]?\d\S*{_UNIT}(?: \[[^\]]*\])?(?:[,;.](?=\s|$))?|\S+")
_NUMBER = re.compile(rf"[-+~]?[\d.,]+(?:e[-+]?\d+)?x?{_UNIT}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line to print; a heading is set off where the terminal can."""

    text: str
    heading: bool = False


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cells: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether it holds numbers and nothing else, so that they stand flush right."""
        known = [cell for cell in self.cells if cell != NONE]
        return bool(known) and all(_NUMBER.fullmatch(cell) for cell in known)

    @property
    def natural(self) -> int:
        return max(_width(text) for text in (self.name, *self.cells))

    @property
    def with_heading_wrapped(self) -> int:
        return max(_longest_token(self.name), *map(_width, self.cells), 0)

    @property
    def least(self) -> int:
        tokens = max(map(_longest_token, (self.name, *self.cells)))
        return max(tokens, min(self.with_heading_wrapped, _NARROWEST))


def table_lines(
    names: Sequence[str], rows: Sequence[Mapping[str, str]], width: int | None
) -> list[Line]:
    """Return the lines of a table; `width` in columns, None for a line a row at any width."""
    if not rows or not names:
        return []
    columns = [_Column(name, tuple(row.get(name, NONE) for row in rows)) for name in names]
    indent = INDENT
    widths = _fit(columns, None if width is None else width - len(INDENT))
    if widths is None:
        indent = ""
        widths = _fit(columns, width)
    if widths is None:
        return _blocks(columns, width or 0)
    rights = [column.right for column in columns]
    lines = [Line(indent + text, heading=True) for text in _row(names, widths, rights)]
    for cells in zip(*(column.cells for column in columns), strict=True):
        lines += [Line(indent + text) for text in _row(cells, widths, rights)]
    return lines


def wrapped(text: str, width: int, indent: str = INDENT) -> list[str]:
    """Return `text` in lines of at most `width` columns, cut at words, each after `indent`."""
    return [indent + line for line in _wrap(text, width - len(indent))]


def _fit(columns: Sequence[_Column], room: int | None) -> list[int] | None:
    """Return the columns' widths, None where they do not fit. Headings wrap before cells do."""
    widths = [column.natural for column in columns]
    if room is None:
        return widths
    room -= _GAP * (len(columns) - 1)
    if sum(column.least for column in columns) > room:
        return None
    for least in (
        [column.with_heading_wrapped for column in columns],
        [column.least for column in columns],
    ):
        while sum(widths) > room:
            wide = [place for place, width in enumerate(widths) if width > least[place]]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    wrapped_cells = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(map(len, wrapped_cells))):
        parts = []
        for cell, width, right in zip(wrapped_cells, widths, rights, strict=True):
            text = cell[number] if number < len(cell) else ""
            space = " " * (width - _width(text))
            parts.append(space + text if right else text + space)
        lines.append((" " * _GAP).join(parts).rstrip())
    return lines


def _blocks(columns: Sequence[_Column], width: int) -> list[Line]:
    """Return each row as its first cell and, below it, a line for every other that is known."""
    first, others = columns[0], columns[1:]
    stem = max((_width(column.name) for column in others), default=0)
    lines = []
    for place, title in enumerate(first.cells):
        lines += [Line(text, heading=True) for text in wrapped(title, width)]
        for column in others:
            if (cell := column.cells[place]) == NONE:
                continue
            label = INDENT * 2 + column.name + " " * (stem - _width(column.name) + _GAP)
            if _width(label) + _longest_token(cell) > width:  # below its name there is more room
                lines.append(Line(label.rstrip()))
                label = INDENT * 3
                lines += map(Line, wrapped(cell, width, label))
                continue
            body = _wrap(cell, width - _width(label))
            lines += [
                Line((label if not number else " " * _width(label)) + text)
                for number, text in enumerate(body)
            ]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    """Return the lines of `text`; a word longer than `width` stands whole on a line of its own."""
    if _width(text) <= width:
        return [text]
    lines: list[str] = []
    for token in _TOKEN.findall(text):
        if lines and _width(lines[-1]) + 1 + _width(token) <= width:
            lines[-1] += f" {token}"
        else:
            lines.append(token)
    return lines or [""]


def _longest_token(text: str) -> int:
    return max(map(_width, _TOKEN.findall(text)), default=0)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
