"""Options that a project sets once: `edgekit.toml`, or `[tool.edgekit]` in pyproject.toml.

    [bench]              # in pyproject.toml: [tool.edgekit.bench]
    rounds = 5
    results = "measured"

A table has a command's name, a key an option's without its dashes. What is typed counts more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer

from edgekit.errors import UserError
from edgekit.toml_files import read_toml

_REMEDY = "run the command with --help to see its options"

Table = dict[str, Any]


def default_map(own: Path, project: Path, group: Any, context: Any) -> Table:
    """Return what a file sets, `own` or else `project`, as click's `default_map`.

    `group` has the commands.
    Raises UserError with the file and the line for a command or an option that does not exist,
    with the nearest that does, and for a value that the option does not take.
    """
    file, inside = _file(own, project)
    if file is None:
        return {}
    shape = _shape("edgekit", group)
    for name in reversed(inside):
        shape = msgspec.defstruct(name, [(name, shape, msgspec.UNSET)])

    def prepare(table: Table) -> None:
        own: Table = table
        for name in inside:
            found = own.get(name)
            for other in [key for key in own if key != name]:
                del own[other]
            own = found if isinstance(found, dict) else {}
        _underscored(own)

    read = msgspec.to_builtins(
        read_toml(file, shape, error=UserError, remedy=_REMEDY, prepare=prepare)
    )
    for name in inside:
        read = read.get(name, {})
    return _checked(file, group, context, read)


def _file(own: Path, project: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the file that sets defaults, and the tables within it that are ours."""
    if own.is_file():
        return own, ()
    if project.is_file():
        try:
            text = project.read_text()
        except (OSError, UnicodeDecodeError):
            return None, ()
        # Another tool's file is not ours to complain of.
        if "tool.edgekit" in text:
            return project, ("tool", "edgekit")
    return None, ()


def _shape(name: str, group: Any) -> Any:
    """Return a struct with a field a command, each a struct with a field an option."""
    fields = []
    for word, command in group.commands.items():
        inner = (
            _shape(word, command)
            if hasattr(command, "commands")
            else msgspec.defstruct(
                word, [(key, Any, msgspec.UNSET) for key in _options(command)], omit_defaults=True
            )
        )
        fields.append((_key(word), inner, msgspec.UNSET))
    return msgspec.defstruct(name, fields, omit_defaults=True)


def _options(command: Any) -> dict[str, Any]:
    """Return a command's options by the key of each."""
    return {
        _key(word.removeprefix("--")): parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
        for word in parameter.opts
        if word.startswith("--")
    }


def _key(word: str) -> str:
    return word.replace("-", "_")


def _underscored(table: Table) -> None:
    """Let `max-p90` and `max_p90` be the same key, in place."""
    for key in list(table):
        value = table.pop(key)
        if isinstance(value, dict):
            _underscored(value)
        table[_key(key)] = value


def _checked(file: Path, group: Any, context: Any, given: Table) -> Table:
    """Return the table with the parameters' names for keys, every value tried on its option."""
    made: Table = {}
    for word, command in group.commands.items():
        table = given.get(_key(word))
        if not table:
            continue
        if hasattr(command, "commands"):
            made[word] = _checked(file, command, context, table)
            continue
        made[word] = {}
        known = _options(command)
        for key, value in table.items():
            if known[key].multiple and isinstance(value, str):
                value = [value]  # noqa: PLW2901  # one of several, as on the command line
            try:
                known[key].process_value(context, value)
            except (typer.BadParameter, TypeError, ValueError) as error:
                said = getattr(error, "message", str(error))
                dashed = key.replace("_", "-")
                raise UserError(f"{file}: {word}, {dashed} = {value!r}: {said}") from None
            made[word][known[key].name] = value
    return made
