"""`convert --target`: what a board can run, which artifact to ship there, and the real thing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from command_line import Cli, one_line_error

from edgekit.artifact import Artifact, load_artifact, write_manifest
from edgekit.best.choose import basis_of, cheapest, choose
from edgekit.best.convert import settle_half
from edgekit.best.plan import adds_in_32_bits, backends_for, precisions_for
from edgekit.cli.convert_board import board_notes, short_board_rows
from edgekit.conversion.board import Cost, OnBoard, Trial
from edgekit.conversion.parity import judge
from edgekit.conversion.pipeline import Conversion, Row
from edgekit.errors import UserError
from edgekit.graph import ExportedGraph
from edgekit.onboard import runner
from edgekit.spec import OutputSpec
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


@pytest.mark.parametrize(
    ("name", "wide"),
    [("rpi4", True), ("rpi5", True), ("x86-avx512-vnni", True), ("x86-avx2", False),
     ("host", False)],
)  # fmt: skip
def test_8_bit_weights_are_for_boards_that_add_in_32_bits(name: str, wide: bool) -> None:
    """`host` is whatever CPU is there: nobody knows where its artifacts go."""
    assert adds_in_32_bits(load_target(name)) is wide


# Half precision


@pytest.mark.parametrize("target", [(), ("--target", "rpi4")])
def test_half_precision_needs_a_board_that_has_it(
    cli: Cli, tmp_path: Path, target: tuple[str, ...]
) -> None:
    done = cli(
        "convert", "multitask-cnn", *target, "--precision", "fp16-compute", "-o", tmp_path / "out"
    )
    assert done.returncode == 2
    assert "proven by the board that computes it: give --target rpi5" in one_line_error(done)


def test_a_board_with_half_precision_gets_it() -> None:
    assert "fp16-compute" in precisions_for(load_target("rpi5"))
    assert "fp16-compute" not in precisions_for(load_target("rpi4"))


@pytest.fixture
def half(converted: Path, tmp_path: Path) -> Artifact:
    """An artifact that computes in half precision, as it leaves the build: no board has seen it."""
    folder = tmp_path / "tflite-fp16-compute"
    shutil.copytree(converted / "tflite-fp32", folder)
    manifest = load_artifact(folder).manifest
    return write_manifest(folder, replace(manifest, precision="fp16-compute"))


def settled(artifact: Artifact, *trials: Trial, note: str = "") -> Conversion:
    row = Row(backend="tflite", precision="fp16-compute", seconds=1.0)
    made = Conversion(
        graph=cast(ExportedGraph, None), rows=(row,), artifacts=(artifact,), board=None
    )
    board = OnBoard(
        target="rpi5", title="Pi 5", device="virtual", provenance="emulated", trials=trials,
        notes=(note,),
    )  # fmt: skip
    return settle_half(made, board)


def test_a_proof_of_half_precision_is_the_boards(half: Artifact) -> None:
    parity = replace(half.manifest.parity, bar="the board's bar")
    conversion = settled(half, Trial(artifact=half, runtime="ai_edge_litert", parity=parity))
    kept = load_artifact(half.folder).manifest
    assert kept.parity.bar == "the board's bar"
    assert "proven on virtual (Pi 5)" in kept.notes[-1]
    assert conversion.artifacts[0].manifest == kept and not conversion.rows[0].error


def test_half_precision_that_no_board_proved_is_removed(half: Artifact) -> None:
    fault = "'age' is 0.9 off, 0.1 allowed"
    conversion = settled(half, Trial(artifact=half, runtime="ai_edge_litert", fault=fault))
    assert not half.folder.exists() and not conversion.artifacts
    assert conversion.rows[0].error == fault


def test_half_precision_without_its_virtual_board_is_removed(half: Artifact) -> None:
    conversion = settled(half, note="not proven on rpi5: the virtual rpi5 is not installed")
    assert not half.folder.exists()
    assert "is not installed" in str(conversion.rows[0].error)


@pytest.mark.skipif(runner.has_half(), reason="this CPU computes in half precision")
def test_half_precision_is_not_timed_where_float32_would_be(half: Artifact) -> None:
    manifest = json.loads((half.folder / "manifest.json").read_text())
    assert not runner.computes_in_half(manifest)
    with pytest.raises(ValueError, match="it would time float32"):
        runner.job_bench({"artifact": str(half.folder)}, runner.RUNTIMES)


@pytest.mark.parametrize(("features", "there"), [("fp asimd", False), ("fp asimdhp cpuid", True)])
def test_half_precision_is_a_feature_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, features: str, there: bool
) -> None:
    text = f"processor\t: 0\nFeatures\t: {features}\nCPU part\t: 0xd0b\n"
    monkeypatch.setattr(runner, "_read", lambda path: text)
    assert runner.has_half() is there
    assert runner.computes_in_half({"precision": "fp16-compute"}) is there
    assert not runner.computes_in_half({"precision": "fp16"})


@pytest.mark.parametrize(("off", "passes"), [(0.02, True), (0.2, False)])
def test_half_precision_may_be_three_hundredths_off(off: float, passes: bool) -> None:
    import numpy as np

    reference = {"x": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)}
    ours = {"x": reference["x"] + np.float32(off)}
    spec = OutputSpec("x", "classification", ("a", "b"))
    judged = judge(ours, reference, (spec,), "fp16-compute", ("1", "2"))
    assert judged.passed is passes and "of the largest value" in judged.bar


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
    record = board.choice("edgekit convert")
    first, second = short_board_rows(board, record)
    assert (first["artifact"], first["result"], first["lost"]) == ("onnx-int8", "ship", "0.3")
    assert (second["artifact"], second["result"], second["lost"]) == (
        "onnx-fp32",
        "slower",
        "–",
    )
    assert first["million instr."] == "5.40" and first["predicted ms"] == "2.0 [1.8, 2.2]"
    ship, ranked, *_ = board_notes(board, record, Path("out"))
    assert ship == (
        "ship out/onnx-int8: it loses 0.3 points of accuracy on 500 labelled images, 0.5 allowed"
    )
    assert "fewest predicted milliseconds" in ranked
    nothing = replace(board, pick=None)
    assert board_notes(nothing, nothing.choice(""), Path("out"))[0].startswith(
        "no artifact loses at most 0.5 points"
    )


# The real thing: this machine is a board too, measured


def test_the_best_artifact_for_this_machine(cli: Cli, tmp_path: Path, pictures: Path) -> None:
    done = cli(
        "convert", "user_models:small", "--target", "host", "--best", "--backend", "onnx",
        "--calibration", pictures, "--max-drop", "100", "--json", "-o", tmp_path / "out",
        "--results", tmp_path / "results", cwd=HERE,
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
    report = cli("report", "--results", tmp_path / "results", "-o", tmp_path / "tables")
    assert report.returncode == 0, report.stderr
    assert f"Ship {picked[0]}: " in report.stdout and "(measured)" in report.stdout
    shown = (tmp_path / "tables" / "report.md").read_text()
    assert "chosen by convert --best (measured)" in shown
    assert f"ship {picked[0]}: it loses " in shown and "fewest measured milliseconds" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rpi4", "rpi5"])
def test_the_best_artifact_for_an_emulated_board(
    cli: Cli, tmp_path: Path, pictures: Path, name: str
) -> None:
    done = cli(
        "convert", "user_models:small", "--target", name, "--best", "--backend", "tflite",
        "--backend", "ncnn", "--calibration", pictures, "--json", "-o", tmp_path / "out",
        "--results", tmp_path / "results", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["artifact"]: row for row in json.loads(done.stdout)["rows"] if "result" in row}
    half = {"tflite-fp16-compute"} if name == "rpi5" else set()
    common = {"tflite-fp32", "tflite-int8", "tflite-int8-dynamic", "ncnn-fp32", "ncnn-int8"}
    assert set(rows) == common | half
    (picked,) = (row for row in rows.values() if row["result"] == "ship")
    assert picked["provenance"] == "emulated" and picked["points_lost"] <= 2
    assert picked["low"] <= picked["seconds"] <= picked["high"]
    assert all(row["instructions"] > 0 and row["agreement"] >= 0.9 for row in rows.values())
