"""The report: every number against its own arithmetic, every format against a reader of it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raspberry_pi4 import PI4
from records import a_measurement, an_accuracy

from edgekit import zoo
from edgekit.errors import BadResults, UserError
from edgekit.records import AccuracyRecord, Measurement
from edgekit.report import FORMATS, Table, build_tables, write_report
from edgekit.results import save


def tables_of(folder: Path, *records: Measurement | AccuracyRecord) -> dict[str, Table]:
    for record in records:
        save(record, folder)
    return {table.name: table for table in build_tables(folder)}


def test_an_artifact_row_is_its_raw_samples(tmp_path: Path) -> None:
    made = a_measurement()
    (row,) = tables_of(tmp_path, made)["artifacts"].rows
    samples = np.concatenate([item.invoke_s for item in made.rounds])
    assert row["p50_ms"] == pytest.approx(1000 * np.median(samples))
    assert row["p90_ms"] == pytest.approx(1000 * np.quantile(samples, 0.9))
    assert row["p99_ms"] is None, "180 samples say nothing of the 99th percentile"
    assert row["p50_low_ms"] < row["p50_ms"] < row["p50_high_ms"]  # type: ignore[operator]
    assert row["end_to_end_p50_ms"] == pytest.approx(2000 * np.median(samples))
    assert row["load_ms"] == pytest.approx(101)
    assert row["peak_memory_mb"] == pytest.approx(50.000002)
    wanted = {
        "model": "multitask-cnn:classification",
        "size_bytes": 3_500_000,
        "parity_max_abs_diff": 2.5e-6,
        "parity_agreement": 1.0,
        "weights": "random",
        "verdict": "ok",
        "provenance": "measured",
        "target": "host",
        "threads": 1,
        "machine": "A CPU, 2 cores, x86_64",
        "instructions_per_inference": None,
    }
    assert {name: row[name] for name in wanted} == wanted


def test_a_speed_ratio_stands_beside_the_printed_one(tmp_path: Path) -> None:
    latency = tables_of(tmp_path, a_measurement(), a_measurement("adiencenet:pair", 14.0))[
        "table-3-latency"
    ]
    rows = {row["system"]: row for row in latency.rows}
    pair = rows["adiencenet"]
    assert pair["ratio"] == pytest.approx(7.0, rel=0.02)
    assert pair["ratio_low"] < 7.05 and pair["ratio_high"] > 6.95  # type: ignore[operator]
    assert pair["ratio_claim"] == "multitask-cnn is faster"
    assert (pair["published_desktop_ratio"], pair["published_phone_ratio"]) == (8.0, 6.0)
    assert (pair["variant"], pair["deployed"]) == ("pair", True)
    assert rows["multitask-cnn"]["ratio"] is None
    vgg = rows["vgg16"]
    assert (vgg["p50_ms"], vgg["provenance"], vgg["published_desktop_s"]) == (None, None, None)


@pytest.mark.parametrize(
    "changes",
    [{"backend": "tflite"}, {"threads": 2}, {"runtime": "another"}, {"images": "0" * 64}],
    ids=str,
)
def test_no_ratio_between_unlike_settings(tmp_path: Path, changes: dict[str, object]) -> None:
    other = a_measurement("adiencenet:pair", 14.0, **changes)  # type: ignore[arg-type]
    rows = tables_of(tmp_path, a_measurement(), other)["table-3-latency"].rows
    assert [row["ratio"] for row in rows if row["system"] == "adiencenet"] == [None]


def test_doubtful_and_overlapping_rows_are_not_ranked(tmp_path: Path) -> None:
    same = a_measurement("adiencenet:pair")
    unsettled = a_measurement("zhu-lightweight:regression", 9.0)
    unsettled = replace(
        unsettled, rounds=tuple(replace(item, settled=False) for item in unsettled.rounds)
    )
    rows = tables_of(tmp_path, a_measurement(), same, unsettled)["table-3-latency"].rows
    claims = {row["system"]: str(row["ratio_claim"]) for row in rows}
    assert claims["adiencenet"] == "not ranked: the interval holds 1"
    assert claims["zhu-lightweight"].startswith("not ranked: ")
    assert "settle" in claims["zhu-lightweight"]


def test_the_harness_is_no_system_but_is_an_artifact_row(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, a_measurement(backend="null", median_ms=0.01))
    assert all(row["backend"] is None for row in tables["table-3-latency"].rows)
    assert [row["backend"] for row in tables["artifacts"].rows] == ["null"]


def test_a_users_own_model_is_measured_but_not_the_papers(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, a_measurement("package.module:factory"))
    assert len(tables["table-3-latency"].rows) == len(zoo.systems())
    assert tables["artifacts"].rows[0]["model"] == "package.module:factory"


def test_an_x86_time_never_bears_a_pis_name(tmp_path: Path) -> None:
    with pytest.raises(BadResults, match=r"rpi4.*x86_64.*measure again") as caught:
        tables_of(tmp_path, a_measurement(target="rpi4"))
    assert "\n" not in str(caught.value)


def test_another_board_does_not_bear_a_pi4s_name_either(tmp_path: Path) -> None:
    with pytest.raises(BadResults, match="rpi4"):
        tables_of(tmp_path, a_measurement(target="rpi4", facts=replace(PI4, board="Rock 5B")))


def test_a_real_pi_is_shown_and_an_emulated_one_has_no_times(tmp_path: Path) -> None:
    real = a_measurement(target="rpi4", device="ssh://pi@board", facts=PI4, run="real")
    emulated = replace(real, device="virtual:rpi4", provenance="emulated", run="emulated")
    tables = tables_of(tmp_path, real, emulated)
    for name in ("artifacts", "table-3-latency"):
        shown = {
            row["provenance"]: row["p50_ms"] for row in tables[name].rows if row["target"] == "rpi4"
        }
        assert shown["emulated"] is None
        assert shown["measured"] == pytest.approx(2.0, rel=0.02)
    virtual = next(r for r in tables["artifacts"].rows if r["provenance"] == "emulated")
    silent = [name for name in virtual if name.endswith(("_ms", "_mb"))]
    assert len(silent) == 9
    assert all(virtual[name] is None for name in silent)
    assert virtual["parity_max_abs_diff"] == 2.5e-6


def test_an_unknown_target_is_shown_as_unchecked(tmp_path: Path) -> None:
    artifacts = tables_of(tmp_path, a_measurement(target="my-board"))["artifacts"]
    assert any("my-board" in note and "unchecked" in note for note in artifacts.notes)


def test_of_two_files_of_one_evaluation_the_newer_counts(tmp_path: Path) -> None:
    """Whatever their names: files saved by edgekit before had others."""
    path = save(an_accuracy(age_accuracy=60.0, created="2026-11-23T00:00:00+00:00"), tmp_path)
    path.rename(tmp_path / "accuracy" / "zoo-of-before.json")
    rows = tables_of(tmp_path, an_accuracy())["table-2-accuracy"].rows
    assert [row["age_accuracy"] for row in rows if row["protocol"] == "a test's"] == [61.25]


def test_accuracy_shows_its_data_and_the_papers_beside_it(tmp_path: Path) -> None:
    int8 = an_accuracy(backend="onnx", precision="int8", artifact="a" * 64, age_accuracy=60.5)
    table = tables_of(tmp_path, an_accuracy(artifact="b" * 64), int8)["table-2-accuracy"]
    ours = [row for row in table.rows if row["protocol"] == "a test's"]
    assert [(row["backend"], row["age_accuracy"]) for row in ours] == [
        ("torch", 61.25),
        ("onnx", 60.5),
    ]
    row = ours[0]
    assert (row["age_accuracy_low"], row["age_accuracy_high"]) == (58.0, 64.5)
    assert row["gender_accuracy"] is None
    assert (row["published_age_accuracy"], row["published_age_spread"]) == (66.8, 1.0)
    assert (row["published_dataset"], row["dataset"]) == (
        "Adience",
        "UTKFace mapped to Adience bins (a test's)",
    )
    assert (row["images"], row["provenance"]) == (1000, "measured")
    caffenet = next(row for row in table.rows if row["system"] == "caffenet")
    assert caffenet["published_age_spread"] is None, "the paper prints no ± for it"
    assert any("do not rank" in note for note in table.notes)


def test_every_system_variant_and_erratum_is_there(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, a_measurement())
    notes = "\n".join(note for table in tables.values() for note in table.notes)
    for erratum in zoo.errata():
        assert erratum.printed in notes
        assert erratum.finding in notes
    for table in tables.values():
        if table.name.startswith("table-"):
            assert {row["system"] for row in table.rows} >= set(zoo.systems())
    counted = {(r["system"], r["variant"]): r for r in tables["table-3-parameters"].rows}
    assert counted["adiencenet", "age"]["parameters"] == 11_415_048
    assert counted["adiencenet", "age-floor"]["deployed_parameters"] == 8_859_144 + 8_856_066
    for name, system in zoo.systems().items():
        if "pair" in system.variants:
            pair, half = counted[name, "pair"], counted[name, "age"]
            assert half["deployed_parameters"] == pair["parameters"] == pair["deployed_parameters"]
            assert half["deployed_macs"] == pair["macs"]


def test_no_results_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="edgekit bench"):
        build_tables(tmp_path / "missing")
    with pytest.raises(UserError, match="run `edgekit bench` first"):
        build_tables(tmp_path)


def test_a_damaged_file_costs_a_note_not_the_report(tmp_path: Path) -> None:
    path = save(a_measurement(), tmp_path)
    (path.parent / "torn.json").write_bytes(path.read_bytes()[:500])
    artifacts = tables_of(tmp_path)["artifacts"]
    assert len(artifacts.rows) == 1
    assert sum("torn.json" in note for note in artifacts.notes) == 1


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    records = (a_measurement(), a_measurement("adiencenet:pair", 14.0), an_accuracy())
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, order in ((first, records), (second, records[::-1])):
        tables = tables_of(folder / "results", *order).values()
        paths = write_report(tables, folder / "report", list(FORMATS))
        assert len(paths) == 4 * len(FORMATS)
    for path in (first / "report").iterdir():
        assert path.read_bytes() == (second / "report" / path.name).read_bytes()


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    table = Table(name="t", title="T", columns=("a",), rows=())
    with pytest.raises(UserError, match="did you mean markdown"):
        write_report([table], tmp_path / "out", ["csv", "markdwon"])
    assert not (tmp_path / "out").exists()


def test_a_row_that_lacks_a_column_is_no_table() -> None:
    with pytest.raises(ValueError, match="a row of 'T'"):
        Table(name="t", title="T", columns=("a", "b"), rows=({"a": 1},))


# Formats

AWKWARD = st.text() | st.sampled_from(
    [
        "a|b",
        "a\\|b",
        "R&D_50%",
        "=1+1",
        " +cmd|' /C calc'!A0",
        "-2",
        "@x",
        "one\ntwo\r\n",
        "[x]",
        "\\",
    ]
)
CELLS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def any_tables(draw: st.DrawFn) -> Table:
    columns = tuple(draw(st.lists(AWKWARD, min_size=1, max_size=4, unique=True)))
    cells = st.tuples(*(CELLS | AWKWARD for _ in columns))
    rows = tuple(dict(zip(columns, row, strict=True)) for row in draw(st.lists(cells, max_size=4)))
    return Table(
        name="t",
        title=draw(AWKWARD),
        columns=columns,
        rows=rows,
        notes=tuple(draw(st.lists(AWKWARD, max_size=2))),
    )


def render(name: str, table: Table) -> str:
    return FORMATS[name].render(table)


@given(any_tables())
def test_csv_reads_back_and_runs_nothing(table: Table) -> None:
    lines = list(csv.reader(io.StringIO(render("csv", table), newline="")))
    assert len(lines) == 1 + len(table.rows)
    cells = [*table.columns, *(cell for row in table.rows for cell in row.values())]
    for read, cell in zip((text for line in lines for text in line), cells, strict=True):
        if isinstance(cell, str):
            assert read in {cell, f"'{cell}"}
            assert not read.lstrip().startswith(("=", "+", "-", "@"))
        elif cell is None:
            assert read == ""
        elif not isinstance(cell, bool):
            assert float(read) == float(cell)


@given(any_tables())
def test_json_reads_back_as_it_was(table: Table) -> None:
    read = json.loads(render("json", table))
    assert read == {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [dict(row) for row in table.rows],
        "notes": list(table.notes),
    }


@given(any_tables())
def test_markdown_keeps_its_columns(table: Table) -> None:
    lines = render("markdown", table).split("\n")
    body = [line for line in lines if line.startswith("| ")]
    assert len(body) == 2 + len(table.rows)
    for line in body:
        bars = re.findall(r"(?:\\.)|(\|)", line)
        assert bars.count("|") == 1 + len(table.columns)


@given(any_tables())
def test_latex_is_balanced(table: Table) -> None:
    text = render("latex", table)
    bare = re.sub(r"\\[\\{}$&#%_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[#%~^_]", bare)
    assert bare.count("$") % 2 == 0
    rows = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert len(rows) == len(table.rows)
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == len(table.columns) - 1
        assert not row.startswith(("[", "*")), "it would be an argument of the \\\\ before"


def test_people_read_rounded_numbers_and_programs_all_digits() -> None:
    table = Table(
        name="t",
        title="T",
        columns=("n", "p"),
        rows=({"n": 1234567, "p": 0.123456789},),
        notes=("note",),
    )
    assert "| 1,234,567 | 0.1235 |" in render("markdown", table)
    assert "1234567,0.123456789" in render("csv", table)
    assert "- note" in render("markdown", table)


def test_only_other_data_than_the_papers_is_told_apart() -> None:
    from edgekit.report.accuracy import accuracy_table

    adience = an_accuracy(dataset="faces", protocol="Adience (aligned), official fold 0")
    other = an_accuracy(dataset="utkface", protocol="UTKFace mapped to Adience bins")
    (note,) = (n for n in accuracy_table([adience, other]).notes if "do not rank" in n)
    assert note.startswith("Our numbers are on UTKFace mapped to Adience bins, the published")
    assert not any("do not rank" in n for n in accuracy_table([adience]).notes)
