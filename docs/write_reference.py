"""Writes docs/reference/ from the code: every command from Typer, every public name of edgekit.

Run it after a change of a command or of the API: `python docs/write_reference.py`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from rich.text import Text

import edgekit
from edgekit.cli import EXIT_CODES, app

REFERENCE = Path(__file__).parent / "reference"
WRITTEN = "<!-- Written by docs/write_reference.py: change the code, not this page. -->"


def pages() -> dict[str, str]:
    """Return the text of every page by its file's name."""
    return {"cli.md": cli_page(), "api.md": api_page()}


def cli_page() -> str:
    """Return one section a command: what it does, its example, its arguments and options."""
    lines = [WRITTEN, "# Commands", "", EXIT_CODES, ""]
    lines += ["`edgekit --install-completion` teaches your shell to complete them.", ""]
    for name, command in commands(typer.main.get_command(app), "edgekit"):
        lines += [f"## {name}", ""]
        for line in (command.help or "").splitlines():
            example = line.strip().removeprefix("Example: ")
            is_example = line.strip().startswith("Example: ")
            lines.append(f"    {example}" if is_example else line)
        lines += ["", "| argument or option | default | is |", "|---|---|---|"]
        lines += [row for parameter in command.params if (row := option_row(parameter))]
        lines.append("")
    return "\n".join(lines)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its whole name."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from commands(inner, f"{path} {name}")
        else:
            yield f"{path} {name}", inner


def option_row(parameter: Any) -> str:
    """Return a parameter as a line of the table; empty for --help."""
    if parameter.name == "help":
        return ""
    argument = parameter.param_type_name == "argument"
    name = (parameter.name or "").upper() if argument else ", ".join(parameter.opts)
    default = parameter.default
    shown = "" if default in (None, False, (), "") or callable(default) else f"`{default}`"
    needed = "required" if parameter.required else shown
    return f"| `{name}` | {needed} | {cell(plain(parameter.help or ''))} |"


def plain(text: str) -> str:
    """Return help as a terminal shows it: its marks are Rich's, and a bracket has a backslash."""
    return Text.from_markup(text).plain


def api_page() -> str:
    """Return one section a public name: a function's signature or a type's fields, and its text."""
    lines = [WRITTEN, "# Python", "", inspect.cleandoc(edgekit.__doc__ or ""), ""]
    lines += [
        "`Place` is a string or a `Path`; `Say` a function of (what, what happens to it).",
        "",
    ]
    things = [(name, getattr(edgekit, name)) for name in edgekit.__all__ if name[0] != "_"]
    lines += ["## Functions", ""]
    for name, thing in things:
        if inspect.isfunction(thing):
            lines += [
                f"### {name}",
                "",
                *signature(name, thing),
                "",
                inspect.getdoc(thing) or "",
                "",
            ]
    lines += ["## Types", ""]
    for name, thing in things:
        if inspect.isclass(thing):
            lines += [f"### {name}", "", inspect.getdoc(thing) or "", "", *fields(thing)]
    return "\n".join(lines).rstrip("\n") + "\n"


def signature(name: str, function: Any) -> list[str]:
    """Return a function's signature as an indented block, one parameter a line."""
    found = inspect.signature(function)
    lines, keywords = [f"    edgekit.{name}("], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            lines.append("        *,")
            keywords = True
        default = parameter.default
        shown = "" if default is parameter.empty else f" = {default_text(default)}"
        lines.append(f"        {parameter.name}: {parameter.annotation}{shown},")
    return [*lines, f"    ) -> {found.return_annotation}"]


def default_text(value: object) -> str:
    """Return a default as a reader would write it."""
    if isinstance(value, Path):
        return repr(str(value))
    return "no progress" if callable(value) else repr(value)


def fields(kind: Any) -> list[str]:
    """Return a dataclass's fields and properties as a table; nothing for another class."""
    if not dataclasses.is_dataclass(kind):
        return []
    lines = ["| field | type |", "|---|---|"]
    lines += [f"| `{item.name}` | `{cell(str(item.type))}` |" for item in dataclasses.fields(kind)]
    for name, member in vars(kind).items():
        if isinstance(member, property):
            lines.append(f"| `{name}` | {cell((inspect.getdoc(member) or '').split('.')[0])} |")
    return [*lines, ""]


def cell(text: str) -> str:
    """Return text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
