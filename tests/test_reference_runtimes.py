"""What PyTorch alone gives: its compiler and ExecuTorch take what eager PyTorch takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_cli

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "out"
    kinds = ("--backend", "torch", "--precision", "fp32")
    done = run_cli("convert", "user_models:small", *kinds, "-o", out, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return out / "torch-fp32"


def answers(artifact: Path, picture: Path, *options: str) -> Any:
    done = run_cli("predict", picture, "--artifact", artifact, "--json", *options)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    return row


@pytest.mark.slow
def test_the_compiled_network_answers_as_the_eager_one(artifact: Path, pictures: Path) -> None:
    picture = next(iter(sorted(pictures.iterdir())))
    eager = answers(artifact, picture)
    compiled = answers(artifact, picture, "--runtime", "aotinductor")
    assert compiled["animal"] == eager["animal"]
    assert compiled["animal_confidence"] == pytest.approx(eager["animal_confidence"], rel=1e-4)


def test_without_a_compiler_it_says_what_to_install(artifact: Path, tmp_path: Path) -> None:
    done = run_cli(
        "bench", artifact, "--runtime", "aotinductor", "--results", tmp_path, PATH=str(tmp_path)
    )
    assert done.returncode == 1
    assert "aotinductor needs a C++ compiler: install g++" in " ".join(done.stdout.split())


def test_executorch_is_named_where_it_is_missing(artifact: Path, tmp_path: Path) -> None:
    """A module of its name that cannot be imported: whether the real one is installed or not."""
    missing = tmp_path / "executorch.py"
    missing.write_text("raise ModuleNotFoundError('gone', name='executorch')")
    done = run_cli(
        "bench", artifact, "--runtime", "executorch", "--results", tmp_path / "results",
        PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert "executorch is not installed: pip install executorch" in " ".join(done.stdout.split())
