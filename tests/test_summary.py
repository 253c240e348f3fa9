"""The report's answer: what to ship where, in few lines and short tables."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from records import a_measurement, a_prediction, an_accuracy, an_emulation
from typer.testing import CliRunner

from edgekit import zoo
from edgekit.cli import app
from edgekit.recommend.summary import MOST, summarise
from edgekit.records import AnyRecord, Measurement
from edgekit.report import short_tables
from edgekit.report.records import load_saved
from edgekit.results import save


def trained(
    precision: str, backend: str = "onnx", ms: float = 1.0, size: int = 3_500_000
) -> Measurement:
    made = a_measurement(median_ms=ms, backend=backend, precision=precision)  # type: ignore[arg-type]
    sha256 = f"{backend}{precision}"[:8] * 8
    return replace(
        made, artifact=replace(made.artifact, sha256=sha256, weights="trained", bytes=size)
    )


def own_results(folder: Path) -> Path:
    records: list[AnyRecord] = [trained("fp32", ms=3.0), trained("int8", ms=1.0, size=1_000_000)]
    for row, age in zip(list(records), (71.0, 70.5), strict=True):
        assert isinstance(row, Measurement)
        records.append(
            an_accuracy(
                backend="onnx", precision=row.artifact.precision, artifact=row.artifact.sha256,
                age_accuracy=age, age_accuracy_low=age - 2, age_accuracy_high=age + 2,
            )
        )  # fmt: skip
    for record in (*records, an_emulation(), a_prediction()):
        save(record, folder)
    return folder


def test_three_lines_say_what_to_ship_what_int8_costs_and_what_is_in_doubt(tmp_path: Path) -> None:
    board, here = summarise(load_saved(own_results(tmp_path)))
    assert "on rpi4" in board.title and "no time was measured on a board" in board.lines[2]
    assert "on host (A CPU, 2 cores, x86_64), 2026-11-24" in here.title
    ship, int8, doubt = here.lines
    assert re.match(
        r"Ship onnx-int8: 1\.0\d? ms \[.*\] measured, .*age 70\.5 % \[68\.5, 72\.5\]", ship
    )
    assert "3.0x as fast (measured), 2.5 MB smaller" in int8
    assert "age accuracy 70.5 % instead of 71.0 %" in int8
    assert doubt == "In doubt: nothing that was recorded."


def test_an_inconclusive_time_is_never_recommended(tmp_path: Path) -> None:
    """openvino-fp32 was once recommended at 0 ms [0, 134]: its rounds did not agree."""
    sound, shaky = trained("fp32", ms=3.0), trained("fp32", "openvino", ms=0.5)
    rounds = (*shaky.rounds[:2], replace(shaky.rounds[2], settled=False))
    save(sound, tmp_path)
    save(replace(shaky, rounds=rounds, label="shaky"), tmp_path)
    (here,) = summarise(load_saved(tmp_path))
    assert here.lines[0].startswith("Ship onnx-fp32: ")
    (tmp_path / "alone").mkdir()
    save(replace(shaky, rounds=rounds, label="shaky"), tmp_path / "alone")
    (alone,) = summarise(load_saved(tmp_path / "alone"))
    assert alone.lines[0] == "Ship nothing yet: every time measured there is inconclusive."
    assert "round 3 did not settle" in alone.lines[2] and "measure again" in alone.lines[2]


def test_random_weights_and_unknown_accuracy_are_told(tmp_path: Path) -> None:
    save(a_measurement(), tmp_path)
    (found,) = summarise(load_saved(tmp_path))
    assert "random" in found.lines[2] and "no accuracy is known" in found.lines[2]


def test_shipped_records_come_only_when_asked_for(tmp_path: Path) -> None:
    own = load_saved(own_results(tmp_path))
    assert {record.protocol for record in own.accuracy} == {"a test's"}
    assert len(load_saved(tmp_path, shipped=True).accuracy) > len(own.accuracy)


def test_short_tables_have_eight_columns_at_most_and_the_papers_seven_rows(tmp_path: Path) -> None:
    saved = load_saved(own_results(tmp_path), shipped=True)
    tables = short_tables(saved, paper=True)
    assert all(len(table.columns) <= 8 for table in tables)
    two, three = tables[:2]
    names = list(zoo.systems())
    assert [row["system"] for row in two.rows] == names and len(names) == 7
    assert [row["system"] for row in three.rows] == names
    ours = next(row for row in two.rows if row["system"] == "adiencenet")
    assert ours["paper: age"] == "50.7 ± 5.1"
    assert re.fullmatch(r"70\.5 \[68\.\d, 72\.\d\]", str(ours["ours: age"]))
    kinds = [table.title.rpartition(", ")[2] for table in tables[2:]]
    assert kinds == ["measured", "predicted", "emulated"]


def test_the_command_prints_the_summary_and_the_paths(tmp_path: Path) -> None:
    own_results(tmp_path / "results")
    done = CliRunner().invoke(
        app,
        ["report", "--results", str(tmp_path / "results"), "-o", str(tmp_path / "out"), "-q"],
        env={"COLUMNS": "80"},
    )
    assert done.exit_code == 0, done.output
    assert "Ship onnx-int8" in done.output and "Table II" not in done.output
    assert len(done.output.splitlines()) < 40
    assert "report.md" in done.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.index("Ship onnx-int8") < text.index("| artifact |")
    widths = [line.count(" | ") + 1 for line in text.splitlines() if line.startswith("| ")]
    assert max(widths) <= 8
    assert (tmp_path / "out" / "artifacts.csv").is_file()
    assert (tmp_path / "out" / "table-2-accuracy.csv").is_file(), "the long form is in CSV"


@pytest.mark.unmeasured
@pytest.mark.slow
def test_500_rows_take_ten_seconds_of_a_processor(tmp_path: Path) -> None:
    for place in range(500):
        row = trained("int8" if place % 2 else "fp32", ms=1.0 + place % 10)
        facts = replace(row.artifact, model=f"model{place // 2}", sha256=f"{place:064d}")
        save(replace(row, artifact=facts, label=f"row{place}"), tmp_path / "results")
    start = time.process_time()
    html = tmp_path / "report.html"
    words = ["report", "--results", str(tmp_path / "results"), "--html", str(html), "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert time.process_time() - start <= 10
    assert done.output.count("Ship ") == MOST
