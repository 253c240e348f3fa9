"""The command line as a whole: quick to answer, plain to read, the same in tables and JSON."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Cli, one_line_error

from edgekit import __version__
from edgekit.cli.output import show
from edgekit.errors import DISTRIBUTION

ROOT = Path(__file__).parent.parent
COMMANDS = ("convert", "bench", "compare", "evaluate", "report", "predict", "models", "doctor")
EMPTY = """
import typer
app = typer.Typer()
@app.command()
def one(): pass
@app.command()
def two(): pass
app()
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def test_help_answers_within_twice_the_time_of_an_empty_program(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(EMPTY)
    ours = [sys.executable, "-m", "edgekit", "--help"]
    empty = [sys.executable, str(tmp_path / "empty.py"), "--help"]
    ratios = [seconds(ours) / seconds(empty) for _ in range(9)]
    assert statistics.median(ratios) <= 2, ratios


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, edgekit.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numpy", "onnx", "openvino", "ai_edge_litert", "msgspec", "PIL"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(cli: Cli, command: str) -> None:
    assert f"Example: edgekit {command}" in cli(command, "--help", COLUMNS="200").stdout


def test_models_gives_the_pinned_counts(cli: Cli) -> None:
    rows = json.loads(cli("models", "--json").stdout)["rows"]
    counts = {(row["name"], row["variant"]): (row["parameters"], row["macs"]) for row in rows}
    assert counts["multitask-cnn", "regression"] == (867_074, 47_614_976)
    assert counts["adiencenet", "age"][0] == 11_415_048
    assert counts["vgg16", "age"][0] == 134_293_320
    assert {row["name"] for row in rows} == {
        "multitask-cnn", "adiencenet", "zhu-lightweight", "caffenet", "googlenet", "vgg16",
        "cnn-elm",
    }  # fmt: skip


def test_table_headings_are_the_json_names(cli: Cli) -> None:
    table = cli("doctor").stdout
    (row, *_) = json.loads(cli("doctor", "--json").stdout)["rows"]
    assert all(name in table for name in row)
    assert "\x1b" not in table, "no colour when piped"


def test_rows_of_different_models_share_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show("mixed", [{"age": 1.5}, {"gender": 2.5}], as_json=False)
    printed = capsys.readouterr().out
    assert "age" in printed and "gender" in printed and printed.count("–") == 2


def test_doctor_names_the_fix_with_our_own_distribution(cli: Cli) -> None:
    rows = json.loads(cli("doctor", "--json").stdout)["rows"]
    for row in rows:
        assert (row["status"] == "ok") == (row["fix"] is None)
        if row["fix"] and row["fix"].startswith("pip"):
            assert DISTRIBUTION in row["fix"]


def test_version_names_the_runtimes(cli: Cli) -> None:
    lines = cli("--version").stdout.splitlines()
    assert lines[0] == f"edgekit {__version__}"
    assert any(line.startswith("onnxruntime ") for line in lines)


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_predict_answers_a_picture_and_names_a_missing_one(
    cli: Cli, converted: Path, faces: Path
) -> None:
    picture = sorted(faces.iterdir())[0]
    done = cli("predict", picture, "--artifact", converted / "onnx-int8", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert row["gender"] in {"male", "female"} and 0 < row["gender_confidence"] <= 1
    missing = cli("predict", "nowhere.jpg", "--artifact", converted / "onnx-int8")
    assert "nowhere.jpg" in one_line_error(missing)


@pytest.mark.slow
def test_bench_compare_and_report_agree(cli: Cli, converted: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = cli(
        "bench", converted, "--min-seconds", "0.1", "--percentile", "p50", "--results", results,
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {(r["backend"], r["precision"]): r for r in json.loads(done.stdout)["rows"]}
    assert {"-".join(key) for key in rows} == {path.name for path in converted.iterdir()}
    assert rows["null", "fp32"]["p50_ms"] < 0.05 * rows["onnx", "fp32"]["p50_ms"]
    saved = sorted(results.rglob("*.json"))
    fp32 = next(path for path in saved if "onnx-fp32" in path.name)
    null = next(path for path in saved if "null-fp32" in path.name)
    (ratio,) = json.loads(cli("compare", null, fp32, "--json").stdout)["rows"]
    assert ratio["paired"] and ratio["differs"] and ratio["times_as_fast"] > 20
    tables = json.loads(cli("report", "--results", results, "--json").stdout)
    (artifacts,) = [table for table in tables if table["name"] == "artifacts"]
    reported = {(r["backend"], r["precision"]): r["p50_ms"] for r in artifacts["rows"]}
    assert reported == {key: row["p50_ms"] for key, row in rows.items()}


def test_a_board_that_is_not_here_is_never_measured(cli: Cli, converted: Path) -> None:
    done = cli("bench", converted / "null-fp32", "--target", "rpi4", "--device", "local")
    error = one_line_error(done)
    assert "--device virtual" in error and "ssh://" in error


def test_a_report_without_results_says_what_to_run(cli: Cli, tmp_path: Path) -> None:
    assert "edgekit bench" in one_line_error(cli("report", "--results", tmp_path))
    bad = cli("report", "--results", tmp_path, "--format", "markdwn", "-o", tmp_path / "out")
    assert bad.returncode == 2
