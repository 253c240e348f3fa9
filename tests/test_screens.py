"""What a person sees: every table fits its terminal, and no number, name or host is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import Cli, on_a_terminal, one_line_error
from records import MODEL, a_measurement, a_prediction, an_accuracy

from edgekit.cli.layout import table_lines, wrapped
from edgekit.cli.on_boards import finish
from edgekit.cli.output import PIPED_WIDTH, show
from edgekit.cli.predict_latency import show_predicted
from edgekit.cli.recommend import recommend
from edgekit.measurement.stats import Interval
from edgekit.measurement.summary import summary_row
from edgekit.records import Measurement
from edgekit.report import cells
from edgekit.report.measured_rows import by_model, doubts, fastest, short_rows
from edgekit.results import save
from edgekit.targets import load_target

WIDTHS = (80, 100, 120)
HOST = "ssh://operator@a-very-long-host-name.of-a-board.factory-floor-3.example.internal:2222"
LONG_MODEL = "a-company-model-with-a-very-long-name-v2.1:with-a-variant-that-is-long-too"
CRASH = f"the runner on {HOST} ended with signal 11 (Segmentation fault) while it loaded the model"
ANSI = re.compile(r"\x1b\[[\d;]*m")


def lines_of(text: str) -> list[str]:
    return ANSI.sub("", text).replace("\r", "").splitlines()


def assert_fits(text: str, width: int) -> None:
    """Every line fits; only a single word that is longer by itself may not."""
    for line in lines_of(text):
        assert len(line) <= width or len(line.split()) == 1, f"{len(line)} > {width}: {line}"
    assert "…" not in text and "..." not in text


def measured(model: str = MODEL) -> list[Measurement]:
    """Six artifacts, one of them in doubt, and one that failed."""
    times = {
        ("onnx", "fp32"): 0.92, ("onnx", "int8"): 0.42, ("tflite", "fp32"): 1.01,
        ("tflite", "int8"): 0.31, ("openvino", "fp32"): 0.925, ("openvino", "int8"): 0.38,
    }  # fmt: skip
    rows = [
        a_measurement(model, ms, backend, precision)  # type: ignore[arg-type]
        for (backend, precision), ms in times.items()
    ]
    rows[4] = replace(rows[4], wanted_rounds=5)
    facts = replace(rows[0].artifact, precision="fp16")
    return [*rows, replace(rows[0], artifact=facts, rounds=(), error=CRASH)]


@pytest.fixture
def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[Measurement], int | None], str]:
    def run(rows: Sequence[Measurement], width: int | None, wide: bool = False) -> str:
        if width is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", str(width))
        full = [summary_row(row) for row in rows]
        notes = [*fastest(rows), *doubts(rows)]
        show(f"bench on {HOST}", full, as_json=False, notes=notes, short=by_model(rows), wide=wide)
        return capsys.readouterr().out

    return run


Printed = Callable[..., str]


@pytest.mark.parametrize("width", WIDTHS)
def test_bench_is_one_table_at_every_width(printed: Printed, width: int) -> None:
    text = printed(measured(), width)
    assert_fits(text, width)
    (fast,) = [line for line in lines_of(text) if line.lstrip().startswith("tflite-int8 ")]
    assert re.search(r"tflite-int8 +0\.31\d \[0\.3\d+, 0\.3\d+\] +2\.9\dx \[", fast), fast
    assert re.search(r"3\.5 MB +50 MB +ok$", fast), fast
    assert "no clear difference" in text
    assert "Fastest: tflite-int8." in text and "openvino-fp32: 3 of 5 rounds" in text
    assert HOST in text


def test_a_pipe_is_as_wide_as_is_said(printed: Printed) -> None:
    text = printed(measured(), None)
    assert_fits(text, PIPED_WIDTH)
    assert max(WIDTHS) > PIPED_WIDTH and "\x1b" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_and_failed_rows_keep_every_word(printed: Printed, width: int) -> None:
    text = printed([*measured(), *measured(LONG_MODEL)], width)
    assert_fits(text, width)
    words = text.split()
    assert LONG_MODEL in words and HOST in words
    assert text.count("failed") >= 4, "two rows and the reason of each"
    assert " ".join(words).count("Segmentation fault") == 2


def test_the_fastest_come_first_and_the_failed_last() -> None:
    names = [row["artifact"] for row in short_rows(measured())]
    assert names[:2] == ["tflite-int8", "openvino-int8"] and names[-1] == "onnx-fp16"


def test_what_cannot_be_told_apart_is_not_called_fastest() -> None:
    alike = [a_measurement(precision="fp32"), a_measurement(precision="int8")]
    (line,) = fastest(alike)
    assert "no clear difference" in line
    assert short_rows(alike)[1]["speed against onnx-fp32"] == cells.NO_DIFFERENCE


def test_a_wide_table_in_a_pipe_has_a_line_a_row(printed: Printed) -> None:
    text = printed(measured(), None, wide=True)
    (line,) = [line for line in lines_of(text) if line.lstrip().startswith("model ")]
    assert {"p50_low_ms", "p99_ms", "device"} <= set(line.split())
    assert sum(line.lstrip().startswith(MODEL) for line in lines_of(text)) == 7


def test_a_table_too_wide_for_its_terminal_is_a_block_a_row() -> None:
    row = {"board": HOST, "state": "files differ: model.tflite", "earlier": "a" * 12, "none": "–"}
    lines = [line.text for line in table_lines(list(row), [row], 60)]
    assert lines[0].strip() == HOST
    assert [line.split()[0] for line in lines[1:]] == ["state", "earlier"], "no line for a dash"


def test_headings_wrap_before_cells_and_cells_at_words() -> None:
    row = {"name": "one", "what it says of the model": "yes", "why": "because it is so, and more"}
    lines = [line.text for line in table_lines(list(row), [row], 44)]
    assert any("because it is so, and more" in line for line in lines)
    narrow = " ".join(line.text for line in table_lines(list(row), [row], 34))
    assert narrow.split().count("because") == 1 and "mor " not in narrow


@pytest.mark.parametrize("width", WIDTHS)
def test_predictions_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    records = [a_prediction(threads=count) for count in (1, 2, 3, 4)]
    records.append(a_prediction(calibrated=False, why="no evidence is of this runtime"))
    show_predicted(load_target("rpi4"), records, [], wide=False)
    text = capsys.readouterr().out
    assert_fits(text, width)
    assert re.search(r"onnx-fp32 +4 +20 \[15, 30\] +3\.5 MB +calibrated", text), text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.3103, 0.29, 0.33, "0.31 [0.29, 0.33]"),
        (12.34, 11.0, 13.7, "12.3 [11.0, 13.7]"),
        (1234.5, 1200.0, 1270.0, "1234 [1200, 1270]"),
        (2.0, None, None, "2.00"),
        (None, None, None, "–"),
    ],
)
def test_a_number_is_as_precise_as_its_interval(
    value: float | None, low: float | None, high: float | None, text: str
) -> None:
    assert cells.with_interval(value, low, high) == text


def test_a_speed_is_a_number_only_where_it_can_be_claimed() -> None:
    assert cells.times(Interval(3.0, 2.8, 3.2)) == "3.0x [2.8, 3.2]"
    assert cells.times(Interval(1.02, 0.99, 1.05)) == cells.NO_DIFFERENCE
    assert cells.times(Interval(1.003, 1.001, 1.005)) == "1.003x [1.001, 1.005]"


@pytest.mark.parametrize("command", [("models",), ("doctor",), ("device", "list")])
@pytest.mark.parametrize("width", [80, 120])
def test_commands_fit_a_real_terminal(command: tuple[str, ...], width: int) -> None:
    assert_fits(on_a_terminal(*command, COLUMNS=str(width)), width)


def test_runs_are_compared_artifact_by_artifact(cli: Cli, tmp_path: Path) -> None:
    for number, ms in enumerate((2.0, 1.0)):
        for precision in ("fp32", "int8")[: 2 - number]:
            row = a_measurement(precision=precision, median_ms=ms, run=f"run{number}")  # type: ignore[arg-type]
            save(row, tmp_path)
    done = cli("compare", tmp_path / "run1", tmp_path / "run0", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (row,) = said["rows"]
    assert row["differs"] and 1.9 < row["times_as_fast"] < 2.1 and not row["paired"]
    assert any("int8 is only in" in note for note in said["notes"])
    mixed = cli("compare", tmp_path / "run1", tmp_path / "run0" / "nothing.json")
    assert "two runs' folders" in one_line_error(mixed)


@pytest.mark.parametrize("width", WIDTHS)
def test_boards_of_long_names_fit_failed_ones_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    good = {"result": "deployed", "version": "a" * 12, "before": None, "p90_ms": 12.25}
    rows: list[dict[str, Any]] = [
        {"board": HOST, "group": "kitchen", **good, "error": None},
        {"board": f"{HOST}0", "group": "kitchen", "result": "failed", "error": CRASH},
    ]
    with pytest.raises(typer.Exit):
        finish("mtc 0123456789ab", rows, [CRASH], as_json=False)
    text = capsys.readouterr().out
    assert_fits(text, width)
    assert {HOST, f"{HOST}0", "a" * 12, "deployed", "failed"} <= set(text.split())
    assert "before" not in text, "a column without any value is left out"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_recommendation_fits(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for row in measured()[:6]:
        facts = replace(row.artifact, sha256=f"{row.artifact.backend}{row.artifact.precision}" * 6)
        save(replace(row, artifact=facts), tmp_path)
        judged = an_accuracy(
            model=MODEL, backend=facts.backend, precision=facts.precision, artifact=facts.sha256
        )
        save(judged, tmp_path)
    recommend(results=tmp_path, max_latency="0.4ms", target="host")
    text = capsys.readouterr().out
    assert_fits(text, width)
    assert re.search(r"tflite-int8 .* ship$", text, re.MULTILINE), text
    assert "onnx-int8 misses latency by" in " ".join(text.split())


def test_a_word_that_begins_like_a_unit_is_not_cut() -> None:
    text = "such rows were missed by 19%; such intervals held 12 samples, 3 sets and 4.5 ms [4, 5]"
    for width in range(16, 60):
        lines = wrapped(text, width, "")
        assert " ".join(lines) == text
        assert all("4.5 ms [4, 5]" in line or "4.5" not in line for line in lines)
