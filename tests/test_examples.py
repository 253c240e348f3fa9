"""The examples, run as they are by a user who has an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nursery
import onnx
import pytest
from command_line import Cli
from plugin_packages import conforms, install

from edgekit import find_artifacts

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    """Run an example, whose conversions import nothing again, and return what it printed."""
    done = subprocess.run(
        [sys.executable, nursery.__file__, str(EXAMPLES / name / "run.py")],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*/*.py")), ids=str)
def test_a_script_is_under_thirty_lines(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 30


@pytest.mark.slow
def test_digits_are_trained_converted_scored_and_timed(tmp_path: Path) -> None:
    printed = run("digits", tmp_path)
    right = re.findall(r"digits (\w+) (\w+): ([\d.]+) % right", printed)
    assert len(right) == 6
    assert all(float(share) > 90 for _, _, share in right), printed
    assert len(re.findall(r"digits \w+ \w+: p50 [\d.]+ ms", printed)) == 6


@pytest.mark.slow
def test_an_onnx_file_of_scikit_learns_converts(tmp_path: Path) -> None:
    printed = run("onnx_file", tmp_path)
    assert len(re.findall(r"agrees on \d+%", printed)) == 4
    artifacts = find_artifacts([tmp_path / "out"])
    assert [a.manifest.precision for a in artifacts] == ["fp32", "int8"] * 2
    made = onnx.load(str(artifacts[0].path))
    (opset,) = (item.version for item in made.opset_import if not item.domain)
    assert opset == 20, "older runtimes on boards read it, whatever wrote the source"


@pytest.mark.slow
def test_mnn_is_a_package_beside_edgekit(tmp_path: Path, pictures: Path, cli: Cli) -> None:
    """Converted, proven and measured; `mnnconvert`, the command that reports home, is not run."""
    installed = install(EXAMPLES / "mnn", tmp_path)
    paths = {"PYTHONPATH": f"{installed}:{Path(__file__).parent}"}
    done = cli("convert", "user_models:small", "--backend", "mnn", "--precision", "fp32",
               "--images", pictures, "-o", tmp_path / "out", "--json", **paths)  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "out" / "mnn-fp32"
    bench = cli("bench", folder, "--min-seconds", "0.05", "--results", tmp_path / "r", "--json",
                **paths)  # fmt: skip
    assert bench.returncode == 0, bench.stderr
    (row,) = json.loads(bench.stdout)["rows"]
    assert row["runtime"] == "mnn" and row["p50_ms"] > 0
    printed = conforms(EXAMPLES / "mnn" / "conformance.py", MNN_ARTIFACT=str(folder), **paths)
    assert "5 passed" in printed


# What a kernel does with these cells. Jupyter's own is not a dependency: pip takes minutes to find
# versions of it that agree with the converters'.
RUN_CELLS = """
import ast, json, pathlib, sys
names = {}
for cell in json.load(open(sys.argv[1]))["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "code" and source.startswith("%%writefile "):
        first, _, rest = source.partition("\\n")
        pathlib.Path(first.split()[1]).write_text(rest)
    elif cell["cell_type"] == "code":
        body = ast.parse(source)
        last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
        exec(compile(body, "cell", "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            print(shown._repr_html_() if hasattr(shown, "_repr_html_") else repr(shown))
"""


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_table(tmp_path: Path) -> None:
    notebook = EXAMPLES.parent / "docs" / "examples" / "notebook.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN_CELLS, str(notebook)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "onnx fp32 proven" in done.stdout and "onnx int8 proven" in done.stdout
    assert done.stdout.count("<tr") >= 3 and "Decision(" in done.stdout
