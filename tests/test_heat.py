"""Sustained runs: the heat curve, and what may be said of a ranking that heat changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli, one_line_error
from null_artifacts import null_artifact
from pictures import few
from records import a_measurement, a_round

from edgekit.artifact import Precision
from edgekit.devices import open_device
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.measurement.heat_curve import heat_curve, heat_notes
from edgekit.records import Measurement
from edgekit.results import load_results, save
from edgekit.session import entry
from edgekit.targets import load_target

HOST = load_target("host")


def sustained(precision: Precision, milliseconds: list[float], **changes: Any) -> Measurement:
    """A run whose rounds have these medians, each with a little of its own noise."""
    rounds = tuple(
        a_round(
            tuple(value / 1000 * (1 + 0.001 * (i % 7)) for i in range(30)),
            start_s=30.0 * number,
            temperature_c=(50.0 + number, None, 51.0 + number, 50.5 + number),
            clock_mhz=(1800.0, 1800.0, 1800.0 - 100 * number, None),
        )
        for number, value in enumerate(milliseconds)
    )
    return a_measurement("model", precision=precision, rounds=rounds, **changes)


def test_the_curve_has_a_row_a_round_with_each_artifacts_time() -> None:
    fp32, int8 = sustained("fp32", [10, 10, 11]), sustained("int8", [5, 5])
    int8 = replace(
        int8, rounds=(int8.rounds[0], replace(int8.rounds[1], throttled=("0x0", "0x4", "0x0")))
    )
    curve = heat_curve([fp32, int8])
    assert [row["minute"] for row in curve] == [0, 0.5, 1]
    assert [row["temperature_c"] for row in curve] == [51, 52, 53]
    assert [row["clock_mhz"] for row in curve] == [1800, 1700, 1600]
    assert [row["throttled"] for row in curve] == [False, True, False]
    assert curve[2]["onnx fp32 p50_ms"] == pytest.approx(11, rel=0.01)
    assert curve[1]["onnx int8 p50_ms"] == pytest.approx(5, rel=0.01)
    assert curve[2]["onnx int8 p50_ms"] is None


def test_a_board_that_does_not_tell_leaves_gaps_not_zeros() -> None:
    silent = a_round(clock_mhz=(None,) * 4, temperature_c=(None,) * 4, throttled=(None,) * 4)
    (row,) = heat_curve([a_measurement(rounds=(silent,))])
    assert row["p50_ms"] == pytest.approx(10)
    assert row["throttled"] is None, "unknown is not no"
    assert (row["minute"], row["temperature_c"], row["clock_mhz"]) == (None, None, None)


def test_a_ranking_that_turns_over_is_said_with_both_claims() -> None:
    steady, fades = (
        sustained("fp32", [10.0, 10.1, 9.9] * 5),
        sustained("int8", [8.0] * 9 + [16.0] * 6),
    )
    notes = heat_notes([steady, fades])
    assert notes[-1] == "the ranking at the end is not the ranking at the start"
    (claims,) = [line for line in notes if line.startswith("at the start ")]
    start, end = claims.split("; at the end ")
    assert start.startswith("at the start model onnx int8 is 1.25")
    assert end.startswith("model onnx fp32 is 1.60")
    (slower,) = [line for line in notes if "times as long" in line]
    assert slower.startswith("model onnx int8 takes 2.00")


def test_medians_that_cross_within_their_intervals_claim_nothing() -> None:
    noisy = sustained("fp32", [10, 14, 8, 13, 9, 12, 11, 8, 14])
    other = sustained("int8", [9, 8, 14, 12, 10, 13, 14, 12, 9])
    assert heat_notes([noisy, other]) == ["no ranking of the start is reversed at the end"]


def test_too_few_rounds_say_so() -> None:
    (note,) = heat_notes([sustained("fp32", [10] * 5), sustained("int8", [9] * 5)])
    assert note.startswith("under 6 rounds")


def test_rounds_go_on_for_the_time_and_an_interrupted_run_gets_only_the_rest(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = tuple(entry(null_artifact(tmp_path / name, name)) for name in ("one", "two"))
    request = BenchRequest(
        entries=entries, target=HOST, images=few(pictures), results=tmp_path / "results",
        min_seconds=0.0, warmup_max_seconds=0.1, sustained=1.0,
    )  # fmt: skip
    now = [0.0]
    monkeypatch.setattr("edgekit.measurement.bench.time.monotonic", lambda: now[0])
    device = open_device("local", HOST)

    def six_rounds_a_minute(row: str, text: str) -> None:
        now[0] += 5.0
        if (row, text) == ("two null fp32", "round 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(request, device, six_rounds_a_minute)
    first = load_results(request.results)[0]
    assert sorted(len(row.rounds) for row in first) in ([3, 3], [3, 4])
    assert not any(row.ended for row in first)
    # What the first rounds computed counts: as if it had been 50 seconds.
    for row in first:
        long = replace(row.rounds[0], load_s=25.0)
        save(replace(row, rounds=(long, *row.rounds[1:])), request.results)
    rows = bench(request, device, lambda row, text: now.__setitem__(0, now[0] + 5.0))
    device.close()
    assert [len(row.rounds) for row in rows] in ([4, 4], [5, 5])
    assert all(row.ended for row in rows) and load_results(request.results) == (rows, [])
    assert {row.run for row in rows} == {row.run for row in first}
    begun = [item.start_s for item in rows[0].rounds]
    assert None not in begun and begun == sorted(begun)  # type: ignore[type-var]


def test_an_emulated_board_does_not_get_warm(cli: Cli, tmp_path: Path) -> None:
    null_artifact(tmp_path / "model")
    command = ("bench", tmp_path / "model", "--target", "rpi4", "--sustained", "1")
    assert "--sustained" in one_line_error(cli(*command))
