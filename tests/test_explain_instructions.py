"""Instructions per operator: the emulator's counts put to what a runtime's profiler tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import bad_models
import numpy as np
import pytest
from bad_artifacts import onnx_fp32, openvino_fp32, openvino_int8, tflite_fp32
from PIL import Image

import edgekit.explain
from edgekit.artifact import Artifact, write_manifest
from edgekit.devices import Device
from edgekit.devices.emulator.install import install
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.local import LocalDevice
from edgekit.devices.virtual import VirtualDevice
from edgekit.emulation.emulate import emulate
from edgekit.errors import DeviceError
from edgekit.explain import Explanation, cuts, explain
from edgekit.explain.instructions import counted
from edgekit.explain.operators import Operator
from edgekit.targets import load_target

HOST = load_target("host")


def operators(*milliseconds: float) -> list[Operator]:
    return [
        Operator(name=f"o{i}", kind="Conv", place="", inputs=(), outputs=(), seconds=ms / 1e3)
        for i, ms in enumerate(milliseconds)
    ]


def write_looks(folder: Path, *calls: list[tuple[int, float]]) -> None:
    """Write what the plugin does: looks at the clock, of instructions and milliseconds.

    Thread 7 only waits: it looks now and then, in the middle of what thread 0 does.
    """
    lines = [
        f"{pair} {thread} {instructions + thread} {round(ms * 1e6)}\n"
        for pair, looks in enumerate(calls)
        for place, (instructions, ms) in enumerate(looks)
        for thread in ((0, 7) if place % 3 == 1 else (0,))
    ]
    (folder / "clock.txt").write_text("".join(lines))
    (folder / "counts.txt").write_text("9 0 0 0\n" * len(calls))


CALL = [(5, 0.0), (10, 0.1), (12, 0.2), (112, 5.2), (115, 5.3), (120, 6.3), (130, 6.4), (140, 6.5)]
"""Three looks before the first of two operators, which take 5 and 1 ms, and two behind."""


def test_operators_are_found_among_other_looks_by_their_times(tmp_path: Path) -> None:
    later = [(i + 1 if i > 100 else i, ms) for i, ms in CALL]
    write_looks(tmp_path, [(9 * i, ms) for i, ms in CALL], later, CALL)
    found = counted(operators(5.0, 1.0), tmp_path, calls=3)
    assert [operator.instructions for operator in found] == [100, 5]


def test_looks_that_do_not_fit_the_operators_are_refused(tmp_path: Path) -> None:
    write_looks(tmp_path, CALL, CALL, CALL)
    with pytest.raises(DeviceError, match="looked at the clock 8 times for 5 operators"):
        counted(operators(1, 2, 3, 4, 5), tmp_path, calls=3)
    write_looks(tmp_path, *[[(i, float(i)) for i in range(40)]] * 3)
    with pytest.raises(DeviceError, match="40 times for 2 operators"):
        counted(operators(5.0, 1.0), tmp_path, calls=3)


def test_a_cut_that_costs_less_than_the_one_before_adds_nothing(tmp_path: Path) -> None:
    totals = [900, 50, 51, 900, 49, 49, 900, 70, 69]
    (tmp_path / "counts.txt").write_text("".join(f"{total} 0 0 0\n" for total in totals))
    found = counted(operators(0, 0, 0), tmp_path, calls=3)
    assert [operator.instructions for operator in found] == [50, 0, 19]
    with pytest.raises(DeviceError, match="3 were counted for 2 operators"):
        counted(operators(0, 0), tmp_path, calls=3)


def test_cuts_hold_only_the_weights_they_need(tmp_path: Path) -> None:
    model = tflite_fp32(tmp_path).folder / "model.tflite"
    folder = tmp_path / "cuts"
    folder.mkdir()
    cuts.cut(model, folder)
    sizes = [path.stat().st_size for path in sorted(folder.iterdir())]
    assert len(sizes) == 3 and sizes[0] < sizes[1] < sizes[2] <= 1.1 * model.stat().st_size


def test_a_model_too_large_to_cut_is_explained_without_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "MAX_BYTES", 100)
    result = explain(tflite_fp32(tmp_path), HOST)
    assert not result.timed and "too large" in result.doubts[-1]
    assert [operator.kind for operator in result.operators] == ["CONV_2D"] * 3


def test_openvino_operators_are_those_of_every_call(tmp_path: Path) -> None:
    """What it computes of constants while loading is no part of an inference."""
    folder = tmp_path / "a"
    folder.mkdir()
    names = [operator.name for operator in explain(openvino_int8(folder), HOST).operators]
    assert names and not [name for name in names if "input_low" in name or "input_high" in name]


def on_rpi4(made: Artifact, runtime: str | None = None) -> Explanation:
    target = load_target("rpi4")
    install(board_of(target))
    return explain(made, target, device="virtual", runtime=runtime)


@pytest.mark.slow
@pytest.mark.parametrize("make", [onnx_fp32, openvino_int8])
def test_a_runtimes_own_profile_is_counted_on_the_virtual_board(
    make: Callable[[Path], Artifact], tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    made = make(folder)
    first, second = on_rpi4(made), on_rpi4(made)
    assert first.counted and not first.timed and "no times" in first.doubts[-1]
    costs = {operator.name: operator.instructions for operator in first.operators}
    assert costs == pytest.approx({o.name: o.instructions for o in second.operators}, rel=0.02)
    # The widest convolution costs most: a profile that is off by one operator would not say so.
    assert max(first.operators, key=lambda o: o.instructions or 0).is_product


def draw(picture: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (bad_models.SIZE, bad_models.SIZE, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(picture)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["ai_edge_litert", "tflite_runtime"])
def test_the_operators_of_a_cut_graph_add_up_to_its_inference(runtime: str, tmp_path: Path) -> None:
    made = tflite_fp32(tmp_path)
    picture = tmp_path / "image.png"
    draw(picture)
    result = on_rpi4(made, runtime)
    (record,) = emulate(load_target("rpi4"), [made], [picture], runtime=runtime)
    assert record.instructions_per_inference is not None
    total = sum(operator.instructions or 0 for operator in result.operators)
    assert total == pytest.approx(record.instructions_per_inference, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "share"), [(tflite_fp32, 0.75), (openvino_fp32, 1.0)])
def test_half_precision_is_counted_as_the_board_computes_it(
    make: Callable[[Path], Artifact], share: float, tmp_path: Path
) -> None:
    """Against float32. OpenVINO gains little on layers as small as these."""
    folder = tmp_path / "a"
    folder.mkdir()
    made, target = make(folder), load_target("rpi5")
    install(board_of(target))
    single = products(explain(made, target, device="virtual"))
    half = write_manifest(folder, replace(made.manifest, precision="fp16-compute"))
    result = explain(half, target, device="virtual")
    halves = products(result)
    assert {o.arithmetic for o in single} == {"float"}
    assert {o.arithmetic for o in halves} == {"half"} and len(halves) == len(single)
    assert instructions(halves) < share * instructions(single)
    picture = tmp_path / "image.png"
    draw(picture)
    (record,) = emulate(target, [half], [picture])
    assert record.instructions_per_inference is not None
    total = instructions(result.operators)
    assert 0.5 * record.instructions_per_inference < total < 1.1 * record.instructions_per_inference


def products(result: Explanation) -> list[Operator]:
    return [operator for operator in result.operators if operator.is_product]


def instructions(found: Sequence[Operator]) -> int:
    return sum(operator.instructions or 0 for operator in found)


@pytest.mark.slow
def test_without_a_compiler_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, target = onnx_fp32(tmp_path), load_target("rpi4")
    board = install(board_of(target))

    def no_plugin(*given: object) -> Path:
        raise DeviceError("no C compiler (cc) to build the counting plugin with")

    def opened(name: str, target: object) -> Device:
        return VirtualDevice(board)

    monkeypatch.setattr(edgekit.explain, "open_device", opened)
    monkeypatch.setattr("edgekit.devices.emulator.counting.plugin", no_plugin)
    result = explain(made, target)
    assert result.operators and not result.counted
    assert "no C compiler (cc)" in result.doubts[-1]
    monkeypatch.setattr(edgekit.explain, "open_device", lambda *_: LocalDevice())
    assert "was not measured" in explain(made, target).doubts[-1]
