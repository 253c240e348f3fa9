"""What travels between rooms is built by naming its fields: nobody counts to the eleventh."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from edgekit.paths import PACKAGE

MOST = 3
ALLOWED = {
    "InputSpec": "users write height and width first, as every image library does",
    "TensorSpec": "users write its name and shape first",
    "OutputSpec": "users write its name, kind and labels first",
    "ModelSpec": "users write the input, then the outputs",
    "Built": "plug-ins return it: files and feed",
}
ON_BOARDS = "onboard"
"""Code of boards runs on Python 3.9, which has no kw_only."""


def dataclasses_in(path: Path) -> Iterator[tuple[ast.ClassDef, list[str]]]:
    """Yield every dataclass of a file with the names of its decorator's arguments."""
    for node in ast.walk(ast.parse(path.read_text())):
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            call = decorator if isinstance(decorator, ast.Call) else None
            name = call.func if call else decorator
            if isinstance(name, ast.Name) and name.id == "dataclass":
                assert isinstance(node, ast.ClassDef)
                yield node, [str(word.arg) for word in call.keywords] if call else []


def test_a_dataclass_of_more_than_three_fields_is_keyword_only() -> None:
    found, wrong = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] == ON_BOARDS:
            continue
        for node, words in dataclasses_in(path):
            fields = sum(isinstance(item, ast.AnnAssign) for item in node.body)
            found += 1
            if fields > MOST and "kw_only" not in words and node.name not in ALLOWED:
                wrong.append(f"{path.name}: {node.name}")
    assert found > 80
    assert wrong == []
