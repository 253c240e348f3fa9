"""The class names of a YOLO `data.yaml`: its `names`, a list, or a mapping from 0 on.

Only that entry is read, in the forms that tools write it; YAML at large would be a dependency.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgekit.errors import BadData

_START = re.compile(r"names\s*:(?P<rest>.*)$")
_ITEM = re.compile(
    r"""\s*(?:(?P<index>\d+|"\d+"|'\d+')\s*:\s+)?"""
    r"""(?:"(?P<double>(?:[^"\\]|\\["\\])*)"|'(?P<single>(?:[^']|'')*)'"""
    r"""|(?P<bare>[^"'\[\]{},#&*!|>%@`\s](?:(?!:\s)[^,\[\]{}])*))\s*"""
)
REMEDY = "write names: [first, second] in it, or a classes.txt with one name a line"


def names_in(text: str, file: str) -> list[str] | None:
    """Return the names in a data.yaml, None where it has no `names`.

    Raises BadData for names that are no list and no mapping from 0 on.
    """
    lines = [_cut(line, "#")[0].rstrip() for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if _START.match(line)]
    if not starts:
        return None
    first = starts[0]
    rest = lines[first].partition(":")[2].strip()
    after = lines[first + 1 :]
    items = _in_brackets([rest, *after], file) if rest else _in_lines(after)
    found = [_ITEM.fullmatch(item) for item in items]
    if not found or not all(found):
        bad = items[[*map(bool, found)].index(False)] if found else ""
        raise BadData(f"{file}, line {first + 1}: names holds no names ('{bad[:60]}'): {REMEDY}")
    return _ordered([match for match in found if match], file)


def _cut(text: str, mark: str) -> list[str]:
    """Return the parts of a line between marks that stand in no quotes.

    A quote opens where a value begins, so that driver's is a word; a # begins a comment after a
    space, or first.
    """
    parts, quote, before, skip = [""], "", ":", False
    for at, letter in enumerate(text):
        if skip:
            skip = False
        elif quote == '"' and letter == "\\":
            skip = True
        elif quote and letter == quote:
            skip = quote == "'" and text[at + 1 : at + 2] == "'"
            quote = quote if skip else ""
        elif not quote and letter in "\"'" and before in ":,[{-":
            quote = letter
        elif not quote and letter == mark and (mark != "#" or at == 0 or text[at - 1].isspace()):
            parts.append("")
            before = letter
            continue
        parts[-1] += letter
        before = before if letter.isspace() else letter
    return parts


def _in_brackets(lines: Sequence[str], file: str) -> list[str]:
    """Return what stands between the brackets that the first line opens, cut at the commas."""
    ends = {"[": "]", "{": "}"}
    closing = ends.get(lines[0][0])
    taken: list[str] = []
    for line in lines if closing else ():
        taken.append(line.strip())
        if line.strip().endswith(str(closing)):
            items = _cut(" ".join(taken)[1:-1], ",")
            return [item.strip() for item in items if item.strip()]
    raise BadData(f"{file}: names is no list and no mapping ('{lines[0][:60]}'): {REMEDY}")


def _in_lines(lines: Sequence[str]) -> list[str]:
    """Return the items of a list or mapping of a line each, until the next entry."""
    items: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        item = line.strip()
        if item.startswith("- "):
            items.append(item[2:])
        elif line[0].isspace():
            items.append(item)
        else:
            break
    return items


def _ordered(items: Sequence[re.Match[str]], file: str) -> list[str]:
    """Return the names in the order of their indices, or as they stand where they have none."""
    names = []
    for item in items:
        double, single, bare = item["double"], item["single"], item["bare"]
        if double is not None:
            names.append(re.sub(r"\\(.)", r"\1", double))
        else:
            names.append(single.replace("''", "'") if single is not None else bare.strip())
    given = [item["index"] for item in items]
    if not any(given):
        return names
    indices = [int(index.strip("\"'")) if index else -1 for index in given]
    if sorted(indices) != list(range(len(names))):
        raise BadData(f"{file}: names counts {', '.join(map(str, indices[:8]))}, not from 0 on")
    return [names[indices.index(place)] for place in range(len(names))]
