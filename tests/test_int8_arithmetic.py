"""int8 holds on an x86 CPU with VNNI and on one without it: its artifacts answer the same on both.

Without VNNI a CPU adds two products of uint8 × int8 in 16 bits. Weights of 8 bits overflow there.
edgekit builds weights of 7 bits (backends/openvino.py, backends/onnx.py), which cannot; oneDNN,
under OpenVINO, can be held to a smaller instruction set, so one machine shows both. For a target
that adds in 32 bits ONNX and OpenVINO get 8 bits; where such a file runs elsewhere, the runner
tells ONNX Runtime to add in 32 bits, and refuses OpenVINO's. QEMU shows an older CPU.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_cli
from PIL import Image

from edgekit.devices.emulator.qemu import fetch
from edgekit.devices.emulator.sysroot import find_qemu, home
from edgekit.onboard import runner

HERE = Path(__file__).parent
NONE: dict[str, str] = {}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")

RUN = """
import json, sys
import numpy as np, openvino as ov
from edgekit.onboard.runner import openvino_settings
path, images, eight_bits = sys.argv[1], np.load(sys.argv[2]), sys.argv[3] == "8"
model = ov.Core().read_model(path)
weights = {}
for op in model.get_ordered_ops():
    if op.get_type_name() == "Constant" and op.get_element_type() == ov.Type.i8:
        value = op.get_data()
        if value.ndim < 2:
            continue
        weights[op.get_friendly_name()] = [list(value.shape), int(abs(value.astype(int)).max())]
        if eight_bits:
            twin = ov.op.Constant(np.clip(value.astype(int) * 2, -127, 127).astype(np.int8))
            for port in op.output(0).get_target_inputs():
                port.replace_source_output(twin.output(0))
settings = {**openvino_settings(1), "PERF_COUNT": "YES"}
compiled = ov.Core().compile_model(model, "CPU", settings)
request = compiled.create_infer_request()
rows = []
for image in images:
    request.infer([image[None]])
    rows.append([request.get_tensor(port).data.ravel().tolist() for port in compiled.outputs])
kernels = sorted({p.exec_type for p in request.profiling_info if p.node_type in LAYERS})
print(json.dumps({"rows": rows, "kernels": kernels, "weights": weights}))
""".replace("LAYERS", repr(LAYERS))


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures from black to white, for which sums of products grow largest."""
    folder = tmp_path_factory.mktemp("bright")
    draw = np.random.default_rng(5)
    for number in range(12):
        low = 20 * number
        pixels = draw.integers(low, low + 36, (32, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    Image.fromarray(np.full((32, 48, 3), 255, np.uint8)).save(folder / "white.png")
    return folder


@pytest.fixture(scope="module")
def pixels(bright: Path) -> Path:
    path = bright.parent / f"{bright.name}.npy"
    np.save(path, np.stack([np.asarray(Image.open(p)) for p in sorted(bright.iterdir())]))
    return path


@pytest.fixture(scope="module")
def artifacts(bright: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saturating") / "out"
    kinds = ("--backend", "openvino", "--precision", "int8")
    images = ("--calibration", bright, "--images", bright)
    done = run_cli("convert", "fault_models:saturating", *kinds, *images, "-o", out, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return out


def run(
    model: Path, pixels: Path, *, bits: int = 7, environment: dict[str, str] = NONE
) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, model, pixels, str(bits)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def furthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference of two runs, as a share of the output's largest value."""
    pairs = zip(zip(*one["rows"], strict=True), zip(*other["rows"], strict=True), strict=True)
    shares = []
    for mine, theirs in pairs:  # output by output, all images of it
        x, y = np.array(mine), np.array(theirs)
        shares.append(float(abs(x - y).max() / abs(x).max()))
    return max(shares)


@pytest.mark.slow
def test_openvino_int8_answers_the_same_with_and_without_vnni(
    artifacts: Path, pixels: Path
) -> None:
    if not re.search("vnni", Path("/proc/cpuinfo").read_text()):
        pytest.skip("this CPU has no VNNI: every other test here runs without it")
    model = artifacts / "openvino-int8" / "model.xml"
    here, older = run(model, pixels), run(model, pixels, environment=AVX2)
    assert any("avx2" in kernel for kernel in older["kernels"])
    assert not any("avx512" in kernel or "vnni" in kernel for kernel in older["kernels"])
    assert here["kernels"] != older["kernels"]
    assert furthest(here, older) < 1e-4
    # What the 7 bits are for: the same network with weights of 8 bits overflows without VNNI.
    assert furthest(run(model, pixels, bits=8), run(model, pixels, bits=8, environment=AVX2)) > 0.1


@pytest.mark.slow
def test_openvino_int8_weights_overflow_16_bits_nowhere(artifacts: Path, pixels: Path) -> None:
    """2 × 255 × 64 fits; a depthwise layer adds nothing in 16 bits and may have 8 bits."""
    weights = run(artifacts / "openvino-int8" / "model.xml", pixels)["weights"].values()
    depthwise = [most for shape, most in weights if len(shape) == 5 and shape[1:3] == [1, 1]]
    assert len(weights) == 7
    assert len(depthwise) == 1
    others = [most for shape, most in weights if len(shape) != 5 or shape[1:3] != [1, 1]]
    assert max(others) <= 64


BUILD = """
import sys
import types
from pathlib import Path
from importlib import import_module
from edgekit.conversion.calibration import load_recipe
from edgekit.conversion.export import ExportRequest, export
from edgekit.conversion.sources import SourceRequest
backend, pictures, folder = sys.argv[1:]
source = SourceRequest(locator="fault_models:saturating")
recipe = load_recipe("default")
asked = ExportRequest(source=source, folder=folder, raw_input=False, images=pictures,
                      calibration=pictures, recipe=recipe, wide_int8=True)
build = import_module(f"edgekit.backends.{backend}").build
print(build(export(asked, lambda text: None), "int8", Path(folder), ()).notes)
"""


def built(backend: str, images: Path, folder: Path) -> str:
    """Build int8 for a target that adds in 32 bits; return its notes."""
    made = subprocess.run(
        [sys.executable, "-c", BUILD, backend, images, folder],
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


@pytest.mark.slow
def test_openvino_int8_has_8_bits_where_both_cpus_add_in_32(
    bright: Path, pixels: Path, tmp_path: Path
) -> None:
    """The target's CPU and this one, which proves it: without VNNI here, 7 bits stay."""
    notes = built("openvino", bright, tmp_path)
    weights = run(tmp_path / "model.xml", pixels)["weights"].values()
    most = max(most for shape, most in weights if len(shape) != 5 or shape[1:3] != [1, 1])
    assert (most > 64) is runner.adds_in_32_bits()
    assert (runner.WIDE_INT8 in notes) is runner.adds_in_32_bits()


def test_a_layer_that_openvino_has_no_kernel_for_is_named_by_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a Cortex-A72 it died of MobileNet v2 in int8: `object is not initialized`."""

    class Core:
        def compile_model(self, *_: object) -> None:
            raise RuntimeError("core.cpp:132:\nplugin.cpp:59:\nobject is not initialized\n")

    monkeypatch.setitem(sys.modules, "openvino", types.SimpleNamespace(Core=Core))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(runner, "_read", lambda path: "Features : fp asimd evtstrm crc32 cpuid")
    with pytest.raises(ValueError, match="half precision on Arm, and this CPU has none: take its"):
        runner.load_openvino("model.xml", {"precision": "int8"}, 1)
    monkeypatch.setattr(runner, "_read", lambda path: "Features : fp asimd asimdhp asimddp")
    with pytest.raises(RuntimeError, match="object is not initialized"):
        runner.load_openvino("model.xml", {"precision": "int8"}, 1)


def test_the_runner_refuses_8_bits_on_a_cpu_that_they_overflow_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(runner, "_read", lambda path: "flags : fpu avx2 fma")
    with pytest.raises(ValueError, match="overflow on this CPU, which has no VNNI"):
        runner.load_openvino("model.xml", {"notes": [runner.WIDE_INT8]}, 1)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert runner.adds_in_32_bits()


ONNX = """
import sys
import types
import numpy as np
from edgekit.onboard import runner
path, images, out, careful = sys.argv[1:]
options = runner.onnxruntime_options(1)
if careful == "0":
    options.add_session_config_entry("session.x64quantprecision", "0")
session = runner.onnxruntime_session(path, options)
rows = [session.run(None, {"image": image[None]}) for image in np.load(images)]
np.savez(out, *(np.stack(column) for column in zip(*rows)))
"""


@pytest.mark.slow
def test_onnx_int8_answers_the_same_on_a_cpu_without_vnni(
    bright: Path, pixels: Path, tmp_path: Path
) -> None:
    qemu = find_qemu() or fetch(home() / "qemu", home() / "apt/host", home() / "debs")
    emulator = (*qemu.command[:-1], qemu.command[-1].replace("aarch64", "x86_64"))
    built("onnx", bright, tmp_path)

    def answers(name: str, careful: str, *command: str) -> list[np.ndarray[Any, Any]]:
        told = (tmp_path / "model.onnx", pixels, tmp_path / f"{name}.npz", careful)
        subprocess.run([*command, sys.executable, "-c", ONNX, *told], check=True)
        with np.load(tmp_path / f"{name}.npz") as saved:
            return [saved[key] for key in saved.files]

    def furthest(found: list[np.ndarray[Any, Any]]) -> float:
        pairs = zip(found, here, strict=True)
        return max(float(abs(x - y).max() / abs(y).max()) for x, y in pairs)

    here = answers("here", "1")
    assert furthest(answers("older", "1", *emulator, "-cpu", "Haswell")) < 1e-3
    assert furthest(answers("careless", "0", *emulator, "-cpu", "Haswell")) > 0.1
