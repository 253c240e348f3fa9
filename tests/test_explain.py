"""`edgekit explain` on artifacts made slow on purpose, and on good ones."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bad_models
import numpy as np
import pytest
from bad_artifacts import (
    onnx_dynamic,
    onnx_fp32,
    onnx_int8,
    openvino_int8,
    tflite_fp32,
    tflite_int8,
)
from command_line import Cli, one_line_error

import edgekit.explain
from edgekit.artifact import (
    Artifact,
    load_artifact,
    write_manifest,
)
from edgekit.devices.local import LocalDevice
from edgekit.errors import DeviceError, UserError
from edgekit.explain import Explanation, explain
from edgekit.explain.findings import Case, judge
from edgekit.explain.operators import Operator, Tensor, read_operators
from edgekit.onboard import runner
from edgekit.paths import ONBOARD
from edgekit.session import PROFILER
from edgekit.targets import load_target

HOST = load_target("host")


def warnings(result: Explanation) -> list[str]:
    return [finding.what for finding in result.findings if finding.severity == "warning"]


TWO_CONVS = ("conv-2", "conv-3")
BAD: dict[str, tuple[Callable[[Path], Artifact], str]] = {
    "onnx: two layers left in float": (
        lambda f: onnx_int8(f, exclude=TWO_CONVS),
        "2 of 4 convolutions and matrix products of this int8 artifact ran in float",
    ),
    "onnx: Q/DQ around an operator without int8": (
        lambda f: onnx_int8(f, bad_models.LRN),
        "island of float between int8 layers: LRN",
    ),
    "onnx: batch norm unfused": (
        lambda f: onnx_int8(f, bad_models.BATCH_NORMED),
        "batch norm runs by itself, one more pass over its tensor",
    ),
    "onnx: a transpose pair": (
        lambda f: onnx_fp32(f, bad_models.TRANSPOSED),
        "layout changes that compute nothing",
    ),
    "onnx: dynamic range": (
        onnx_dynamic,
        "int8 weights with float activations (dynamic range): DynamicQuantizeLinear ×3, "
        "DynamicQuantizeMatMul",
    ),
    "tflite: a layer left in float": (
        lambda f: tflite_int8(f, keep_float="CONV_2D-1"),
        "1 of 3 convolutions and matrix products of this int8 artifact ran in float",
    ),
    "tflite: Q/DQ around an operator without int8": (
        lambda f: tflite_int8(f, "LRN"),
        "island of float between int8 layers: LOCAL_RESPONSE_NORMALIZATION",
    ),
    "tflite: LRN outside XNNPACK": (
        lambda f: tflite_fp32(f, "LRN"),
        "outside XNNPACK, cutting its part in 2: LOCAL_RESPONSE_NORMALIZATION",
    ),
    "tflite: batch norm unfused": (
        lambda f: tflite_fp32(f, "MUL", "ADD"),
        "batch norm runs by itself, one more pass over its tensor",
    ),
    "tflite: dynamic range": (
        lambda f: tflite_int8(f, static=False),
        "int8 weights with float activations (dynamic range): CONV_2D ×3",
    ),
    "openvino: two layers left in float": (
        lambda f: openvino_int8(f, exclude=TWO_CONVS),
        "2 of 4 convolutions and matrix products of this int8 artifact ran in float",
    ),
    "openvino: Q/DQ around an operator without int8": (
        lambda f: openvino_int8(f, bad_models.LRN),
        "island of float between int8 layers",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_was_made_bad_is_found(name: str, tmp_path: Path) -> None:
    make, expected = BAD[name]
    folder = tmp_path / "bad"
    folder.mkdir()
    result = explain(make(folder), HOST, count=200)
    found = [f for f in result.findings if f.what.startswith(expected)]
    assert found and found[0].severity == "warning", warnings(result)
    assert found[0].where and found[0].remedy
    assert result.timed and found[0].share is not None and 0 <= found[0].share <= 1


@pytest.mark.parametrize(
    "make",
    [onnx_int8, onnx_fp32, tflite_fp32, tflite_int8, openvino_int8],
    ids=lambda make: make.__name__,
)
def test_the_same_models_left_good_are_clean(
    make: Callable[[Path], Artifact], tmp_path: Path
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    result = explain(make(folder), HOST, count=20)
    assert warnings(result) == []
    wanted = "int8" if make.__name__.endswith("int8") else "float"
    assert {o.arithmetic for o in result.operators if o.is_product} == {wanted}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("backend", ["onnx", "tflite", "openvino", "ncnn"])
def test_our_own_artifacts_raise_no_false_alarm(
    converted: Path, backend: str, precision: str
) -> None:
    result = explain(load_artifact(converted / f"{backend}-{precision}"), HOST, count=20)
    assert warnings(result) == []
    assert sum(o.is_product for o in result.operators) == 15  # systems.toml: 11 + 4 layers
    assert sum(o.seconds or 0 for o in result.operators) > 0


def test_a_board_without_dot_product_is_told_for_int8_only(tmp_path: Path) -> None:
    for make, told in ((tflite_int8, 1), (tflite_fp32, 0)):
        folder = tmp_path / make.__name__
        folder.mkdir()
        result = explain(make(folder), load_target("rpi4"), device="local")
        assert sum(f.severity == "board" for f in result.findings) == told
        assert not any(
            f.severity == "board"
            for f in judge(
                Case(operators=result.operators, precision="int8", target="rpi5", dot_product=True)
            )
        )


def test_half_precision_that_this_cpu_lacks_is_told(tmp_path: Path) -> None:
    """The artifact runs, in float32: the costs are not those that its board will have."""
    made = tflite_fp32(tmp_path)
    half = write_manifest(made.folder, replace(made.manifest, precision="fp16-compute"))
    result = explain(half, load_target("rpi5"), device="local")
    if runner.has_half():
        assert {o.arithmetic for o in result.operators if o.is_product} == {"half"}
        return
    (told,) = (f for f in result.findings if f.severity == "board")
    assert "computed in float32" in told.what and "--target rpi5" in told.remedy
    assert {o.arithmetic for o in result.operators if o.is_product} == {"float"}


def test_what_falls_out_of_half_precision_is_a_warning() -> None:
    case = Case(
        operators=(product("a", "f16"), product("b", "f32"), product("c", "float16")),
        precision="fp16-compute",
        target="rpi5",
        dot_product=True,
    )
    (found,) = judge(case)
    assert found.severity == "warning" and found.where == "b"
    assert found.what.startswith("1 of 3 convolutions and matrix products ran in float32")
    assert not judge(replace(case, operators=(product("a", "f16"),)))
    assert not judge(replace(case, precision="fp16")), "it stores halves and computes in float32"


def product(name: str, kind: str) -> Operator:
    tensors = (Tensor(kind, (1, 8)),)
    return Operator(name=name, kind="Conv", place="", inputs=tensors, outputs=tensors, seconds=1.0)


def test_weights_that_are_only_stored_as_halves_are_no_half_precision() -> None:
    stored = {"type": "float16", "shape": [8]}, {"type": "float32", "shape": [8]}
    told = {"name": "d", "kind": "DEQUANTIZE", "place": "XNNPACK", "seconds": None}
    (operator,) = read_operators([told | {"inputs": [stored[0]], "outputs": [stored[1]]}])
    assert operator.arithmetic == "dequantize" and operator.inputs[0].bytes == 16


def test_another_target_gets_no_times_and_says_why(tmp_path: Path) -> None:
    result = explain(tflite_fp32(tmp_path, "LRN"), load_target("rpi4"), device="local")
    assert not result.timed
    assert all(operator.seconds is None for operator in result.operators)
    assert all(finding.share is None for finding in result.findings)
    assert warnings(result), "the static findings are still there"
    assert any("architecture" in doubt for doubt in result.doubts)


def test_an_emulated_board_gives_operators_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is the emulator's: whatever the profiler measured there is dropped."""

    class Emulated(LocalDevice):
        provenance = "emulated"

    monkeypatch.setattr(edgekit.explain, "open_device", lambda name, target: Emulated())
    result = explain(onnx_fp32(tmp_path), HOST)
    assert not result.timed and all(o.seconds is None for o in result.operators)


def test_a_board_that_is_not_installed_is_answered_by_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "a"
    folder.mkdir()
    result = explain(tflite_fp32(folder), load_target("rpi4"))
    assert result.device == "local" and not result.timed
    assert "edgekit device install rpi4" in result.doubts[0]


def test_the_profiler_needs_nothing_of_edgekit_but_the_runner(tmp_path: Path) -> None:
    made = tflite_fp32(tmp_path)
    for name in ("runner.py", PROFILER):
        shutil.copy(ONBOARD / name, tmp_path / name)
    np.save(tmp_path / "pixels.npy", np.zeros((1, 24, 24, 3), np.uint8))
    job = {"task": "profile", "artifact": str(made.folder), "runtime": "ai_edge_litert"}
    (tmp_path / "job.json").write_text(
        json.dumps(job | {"threads": 1, "pixels": "pixels.npy", "count": 3})
    )
    code = (
        "import sys, runner, profiler\n"
        "assert runner.main(['job.json'], jobs={'profile': profiler.job_profile}) == 0\n"
        "print({n.split('.')[0] for n in sys.modules} & {'edgekit', 'torch', 'msgspec'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={}
    )
    event, loaded = done.stdout.splitlines()
    assert loaded == "set()", done.stderr
    assert [o["kind"] for o in json.loads(event)["operators"]] == ["CONV_2D"] * 3
    ast.parse((ONBOARD / PROFILER).read_text(), feature_version=(3, 9))


UNTRUE = {"name": "a", "kind": "Conv", "place": "", "inputs": [], "outputs": []}


@pytest.mark.parametrize(
    "told",
    [
        [{"name": "a"}],
        ["operator"],
        [SimpleNamespace],
        [UNTRUE | {"seconds": -1.0}],
        [UNTRUE | {"seconds": float("nan")}],
    ],
)
def test_what_a_device_tells_is_not_trusted(told: list[Any]) -> None:
    with pytest.raises(DeviceError):
        read_operators(told)


def test_a_backend_without_operators_is_refused(converted: Path) -> None:
    with pytest.raises(UserError, match="onnx, tflite, openvino or ncnn"):
        explain(load_artifact(converted / "null-fp32"), HOST)


def test_the_command_prints_findings_and_operators(tmp_path: Path, cli: Cli) -> None:
    folder = tflite_int8(tmp_path, "LRN").folder
    done = cli("explain", folder, "--json")
    assert done.returncode == 0, done.stderr
    findings, operators = json.loads(done.stdout)
    assert {row["severity"] for row in findings["rows"]} >= {"warning"}
    assert sum(row["share_percent"] for row in operators["rows"]) == pytest.approx(100)
    text = cli("explain", folder)
    assert "LOCAL_RESPONSE_NORMALIZATION" in text.stdout and "2 to mend" in text.stdout
    assert "no artifact" in one_line_error(cli("explain", tmp_path / "none"))
    (folder / "model.tflite").write_bytes(b"damaged")
    assert "not the file its manifest describes" in one_line_error(cli("explain", folder))
