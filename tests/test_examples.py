"""The examples, run as they are by a user who has an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edgekit import find_artifacts

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name / "run.py")],
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


RUN_NOTEBOOK = """
import nbclient, nbformat, sys
book = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(book, timeout=240).execute()
nbformat.write(book, "run.ipynb")
"""


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_table(tmp_path: Path) -> None:
    notebook = EXAMPLES.parent / "docs" / "examples" / "notebook.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN_NOTEBOOK, str(notebook)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "run.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    shown = "".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "onnx fp32 proven" in printed and "onnx int8 proven" in printed
    assert shown.count("<tr") >= 3 and "onnx" in shown
