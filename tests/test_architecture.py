"""Who imports whom, read from the code and held to the table in ARCHITECTURE.md.

The table's rows stand in order: a room may import what stands below it, and only what its row
says. `python tests/test_architecture.py` prints the rows as the code has them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| `([\w/.]+)` \|.*\| ([^|]*) \|$", re.MULTILINE)

Rooms = dict[str, set[str]]
Modules = dict[str, set[str]]


def modules() -> Modules:
    """Return every module of edgekit with the modules of ours that it imports, anywhere in it."""
    files = {_name(path): path for path in (ROOT / "edgekit").rglob("*.py")}
    return {
        name: set(_imported(ast.parse(path.read_text()), set(files))) - {name}
        for name, path in files.items()
    }


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, known: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known | {"edgekit"}:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


def room_of(module: str) -> str:
    """Return the folder or top-level file that a module belongs to, as the table names it."""
    parts = module.split(".")
    if len(parts) == 1:
        return "__init__.py"
    return f"{parts[1]}/" if (ROOT / "edgekit" / parts[1]).is_dir() else f"{parts[1]}.py"


def rooms(found: Modules) -> Rooms:
    """Return which rooms each room imports."""
    between: Rooms = {}
    for module, imported in found.items():
        there = between.setdefault(room_of(module), set())
        there |= {room_of(name) for name in imported} - {room_of(module)}
    return between


def allowed(text: str) -> Rooms:
    """Return the table's rooms in order, each with what it may import."""
    rows = dict(ROW.findall(text))
    return {room: set(re.findall(r"`([\w/.]+)`", may)) for room, may in rows.items()}


def faults(between: Rooms, table: Rooms) -> list[str]:
    """Return a line for every room or import that the table does not hold true."""
    order = list(table)
    lines = [f"{room} has no row" for room in between if room not in table]
    lines += [f"{room} has a row and no code" for room in table if room not in between]
    for room in between.keys() & table.keys():
        lines += [f"{room} imports {name}" for name in between[room] - table[room]]
        lines += [f"{room} no longer imports {name}" for name in table[room] - between[room]]
        up = [name for name in table[room] if order.index(name) < order.index(room)]
        lines += [f"{room} stands below {name} and may not import it" for name in up]
    return sorted(lines)


def circles(found: Mapping[str, set[str]]) -> list[str]:
    """Return a line for every circle of modules, wherever in them the imports stand."""
    done: set[str] = set()
    lines: list[str] = []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            lines.append(" → ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for name in sorted(found[module]):
                visit(name, [*path, module])
            done.add(module)

    for module in sorted(found):
        visit(module, [])
    return lines


def test_the_rooms_import_what_architecture_md_says() -> None:
    table = allowed((ROOT / "ARCHITECTURE.md").read_text())
    assert faults(rooms(modules()), table) == []


def test_no_modules_import_each_other() -> None:
    assert circles(modules()) == []


def test_what_runs_on_a_board_imports_nothing_but_itself() -> None:
    for module, imported in modules().items():
        if module.startswith("edgekit.onboard"):
            assert all(name.startswith("edgekit.onboard") for name in imported), module


def test_a_planted_import_is_found() -> None:
    """The check itself can fail: up, sideways, round and about."""
    table = allowed((ROOT / "ARCHITECTURE.md").read_text())
    found = modules()
    found["edgekit.spec"] = found["edgekit.spec"] | {"edgekit.cli.output"}
    assert "spec.py imports cli/" in faults(rooms(found), table)
    assert any("edgekit.spec → edgekit.cli.output" in line for line in circles(
        {**found, "edgekit.cli.output": {"edgekit.spec"}}
    ))  # fmt: skip
    found = modules() | {"edgekit.helpers": set()}
    assert "helpers.py has no row" in faults(rooms(found), table)
    lower = {**table, "errors.py": {"files.py"}}
    assert any("errors.py stands below files.py" in line for line in faults(rooms(found), lower))


def test_no_file_is_named_for_nothing() -> None:
    stems = {path.stem for path in (ROOT / "edgekit").rglob("*.py")}
    assert not stems & {"utils", "helpers", "common", "misc", "again", "shelf", "oracle"}


def _rows() -> str:
    """Return the rooms in an order in which nothing runs up, each with what it imports."""
    between, placed = rooms(modules()), list[str]()

    def place(room: str) -> None:
        if room not in placed:
            for name in sorted(between[room]):
                place(name)
            placed.append(room)

    for room in sorted(between):
        place(room)
    lines = []
    for room in reversed(placed):
        names = sorted(between[room], key=placed.index, reverse=True)
        lines.append(f"{room}: {', '.join(f'`{name}`' for name in names) or 'nothing of ours'}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(_rows())
