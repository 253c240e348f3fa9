"""Prints rows as a table for people or as JSON for programs, with the same names in both."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.progress import Say

Rows = Sequence[dict[str, Any]]


def show(
    title: str,
    rows: Rows,
    *,
    as_json: bool,
    notes: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> None:
    """Print `rows`; `notes` go under the table, or into the JSON's `notes`.

    `columns` are those a person is shown, where all would be too many; JSON holds them all.
    Colour and width follow the terminal: none when piped.
    """
    if as_json:
        print(json.dumps({"title": title, "rows": list(rows), "notes": list(notes)}, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown = list(columns or column_names(rows))
    for name in shown:
        right = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in shown))
    console.print(table)
    for note in notes:
        console.print(Text(f"  {note}"))


def command_line() -> str:
    """Return the command as it was typed, for the records that it makes."""
    return shlex.join(["edgekit", *sys.argv[1:]])


def column_names(rows: Rows) -> list[str]:
    """Return the keys of all rows, in order: models with other outputs have other columns."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


@contextmanager
def progress(quiet: bool) -> Iterator[Say]:
    """Yield a function (step, text) that keeps one line a step up to date on standard error."""
    if quiet:
        from edgekit.progress import silent

        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step, text: console.print(f"{step}: {text}", markup=False, highlight=False)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.fields[step]:<9}", markup=False),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def say(step: str, text: str) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(text, total=1, step=step)
            bars.update(tasks[step], description=text, completed=int(text == "done"))

        yield say
