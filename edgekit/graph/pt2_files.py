"""Opens a .pt2 file only where nothing in it can run code.

torch.export.load unpickles weights and constants that ask for it, loads compiled libraries, calls
whatever function of `torch` the graph names, and evaluates guards and sizes as Python. So the file
is looked at first, by torch's own reader of the archive and without unpickling, and refused where
it holds anything but plain tensors and known operators. What torch.export writes for a network
passes.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MAX_GRAPH_BYTES = 256 * 2**20

_NAMESPACES = "aten|prims|torchvision|quantized_decomposed|dim_order_ops"
_OPERATOR = re.compile(
    rf"torch\.ops\.(?:{_NAMESPACES})\.(?!from_file)(?:_?[A-Za-z0-9]\w*|__[a-z]+__)(?:\.[A-Za-z]\w*)?"
    r"|torch\.ops\.higher_order\.(?:wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge"
    r"|and_|or_|not_)"
    r"|torch\._?sym_\w+|math\.(?:trunc|ceil|floor|sqrt)"
)
_BITWISE = re.compile(r"__(?:i?(?:and|or|xor|lshift|rshift))__")
_DUNDER = re.compile(r"__\w*?__")
_NAME = re.compile(r"[\w.@]*")
_SYMBOL = re.compile(r"[a-z]{1,4}\d+")
_MATHS = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Abs", "Mod",
    "FloorDiv", "CeilDiv", "PythonMod", "CleanDiv", "IntTrueDiv", "ModularIndexing", "TruncToInt",
    "Eq", "Ne", "Gt", "Ge", "Lt", "Le", "Equality", "Unequality", "GreaterThan", "LessThan",
    "StrictGreaterThan", "StrictLessThan", "And", "Or", "Not", "oo", "int_oo", "true", "false",
}  # fmt: skip
_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_NAME_KEYS = {"name", "fqn", "parameter_name", "buffer_name", "tensor_constant_name", "class_fqn"}
_GUARD_WORDS = {"L", "math", "size", "stride", "storage_offset", "shape", "inf", "isnan"}
_EXPRESSION_NODES = (
    ast.Expression, ast.Call, ast.keyword, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.FloorDiv, ast.Div, ast.Mod, ast.Pow, ast.Compare, ast.cmpop, ast.Load,
)  # fmt: skip
_GUARD_NODES = (
    ast.Expression, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Constant, ast.Name,
    ast.Attribute, ast.Subscript, ast.Call, ast.Load, ast.cmpop,
)  # fmt: skip


class Unsafe(Exception):
    """A .pt2 file could run code when it is opened; the message says by what."""


def load_pt2(path: Path) -> ExportedProgram:
    """Return the program of a .pt2 file. Raises Unsafe; else whatever torch's readers raise."""
    import torch.export.pt2_archive._package as package

    with path.open("rb") as file:  # one file, looked at and loaded
        try:
            reader = package.PT2ArchiveReader(file)
            names = set(reader.get_file_names())
        except RuntimeError:
            raise Unsafe("it is of the format before torch 2.8, or damaged") from None
        _check(reader, names)
        file.seek(0)
        contents = package.load_pt2(file)
    program: ExportedProgram = contents.exported_programs["model"]
    return program


def _check(reader: Any, names: set[str]) -> None:
    """Raise Unsafe for an archive that holds more than plain tensors and one graph."""
    if "models/model.json" not in names:
        raise Unsafe("it holds no models/model.json")
    for name in sorted(names):
        folder, _, last = name.rpartition("/")
        if folder in {"data/weights", "data/constants"} and last.endswith(".json"):
            _check_payload(name, _table(reader, name))
        elif name == "data/sample_inputs/model.pt":
            _check_pickle(name, reader.read_bytes(name))
        elif name.startswith("models/") and name != "models/model.json":
            raise Unsafe(f"it holds a second graph, {name}")
        elif not _is_plain(name, folder, last):
            raise Unsafe(f"it holds {name!r}")
    for problem in _problems(_table(reader, "models/model.json")):
        raise Unsafe(problem)


def _is_plain(name: str, folder: str, last: str) -> bool:
    """Tell whether a member is the bytes of a tensor, or a word about the file."""
    tensor = folder in {"data/weights", "data/constants"} and re.fullmatch(
        r"(?:weight|tensor)_\d+", last
    )
    word = name in {"models/model.json", "archive_format", "archive_version", "byteorder"}
    return bool(tensor) or word or folder in {".data", "extra"}


def _table(reader: Any, name: str) -> Any:
    data = reader.read_bytes(name)
    if len(data) > MAX_GRAPH_BYTES:
        raise Unsafe(f"{name} is larger than {MAX_GRAPH_BYTES:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Unsafe(f"{name} is no JSON of a network's") from None


def _check_payload(name: str, table: Any) -> None:
    config = table.get("config") if isinstance(table, dict) else None
    if not isinstance(config, dict):
        raise Unsafe(f"{name} lists no tensors")
    for key, entry in config.items():
        plain = isinstance(entry, dict) and entry.get("use_pickle") is False
        if not plain or not re.fullmatch(r"(?:weight|tensor)_\d+", str(entry.get("path_name"))):
            raise Unsafe(f"the weights hold {key!r} as a pickle or an object, not as plain numbers")


def _check_pickle(name: str, data: bytes) -> None:
    """Raise Unsafe where torch's restricted unpickler, which runs nothing, does not read it."""
    import torch

    if data:
        try:
            torch.load(io.BytesIO(data), weights_only=True)
        except Exception:
            raise Unsafe(f"{name} is a pickle of more than tensors") from None


def _problems(value: Any, key: str = "") -> Iterator[str]:
    """Yield a line for all in a graph that torch would run, evaluate or write into code."""
    if isinstance(value, dict):
        for inner, item in value.items():
            if not _NAME.fullmatch(inner) or _DUNDER.search(inner):
                yield f"its graph has the name {inner[:80]!r}"
            if inner == "metadata":  # file names and lines of the source, never evaluated
                continue
            if inner == "guards_code":
                yield from _guard_problems(item)
            elif inner in {"in_spec", "out_spec"}:
                yield from _tree_problems(item)
            elif inner in {"as_custom_obj", "custom_obj", "as_string_to_argument"} and item:
                yield "its graph holds an object"
            else:
                yield from _problems(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _problems(item, key)
    elif isinstance(value, str):
        yield from _text_problems(value, key)


def _text_problems(text: str, key: str) -> Iterator[str]:
    if key in {"target", "as_operator"} and not _is_operator(text):
        yield f"its graph calls {text[:80]!r}"
    if key in _NAME_KEYS | {"forward_arg_names"} and not _NAME.fullmatch(text):
        yield f"its graph has the name {text[:80]!r}"
    if key == "expr_str" and not _is_expression(text):
        yield f"its graph computes a size by {text[:80]!r}"


def _is_operator(text: str) -> bool:
    if _NAME.fullmatch(text) and not text.startswith(("torch", "_operator", "math")):
        return not _DUNDER.search(text)  # the name of a weight
    inner = _DUNDER.findall(text)
    return bool(_OPERATOR.fullmatch(text)) and all(_BITWISE.fullmatch(word) for word in inner)


def _is_expression(text: str) -> bool:
    """Tell whether a text is arithmetic on numbers and symbols, as sympy writes it."""
    for node in _parsed(text):
        known: object
        if isinstance(node, ast.Name):
            known = node.id in _MATHS or bool(_SYMBOL.fullmatch(node.id))
        elif isinstance(node, ast.Constant):
            symbol = isinstance(node.value, str) and _SYMBOL.fullmatch(node.value)
            known = isinstance(node.value, int | float) or bool(symbol)
        else:
            known = isinstance(node, _EXPRESSION_NODES)
        if not known:
            return False
    return True


def _guard_problems(guards: Any) -> Iterator[str]:
    for guard in guards if isinstance(guards, list) else [guards]:
        if not _is_guard(guard):
            yield f"it is guarded by code, {str(guard)[:80]!r}"


def _is_guard(text: Any) -> bool:
    for node in _parsed(text):
        word = getattr(node, "id", None) or getattr(node, "attr", None)
        if not isinstance(node, _GUARD_NODES) or (word and word not in _GUARD_WORDS):
            return False
    return True


def _parsed(text: Any) -> list[ast.AST]:
    """Return every part of an expression; of what is none, one that nobody allows."""
    try:
        if isinstance(text, str) and len(text) <= 2000:
            return list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return [ast.Pass()]


def _tree_problems(text: Any) -> Iterator[str]:
    """Yield a line where inputs or outputs are nested in anything but Python's own containers."""
    try:
        waiting = [json.loads(text)] if text else []
    except (TypeError, ValueError, RecursionError):
        yield "its inputs or outputs are described wrongly"
        return
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("type") not in _TREES:
                yield f"its inputs or outputs are of {str(item.get('type'))[:80]!r}"
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
