"""Prints rows as a table for people or as JSON for programs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekit.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.progress import Say

Rows = Sequence[dict[str, Any]]


PIPED_WIDTH = 100
"""Columns of a table that goes to a file or a pipe, unless COLUMNS says otherwise."""
_LEAST_WIDTH = 40


def typed(path: object) -> str:
    """Return a path as it is typed on a command line: in quotes where it has spaces."""
    import shlex

    return shlex.quote(str(path))


def show(
    title: str,
    rows: Rows,
    *,
    as_json: bool,
    notes: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    short: Rows | Mapping[str, Rows] | None = None,
    wide: bool = False,
    then: str = "",
) -> None:
    """Print `rows`; `notes` go under the table, or into the JSON's `notes`.

    A person sees `short`, rows written for people (where there are several groups of them, each
    under its name), or else those of the `columns`; `wide` and JSON have all of `rows`. The table
    fits the terminal, and is PIPED_WIDTH wide in a pipe; there a wide one has a line a row,
    whatever its width. `then` is the command to run next, in the last line. Colour is for
    terminals alone.
    """
    if as_json:
        print(json.dumps({"title": title, "rows": list(rows), "notes": list(notes)}, indent=1))
        return
    from rich.console import Console
    from rich.text import Text

    from edgekit.cli.layout import table_lines, wrapped

    console = Console()
    width = _width(console)
    chosen = rows if wide or short is None else short
    groups = chosen if isinstance(chosen, Mapping) else {"": chosen}
    for line in wrapped(printable(title), width, ""):
        console.print(Text(line, style="bold"), soft_wrap=True)
    console.print()
    for group, table in groups.items():
        shown = columns if columns and short is None and not wide else column_names(table)
        texts = [{name: printable(cell(row.get(name))) for name in shown} for row in table]
        if len(groups) > 1:
            for line in wrapped(printable(group), width):
                console.print(Text(line, style="bold"), soft_wrap=True)
        for item in table_lines(shown, texts, None if wide and not console.is_terminal else width):
            console.print(Text(item.text, style="bold" if item.heading else ""), soft_wrap=True)
        if texts:
            console.print()
    for note in [*notes, *([f"next: {then}"] if then else [])]:
        for line in wrapped(printable(" ".join(note.split())), width):
            console.print(Text(line), soft_wrap=True)
    if notes or then:
        console.print()


def tell(*lines: str, errors: bool = False) -> None:
    """Print lines at once, their control characters written out; `errors`: on standard error."""
    for line in lines:
        print(printable(line), file=sys.stderr if errors else sys.stdout, flush=True)


def grouped(rows: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return rows by the group that stands beside each, in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for group, row in rows:
        groups.setdefault(group, []).append(row)
    return groups


def _width(console: Console) -> int:
    """Return the terminal's columns; of a pipe those that COLUMNS says, or PIPED_WIDTH."""
    if console.is_terminal:
        return max(console.width, _LEAST_WIDTH)
    said = os.environ.get("COLUMNS", "")
    return max(int(said), _LEAST_WIDTH) if said.isdigit() else PIPED_WIDTH


def command_line() -> str:
    """Return the command for the records that it makes: as typed, and what a file set besides."""
    return shlex.join(["edgekit", *sys.argv[1:], *_set_by_file()])


def _set_by_file() -> list[str]:
    """Return the options that edgekit.toml or pyproject.toml set, as they would be typed."""
    from importlib import import_module

    import typer

    # Typer brings its own click from 0.20 on; before that it is the package of that name.
    click = typer.Context.__mro__[1].__module__.rpartition(".")[0]
    context = import_module(f"{click}.globals").get_current_context(silent=True)
    words: list[str] = []
    for parameter in context.command.params if context else ():
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "DEFAULT_MAP":
            continue
        value = context.params[name]
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None and item is not False:
                words += [parameter.opts[0], *([] if item is True else [str(item)])]
    return words


def column_names(rows: Rows) -> list[str]:
    """Return the keys of all rows, in order: models with other outputs have other columns."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: object) -> str:
    """Return one value as a person reads it; a dash where there is none."""
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
    from edgekit.run_log import note

    if quiet:
        yield lambda step, text: note(f"{step}: {text}")
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:

        def tell(step: str, text: str) -> None:
            note(f"{step}: {text}")
            console.print(printable(f"{step}: {text}"), markup=False, highlight=False)

        yield tell
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
            note(f"{step}: {text}")
            if step not in tasks:
                tasks[step] = bars.add_task("", total=1, step=printable(step))
            shown = printable(" ".join(text.split()))
            bars.update(tasks[step], description=shown, completed=int(text == "done"))

        yield say
