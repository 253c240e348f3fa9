"""The one way to read a TOML file: strict about its fields, quick to refuse what no person writes.

Specs, calibration recipes, targets, inventories and our own tables are read here, into
dataclasses. A field that the dataclass lacks is refused with the nearest one that it has.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edgekit.errors import UserError, did_you_mean, first_line

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
"""Brackets inside each other, and parts of a dotted key. Our own files need 4."""
MAX_DIGITS = 100
MAX_ENTRIES = 50_000
"""Keys, and values of arrays. The longest of our own files has under 1,000."""

_LONGEST = 400
_ANY = "..."
"""What msgspec says for a key of a table that may have any."""

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Where a value stands: keys, and the numbers of an array's members from 0."""
Places = Callable[[Place], Place]
"""From a place in a dataclass to the one that a person writes; () for what nobody writes."""


class Misplaced(Exception):
    """What `prepare` cannot take: where it stands in the file, and a line with its remedy."""

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(problem)
        self.place = place


# Every text matches, in linear time: a string that is never closed ends with the text.
_TOKEN = re.compile(
    r"""
    (?P<long> \"{3} (?:[^\\]|\\.)*? (?:\"{3,5}|\\?\Z) | '{3} .*? (?:'{3,5}|\Z) )
  | (?P<string> \"(?:[^"\\\n]|\\.)*\"? | '[^'\n]*'? )
  | (?P<comment> \#[^\n]* (?:\n[ \t\n]*\#[^\n]*)* )
  | (?P<bare> [A-Za-z0-9_+-]+ )
  | (?P<blank> [ \t]+ )
  | (?P<lines> \n[ \t\n]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_OF_KEYS = {"bare", "string"}
_KEY_PART = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+""")
_KEYS = re.compile(rf"\s*(?:{_KEY_PART.pattern})(?:\s*\.\s*(?:{_KEY_PART.pattern}))*\s*")


def read_toml(
    path: Path,
    shape: type[T],
    *,
    error: type[UserError],
    remedy: str,
    given: Mapping[str, Any] | None = None,
    prepare: Callable[[dict[str, Any]], Places | None] | None = None,
) -> T:
    """Return the file's content as `shape`, a dataclass or a dict of such.

    `given` are fields that do not come from the file, and must not be in it. `prepare` may change
    the table, of which nothing is checked yet, from how people write it to `shape`; it then returns
    where its places stand in the file, so that a message names what the person wrote. It raises
    Misplaced for what it cannot change.

    Raises `error` in one line, with the file, the line where it can be told, what is wrong and then
    `remedy`, for a file that cannot be read, is no TOML, has an unknown field or a wrong value, or
    is larger or nested deeper than any that a person writes (the limits above). What `prepare` and
    a dataclass themselves refuse comes without `remedy`: they say what they need.
    """
    try:
        text = _text(path)
        _refuse_absurd(text)
        table = tomllib.loads(text)
        try:
            in_file = (prepare(table) if prepare else None) or _as_it_is
        except Misplaced as wrong:
            where = _place_in(path, _line(text, wrong.place))
            raise error(f"{where}: {_printable(str(wrong))}") from None
        kind = inspect.type_info(shape)
        for place, problem in _unknown(table, kind, frozenset(given or ()), in_file):
            raise _Wrong(problem, _line(text, in_file(place) or place))
        try:
            return msgspec.convert({**table, **(given or {})}, shape)
        except msgspec.ValidationError as invalid:
            said, place = _said(str(invalid))
            place_in_file = in_file(place)
            line = _line(text, place_in_file)
            problem = _plain(said, place_in_file)
            if isinstance(invalid.__cause__, ValueError):  # our own words, which say what to give
                where = _place_in(path, line)
                raise error(f"{where}: {_printable(str(invalid.__cause__))}") from None
            if wrong_word := re.fullmatch(r"Invalid enum value '(.*)'", said):
                choices = _choices(kind, place)
                problem = did_you_mean(_written(place_in_file), wrong_word[1], choices)
            raise _Wrong(problem, line) from None
    except _Wrong as wrong:
        where = _place_in(path, wrong.line)
        raise error(f"{where}: {_printable(str(wrong))}; {remedy}") from None
    except OSError as unread:
        raise error(f"{path} cannot be read ({unread.strerror}): {remedy}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as bad:
        raise error(f"{path}: not valid TOML: {first_line(bad)}; {remedy}") from None


def _place_in(path: Path, line: int) -> str:
    """Return a file and the line in it; the file alone where the line cannot be told."""
    return f"{path}, line {line}" if line else str(path)


class _Wrong(Exception):
    """What is wrong with a file's content, and on which line; 0: it cannot be told."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


def _printable(problem: str) -> str:
    """Return a problem in one line of bearable length: it quotes keys and values of the file."""
    clean = "".join(letter if letter.isprintable() else " " for letter in problem)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _Wrong(f"it is larger than {MAX_BYTES:,} bytes", 0)
    return content.decode("utf-8-sig").replace("\r\n", "\n")


def _refuse_absurd(text: str) -> None:
    """Raise _Wrong for what would keep the parser busy for minutes or exhaust its stack."""
    depth = dots = entries = 0
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        if kind == "blank":
            continue
        if kind == "bare" and len(word) > MAX_DIGITS and word.lstrip("+-")[:1].isdigit():
            problem = f"a number has {len(word):,} digits, more than {MAX_DIGITS}"
        elif dots > MAX_DEPTH:
            problem = f"a key has more than {MAX_DEPTH} parts"
        elif depth > MAX_DEPTH:
            problem = f"it is nested deeper than {MAX_DEPTH} brackets"
        elif entries > MAX_ENTRIES:
            problem = f"it has more than {MAX_ENTRIES:,} keys and values"
        else:
            depth += (word in "[{") - (word in "]}") if kind == "other" else 0
            dots = dots + (word == ".") if kind in _OF_KEYS or word == "." else 0
            entries += word in "=,[" if kind == "other" else 0
            continue
        raise _Wrong(problem, text.count("\n", 0, token.start()) + 1)


def _as_it_is(place: Place) -> Place:
    return place


def _unknown(
    value: Any, kind: inspect.Type, given: frozenset[str], in_file: Places, place: Place = ()
) -> Iterator[tuple[Place, str]]:
    """Yield where a key is that `kind` has no field for, and a line about it."""
    kind = _given(kind)
    if isinstance(value, list):
        members = _members(kind, len(value))
        for index, (item, member) in enumerate(zip(value, members, strict=False)):
            yield from _unknown(item, member, frozenset(), in_file, (*place, index))
    elif isinstance(value, dict) and isinstance(kind, inspect.DictType):
        for key, item in value.items():
            yield from _unknown(item, kind.value_type, frozenset(), in_file, (*place, key))
    elif isinstance(value, dict) and isinstance(kind, inspect.DataclassType | inspect.StructType):
        fields = {field.name: field.type for field in kind.fields if field.name not in given}
        for key, item in value.items():
            here = (*place, key)
            if key in given:
                yield here, f"field '{_written(here)}' does not belong in the file"
            elif key not in fields:
                within = _written((*in_file(place), ""))
                inside = [in_file((*place, field)) for field in fields]
                known = [str(written[len(in_file(place))]) for written in inside if written]
                yield here, did_you_mean("field", key, list(dict.fromkeys(known)), within)
            else:
                yield from _unknown(item, fields[key], frozenset(), in_file, here)


def _choices(kind: inspect.Type, place: Place) -> list[str]:
    """Return the words that may stand at a place."""
    kind = _given(kind)
    if isinstance(kind, inspect.LiteralType):
        return [str(value) for value in kind.values]
    if not place:
        return []
    first, *rest = place
    if isinstance(first, int):
        members = _members(kind, first + 1)
        return _choices(members[first], tuple(rest)) if members else []
    if isinstance(kind, inspect.DictType):
        return _choices(kind.value_type, tuple(rest))
    if isinstance(kind, inspect.DataclassType | inspect.StructType):
        (inner,) = (field.type for field in kind.fields if field.name == first)
        return _choices(inner, tuple(rest))
    return []


def _given(kind: inspect.Type) -> inspect.Type:
    """Return what a field that may be left out is where it is given."""
    if isinstance(kind, inspect.UnionType):
        return next(member for member in kind.types if not isinstance(member, inspect.NoneType))
    return kind


def _members(kind: inspect.Type, count: int) -> list[inspect.Type]:
    """Return the types of an array's members, none where it may hold anything."""
    if isinstance(kind, inspect.TupleType):
        return list(kind.item_types)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.CollectionType):
        return [kind.item_type] * count
    return []


def _written(place: Place) -> str:
    """Return a place as in `outputs[0].kind`."""
    text = "".join(f"[{p}]" if isinstance(p, int) or p == _ANY else f".{p}" for p in place)
    return text.removeprefix(".")


def _said(message: str) -> tuple[str, Place]:
    """Return what msgspec says is wrong, in one line, and the place of it."""
    said, _, path = " ".join(message.split()).partition(" - at `$")
    keys = re.findall(r"\[(\d+)\]|(\.\.\.|[^.\[\]]+)", path.rstrip("`"))
    return said, tuple(int(index) if index else key for index, key in keys)


def _plain(said: str, place: Place) -> str:
    """Return what msgspec says, with the field as in the file."""
    if missing := re.fullmatch(r"Object missing required field `(.*)`", said):
        return f"field '{_written((*place, missing[1]))}' is missing"
    return f"{said} at field '{_written(place)}'" if place else said


def _line(text: str, place: Place) -> int:
    """Return the number of the line that a place, or the closest thing around it, begins on.

    0 where none of it is found: a place inside an inline table is on the line of its key.
    """
    found, best = 0, 0
    for number, keys in _keys(text):
        both = min(len(keys), len(place))
        if both > best and keys[:both] == place[:both]:
            found, best = number, both
    return found


def _keys(text: str) -> Iterator[tuple[int, Place]]:
    """Yield the line and the place of every table and key that begins a line."""
    header: Place = ()
    arrays: dict[Place, int] = {}
    for number, line in enumerate(_without_text(text).split("\n"), 1):
        stripped = line.strip()
        if not stripped:
            continue
        opened = re.match(r"\[{1,2}", stripped)
        keys = _KEYS.match(stripped, opened.end() if opened else 0)
        if keys is None:
            continue
        parts = tuple(map(_key, _KEY_PART.findall(keys[0])))
        after = stripped[keys.end() :]
        if opened and after.rstrip() == "]" * opened.end():
            if opened.end() == 2:
                arrays[parts] = arrays.get(parts, -1) + 1
            header = _indexed(parts, arrays)
            yield number, header
        elif not opened and after.startswith("="):
            yield number, (*header, *parts)


def _key(part: str) -> str:
    """Return a part of a dotted key without its quotes."""
    if "\\" not in part:
        return part.strip("\"'")
    try:
        return next(iter(tomllib.loads(f"{part} = 0")))
    except tomllib.TOMLDecodeError:  # no key after all: a line inside an array
        return part


def _indexed(parts: tuple[str, ...], arrays: Mapping[Place, int]) -> Place:
    """Return the place of a table: after the name of an array stands which member it is in."""
    place: list[str | int] = []
    for count, part in enumerate(parts, 1):
        place.append(part)
        if parts[:count] in arrays:
            place.append(arrays[parts[:count]])
    return tuple(place)


def _without_text(text: str) -> str:
    """Return the text with its long strings and comments blank, line for line."""

    def blank(token: re.Match[str]) -> str:
        hidden = token.lastgroup in {"long", "comment"}
        return re.sub(r"[^\n]", " ", token[0]) if hidden else token[0]

    return _TOKEN.sub(blank, text)
