"""A table as markdown, CSV, JSON or LaTeX: one short function each, the same text every time.

CSV and JSON, which programs read, keep every digit. Markdown and LaTeX, which people read, show
four significant digits of a fraction and thousands separators in a count.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgekit.errors import UserError, did_you_mean
from edgekit.report.table import Cell, Table, shown_cell

_MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in "\\`*{}[]<>|#~&$!"})
_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "{}$&#%_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    # In braces, because a row that began with one would be read as an argument of the \\ before.
    | {"[": "{[}", "]": "{]}", "*": "{*}"}
    # Not in pdflatex's own encodings.
    | {
        "≈": r"$\approx$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "→": r"$\to$",
        "−": "$-$",
        "√": r"$\surd$",
    }
)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def markdown(table: Table) -> str:
    """Return a GitHub-flavoured markdown table under its title, its notes as a list."""
    rules = ("---:" if table.is_numeric(column) else "---" for column in table.columns)
    lines = [
        f"## {_markdown_text(table.title)}",
        "",
        _piped(_markdown_text(column) for column in table.columns),
        _piped(rules),
        *(_piped(_markdown_text(shown_cell(cell)) for cell in row.values()) for row in table.rows),
        "",
        *(f"- {_markdown_text(note)}" for note in table.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def csv_text(table: Table) -> str:
    """Return RFC 4180 rows under a header, without title and notes; no number is an empty cell.

    Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV
    Injection").
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_inert(column) for column in table.columns)
    writer.writerows([_inert(cell) for cell in row.values()] for row in table.rows)
    return text.getvalue()


def json_text(table: Table) -> str:
    """Return title, columns, rows (one object each, keyed by column) and notes as JSON."""
    content = {
        "title": table.title,
        "columns": table.columns,
        "rows": [dict(row) for row in table.rows],
        "notes": table.notes,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def latex(table: Table) -> str:
    """Return a `table*` as wide as the text, notes below; needs booktabs and graphicx."""
    align = "".join("r" if table.is_numeric(column) else "l" for column in table.columns)
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize",
        rf"\caption{{{_latex_text(table.title)}}}",
        rf"\resizebox{{\textwidth}}{{!}}{{\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _latex_row(table.columns),
        r"\midrule",
        *(_latex_row(shown_cell(cell) for cell in row.values()) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\raggedright {_latex_text(note)}" for note in table.notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


class Told(Protocol):
    """A summary: a title, and lines of text."""

    @property
    def title(self) -> str:
        """What it is about."""
        ...

    @property
    def lines(self) -> tuple[str, ...]:
        """What is to be said."""
        ...


def markdown_summary(summary: Sequence[Told]) -> str:
    """Return the summary as Markdown: a heading and a list for each."""
    lines = []
    for item in summary:
        lines += [f"## {_markdown_text(item.title)}", ""]
        lines += [f"- {_markdown_text(line)}" for line in item.lines] + [""]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of tables: its files' ending, what writes one, and who reads it."""

    suffix: str
    render: Callable[[Table], str]
    for_people: bool


FORMATS: dict[str, Format] = {
    "markdown": Format(".md", markdown, True),
    "csv": Format(".csv", csv_text, False),
    "json": Format(".json", json_text, False),
    "latex": Format(".tex", latex, True),
}


def format_named(name: str) -> Format:
    """Return a format by its name. Raises UserError with the nearest names."""
    if name not in FORMATS:
        raise UserError(did_you_mean("format", name, list(FORMATS)))
    return FORMATS[name]


def _one_line(text: str) -> str:
    """Return text without line breaks and without characters that cannot be printed."""
    return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))


def _markdown_text(text: str) -> str:
    # An underscore within a word is plain text in GitHub's markdown, and column names are full
    # of them; at a word's edge it starts emphasis.
    plain = _one_line(text).translate(_MARKDOWN)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _inert(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _latex_text(text: str) -> str:
    return _one_line(text).translate(_LATEX)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(_latex_text(cell) for cell in cells) + r" \\"
