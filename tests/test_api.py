"""The Python API: light to import, typed, and the same code as the command line."""

from __future__ import annotations

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Cli
from null_artifacts import null_artifact

import edgekit
from edgekit import cli as command_line

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
FUNCTIONS = [name for name in edgekit.__all__ if inspect.isfunction(getattr(edgekit, name))]

TYPED = """
import edgekit
from pathlib import Path

conversion: edgekit.Conversion = edgekit.convert("multitask-cnn", Path("out"), backends=["onnx"])
rows: list[edgekit.Measurement] = edgekit.bench("out", threads=2)
label: str | None = next(d.label for d in edgekit.answer("a.png", "out")[0].outputs.values() if d)
edgekit.bench("out", percentile="p91")
edgekit.convert("multitask-cnn")
"""


def test_importing_edgekit_imports_nothing_else() -> None:
    code = "import sys; old = set(sys.modules); import edgekit; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ours = {name for name in done.stdout.split() if name.split(".")[0] == "edgekit"}
    assert ours == {"edgekit"}
    assert not set(done.stdout.split()) & {"numpy", "torch", "msgspec", "typer"}


def test_every_public_name_is_there_and_what_a_type_checker_sees_is_the_same() -> None:
    tree = ast.parse((ROOT / "edgekit" / "__init__.py").read_text())
    checked = {
        (str(node.module), alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for room, name in checked - {("edgekit.version", "__version__")}:
        assert getattr(edgekit, name).__name__ == name
        assert getattr(edgekit, name).__module__.startswith(room)
    assert {name for _, name in checked} == set(edgekit.__all__)
    assert set(edgekit.__all__) == set(dir(edgekit))
    with pytest.raises(AttributeError, match="__all__"):
        _ = edgekit.nothing


def test_no_module_hides_a_public_name() -> None:
    """Importing `edgekit.x` makes it the attribute `x`, and a function of that name is gone."""
    modules = {module.name for module in pkgutil.iter_modules(edgekit.__path__)}
    assert not modules & set(edgekit.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_typed_and_documented(name: str) -> None:
    function = getattr(edgekit, name)
    assert (inspect.getdoc(function) or "").split("\n")[0].endswith(".")
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty


def test_a_type_checker_follows_the_package(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "mine.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    wrong = [line for line in done.stdout.splitlines() if "mine.py" in line and "error" in line]
    assert len(wrong) == 2, done.stdout
    assert "percentile" in wrong[0] and 'Missing positional argument "output"' in wrong[1]


@pytest.mark.parametrize(
    ("command", "function"),
    [("convert", "convert"), ("bench", "bench"), ("evaluate", "evaluate"), ("predict", "answer")],
)
def test_options_and_parameters_have_the_same_defaults(command: str, function: str) -> None:
    """Their names too, but for an option that is given several times or with commas."""
    several = {"backend": "backends", "precision": "precisions"}
    typed = {several.get(k, k): v for k, v in _defaults(getattr(command_line, command)).items()}
    ours = _defaults(getattr(edgekit, function))
    shown_only = {
        "as_json", "quiet", "wide", "gate", "max_increase", "write_baseline", "inventory", "group",
        "annotate", "save", "table", "camera", "every", "frames",
    }  # fmt: skip
    assert set(typed) - shown_only == set(ours) - {"say", "command"}
    plural = ("backends", "precisions", "cores", "images")
    for key in set(typed) - shown_only - set(plural):
        assert typed[key] == ours[key], key
    for key in set(typed) & set(plural):
        assert typed[key] is None and ours[key] in (None, (), inspect.Parameter.empty)


def _defaults(function: object) -> dict[str, object]:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    return {name: parameter.default for name, parameter in parameters.items()}


def test_convert_and_predict_give_what_the_commands_give(
    cli: Cli,
    tmp_path: Path,
    pictures: Path,
    small_converted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE)
    said: list[str] = []
    conversion = edgekit.convert(
        "user_models:small",
        tmp_path / "api",
        backends=["onnx"],
        calibration=pictures,
        say=lambda step, text: said.append(step),
    )
    assert {"export", "onnx"} <= set(said)
    made = edgekit.find_artifacts([small_converted])
    theirs = [artifact for artifact in made if artifact.manifest.backend == "onnx"]
    assert [a.manifest.files for a in conversion.artifacts] == [a.manifest.files for a in theirs]

    picture = min(pictures.iterdir())
    (answer,) = edgekit.answer(picture, tmp_path / "api" / "onnx-int8")
    decision = answer.outputs["animal"]
    assert decision is not None
    shown = cli("predict", picture, "--artifact", tmp_path / "api" / "onnx-int8", "--json")
    (row,) = json.loads(shown.stdout)["rows"]
    assert (row["animal"], row["animal_confidence"]) == (decision.label, decision.confidence)


def test_bench_compare_and_tables_from_python(tmp_path: Path, pictures: Path) -> None:
    for name in ("one", "two"):
        null_artifact(tmp_path / "made" / name, name)
    results = tmp_path / "results"
    rows = edgekit.bench(
        tmp_path / "made", images=pictures, min_seconds=0, percentile="p50", results=results
    )
    assert [row.artifact.model for row in rows] == ["one", "two"]
    assert all(row.error is None and row.command == "edgekit, in Python" for row in rows)
    assert edgekit.compare(*rows).paired
    table = next(t for t in edgekit.build_tables(results) if t.name == "artifacts")
    assert {row["model"] for row in table.rows} == {"one", "two"}


def test_a_mistake_is_a_user_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(edgekit.UserError, match="did you mean multitask-cnn"):
        edgekit.convert("multitask-cmm", tmp_path / "out")
    with pytest.raises(edgekit.UserError, match=r"edgekit\.emulate"):
        null_artifact(tmp_path / "null")
        edgekit.bench(tmp_path, target="rpi4")
    with pytest.raises(edgekit.UserError, match="did you mean test"):
        edgekit.evaluate(tmp_path / "null", tmp_path, split="tset")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["null"]
