"""`convert --target`: what a board can run, which artifact to ship there, and the real thing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from command_line import Cli, one_line_error

from edgekit.artifact import Artifact, load_artifact
from edgekit.best.choose import basis_of, cheapest, choose
from edgekit.best.plan import backends_for, precisions_for
from edgekit.cli.convert_board import board_notes, short_board_rows
from edgekit.conversion.board import Cost, OnBoard, Trial
from edgekit.errors import UserError
from edgekit.targets import load_target

HERE = Path(__file__).parent


def trial(name: str, seconds: float | None = None, count: int | None = None) -> Trial:
    """An artifact whose predicted time is known to a tenth."""
    backend, _, precision = name.partition("-")
    manifest = SimpleNamespace(backend=backend, precision=precision)
    near = (None, None) if seconds is None else (seconds * 0.9, seconds * 1.1)
    cost = Cost(seconds=seconds, low=near[0], high=near[1], instructions=count)
    artifact = cast(Artifact, SimpleNamespace(manifest=manifest))
    return Trial(artifact=artifact, runtime="", cost=cost)


# Choosing


def test_the_fastest_is_shipped_and_no_other_is_judged() -> None:
    fast, slow = trial("a-int8", 1.0, 9), trial("b-fp32", 3.0, 5)
    asked: list[str] = []

    def lost(item: Trial) -> tuple[float, int, str]:
        asked.append(item.name)
        return 0.2, 64, ""

    trials, pick = choose([slow, fast], "predicted", 0.5, lost)
    assert pick is not None and pick.name == "a-int8" and pick.lost == 0.2
    assert asked == ["a-int8"]
    assert [item.lost for item in trials] == [None, 0.2]


def test_where_predictions_overlap_the_exact_count_decides() -> None:
    """A tenth apart by a model that errs by a tenth: nobody knows which is faster."""
    first, second = trial("a-int8", 1.0, 17), trial("b-fp32", 1.1, 8)
    assert cheapest([first, second], "predicted") is second
    assert cheapest([first, trial("c-fp32", 2.0, 1)], "predicted") is first


def test_one_that_loses_too_much_is_passed_over_and_the_next_is_judged() -> None:
    losses = {"a-int8": 3.0, "b-int8": 0.4}
    items = [trial("c-fp32", 4.0, 40), trial("b-int8", 2.0, 20), trial("a-int8", 1.0, 10)]
    trials, pick = choose(items, "predicted", 0.5, lambda item: (losses[item.name], 64, ""))
    assert pick is not None and pick.name == "b-int8"
    assert {item.name: item.lost for item in trials} == {
        "a-int8": 3.0,
        "b-int8": 0.4,
        "c-fp32": None,
    }


def test_what_failed_on_the_board_is_not_chosen_nor_what_dies_while_it_is_judged() -> None:
    broken = replace(trial("a-int8", 1.0, 1), fault="illegal instruction")
    dies, sound = trial("b-int8", 2.0, 2), trial("c-fp32", 3.0, 3)

    def lost(item: Trial) -> tuple[float | None, int, str]:
        return (None, 0, "out of memory") if item is dies else (0.0, 9, "")

    trials, pick = choose([broken, dies, sound], "predicted", 0.5, lost)
    assert pick is not None and pick.name == "c-fp32"
    assert [item.fault for item in trials] == ["illegal instruction", "out of memory", ""]


def test_nothing_is_shipped_where_all_lose_too_much() -> None:
    _, pick = choose([trial("a-int8", 1.0, 1)], "predicted", 0.5, lambda item: (9.0, 64, ""))
    assert pick is None


def test_times_rank_only_where_all_have_them() -> None:
    timed, counted = trial("a-int8", 1.0, 17), trial("b-fp32", None, 8)
    assert basis_of([timed], emulated=True) == "predicted"
    assert basis_of([timed], emulated=False) == "measured"
    assert basis_of([timed, counted], emulated=True) == "counted"
    assert cheapest([timed, counted], "counted") is counted
    assert basis_of([trial("c-fp32")], emulated=True) == "nothing"


# What a board can run


def test_a_board_gets_what_it_has_a_runtime_for() -> None:
    pi = load_target("rpi4")
    assert backends_for(pi, None) == ("onnx", "tflite", "openvino", "ncnn")
    assert backends_for(pi, ["ncnn"]) == ("ncnn",)
    with pytest.raises(UserError, match="rpi4 has no runtime for torch artifacts: it runs onnx"):
        backends_for(pi, ["onnx", "torch"])
    assert "int8-dynamic" in precisions_for(pi)


@pytest.mark.parametrize("option", [("--best",), ("--device", "virtual")])
def test_a_board_must_be_named(cli: Cli, tmp_path: Path, option: tuple[str, ...]) -> None:
    done = cli("convert", "multitask-cnn", *option, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "name it with --target" in one_line_error(done)


# What is shown


def test_the_table_says_which_to_ship_and_how_that_was_found(converted: Path) -> None:
    fp32, int8 = (load_artifact(converted / f"onnx-{name}") for name in ("fp32", "int8"))
    best = Trial(
        artifact=int8, runtime="onnxruntime", parity=int8.manifest.parity, lost=0.3, judged=500,
        cost=Cost(seconds=0.002, low=0.0018, high=0.0022, instructions=5_400_000),
    )  # fmt: skip
    other = Trial(
        artifact=fp32, runtime="onnxruntime", parity=fp32.manifest.parity,
        cost=Cost(seconds=0.004, low=0.003, high=0.005, instructions=9_000_000),
    )  # fmt: skip
    board = OnBoard(
        target="rpi5", title="Raspberry Pi 5", device="virtual", provenance="emulated",
        trials=(other, best), basis="predicted", asked=True, max_drop=0.5, labelled=True, pick=best,
    )  # fmt: skip
    first, second = short_board_rows(board)
    assert (first["artifact"], first["result"], first["lost"]) == ("onnx-int8", "ship", "0.3")
    assert (second["artifact"], second["result"], second["lost"]) == (
        "onnx-fp32",
        "costs more",
        "–",
    )
    assert first["instructions"] == "5.40 M" and first["predicted ms"] == "2.0 [1.8, 2.2]"
    ship, ranked, *_ = board_notes(board, Path("out"))
    assert ship == (
        "ship out/onnx-int8: it loses 0.3 points of accuracy on 500 labelled images, 0.5 allowed"
    )
    assert "fewest predicted milliseconds" in ranked
    nothing = replace(board, pick=None)
    assert board_notes(nothing, Path("out"))[0].startswith("no artifact loses at most 0.5 points")


# The real thing: this machine is a board too, measured


def test_the_best_artifact_for_this_machine(cli: Cli, tmp_path: Path, pictures: Path) -> None:
    done = cli(
        "convert", "user_models:small", "--target", "host", "--best", "--backend", "onnx",
        "--calibration", pictures, "--max-drop", "100", "--json", "-o", tmp_path / "out", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    rows = {row["artifact"]: row for row in shown["rows"] if "result" in row}
    assert set(rows) == {"onnx-fp32", "onnx-int8"}
    picked = [name for name, row in rows.items() if row["result"] == "ship"]
    assert len(picked) == 1
    assert shown["notes"][0].startswith(f"ship {tmp_path / 'out' / picked[0]}: it loses ")
    for row in rows.values():
        assert row["provenance"] == "measured" and row["seconds"] > 0
        assert row["instructions"] is None and not row["fault"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rpi4", "rpi5"])
def test_the_best_artifact_for_an_emulated_board(
    cli: Cli, tmp_path: Path, pictures: Path, name: str
) -> None:
    done = cli(
        "convert", "user_models:small", "--target", name, "--best", "--backend", "tflite",
        "--backend", "ncnn", "--calibration", pictures, "--json", "-o", tmp_path / "out", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["artifact"]: row for row in json.loads(done.stdout)["rows"] if "result" in row}
    assert len(rows) == 5
    (picked,) = (row for row in rows.values() if row["result"] == "ship")
    assert picked["provenance"] == "emulated" and picked["points_lost"] <= 2
    assert picked["low"] <= picked["seconds"] <= picked["high"]
    assert all(row["instructions"] > 0 and row["agreement"] >= 0.9 for row in rows.values())
