"""`edgekit convert`, as a user runs it: real conversions, and every kind of bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from command_line import Cli, one_line_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import draw_pictures
from user_models import Small

from edgekit.artifact import find_artifacts, load_artifact
from edgekit.graph.contract import Baked, Flat, reference_input
from edgekit.spec import InputSpec
from edgekit.zoo.checkpoint import save_weights

HERE = Path(__file__).parent
torch.set_num_threads(1)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_eight_artifacts_are_proven_against_the_model(converted: Path) -> None:
    artifacts = {(a.manifest.backend, a.manifest.precision): a for a in find_artifacts([converted])}
    assert set(artifacts) == {
        (backend, precision)
        for backend in ("onnx", "tflite", "openvino", "ncnn")
        for precision in ("fp32", "int8")
    } | {("null", "fp32")}
    for (backend, precision), artifact in artifacts.items():
        manifest = artifact.manifest
        if backend == "null":
            continue
        assert manifest.parity.passed
        assert len(manifest.parity.images) >= 16
        if precision == "fp32":
            assert manifest.parity.max_abs_diff <= 1e-4
            assert manifest.calibration is None
        else:
            assert manifest.calibration is not None
            assert len(manifest.calibration.samples) == 48
            assert artifact.bytes < 0.4 * artifacts[backend, "fp32"].bytes
        assert manifest.source.macs == 47_619_072
        assert manifest.source.parameters == 871_178


def test_int8_tflite_takes_pixel_minus_128(converted: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    artifact = load_artifact(converted / "tflite-int8")
    assert artifact.manifest.feed == "int8"
    (details,) = Interpreter(str(artifact.path)).get_input_details()
    scale, zero_point = details["quantization"]
    spec = artifact.manifest.image
    for pixel in (0, 1, 128, 254, 255):
        exact = pixel - spec.mean[0]  # the first layer's weights divide by the std
        assert scale * ((pixel - 128) - zero_point) == pytest.approx(exact, abs=1e-6)


def test_int8_onnx_weights_saturate_on_no_cpu(converted: Path) -> None:
    """uint8 × int8 products, two of them added in 16 bits: 2 × 255 × 64 fits, 2 × 255 × 128 not."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(str(load_artifact(converted / "onnx-int8").path))
    weights = [
        numpy_helper.to_array(tensor).astype(int)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1
    ]
    assert len(weights) >= 10
    assert max(abs(values).max() for values in weights) <= 64


@pytest.mark.slow
def test_converting_twice_gives_the_same_bytes(
    cli: Cli, out: Path, pictures: Path, small_converted: Path
) -> None:
    done = cli("convert", "user_models:small", "--calibration", pictures, "-o", out, cwd=HERE,
               PYTHONHASHSEED="1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = find_artifacts([small_converted]), find_artifacts([out])
    assert [a.manifest.files for a in one] == [a.manifest.files for a in two]
    assert len(one) == 6


@pytest.mark.slow
def test_a_channel_order_mean_and_crop_of_its_own_survive(
    cli: Cli, out: Path, pictures: Path
) -> None:
    done = cli(
        "convert", "user_models:imagenet", "--calibration", pictures, "-o", out, "--json", cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    rows = {(r["backend"], r["precision"]): r for r in json.loads(done.stdout)["rows"]}
    assert len(rows) == 6
    assert all(r["max_abs_diff"] <= 1e-4 for (_, p), r in rows.items() if p == "fp32")


@pytest.mark.slow
def test_int8_keeps_the_bias_of_a_channel_that_died(cli: Cli, out: Path, pictures: Path) -> None:
    """In units of input scale × weight scale such a bias does not fit in 32 bits."""
    done = cli("convert", "user_models:dying", "--precision", "int8", "--calibration", pictures,
               "-o", out, cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    parities = {a.manifest.backend: a.manifest.parity for a in find_artifacts([out])}
    assert set(parities) == {"onnx", "tflite", "openvino"}
    assert {name: p.max_abs_diff for name, p in parities.items() if p.max_abs_diff > 0.05} == {}
    # OpenVINO can be held to what a CPU without VNNI has; there 8-bit weights were off by 0.9.
    shown = ("predict", *sorted(pictures.iterdir())[:8], "-a", out / "openvino-int8", "--json")
    here, older = (
        json.loads(cli(*shown, **environment).stdout)["rows"]
        for environment in ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    )
    assert len(here) == 8
    for row, other in zip(here, older, strict=True):
        assert row == pytest.approx(other, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pt2", ".onnx"])
def test_every_kind_of_file_converts(cli: Cli, tmp_path: Path, out: Path, suffix: str) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        "[input]\nheight = 32\nwidth = 32\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n"
        "[[outputs]]\nname = 'animal'\nkind = 'classification'\nlabels = ['cat', 'dog', 'owl']\n"
    )
    model = Small().eval()
    path = tmp_path / f"mine{suffix}"
    example = (torch.zeros(1, 3, 32, 32),)
    if suffix == ".safetensors":
        save_weights(model, path, {})
    elif suffix == ".pt":
        torch.save(model.state_dict(), path)
    elif suffix == ".pt2":
        torch.export.save(torch.export.export(model, example), path)
    else:
        torch.onnx.export(model, example, path, dynamo=True, verbose=False)
    arch = ["--arch", "user_models:small"] if suffix in {".safetensors", ".pt"} else []
    done = cli(
        "convert", path, *arch, "--spec", spec, "--backend", "onnx", "-o", out, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(find_artifacts([out])) == 2


def test_an_onnx_of_a_later_opset_is_refused_where_it_uses_what_came_later(
    cli: Cli, tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in "xy"]
    scale = helper.make_tensor("s", TensorProto.FLOAT, [8], [1.0] * 8)
    node = helper.make_node("RMSNormalization", ["x", "s"], ["y"])  # new in opset 23
    graph = helper.make_graph([node], "late", ends[:1], ends[1:], [scale])
    onnx.save(helper.make_model(graph), tmp_path / "late.onnx")
    done = cli(
        "convert", tmp_path / "late.onnx", "--raw-input", "--backend", "onnx", "--precision",
        "fp32", "-q", "-o", tmp_path / "out",
    )  # fmt: skip
    error = one_line_error(done)
    assert "RMSNormalization" in error and "opset 20 or older" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_raw_input_keeps_the_float_network_and_nothing_is_reported_home(
    cli: Cli, out: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = cli(
        "convert", "user_models:small", "--raw-input", "--backend", "tflite", "--backend",
        "openvino", "-o", out, cwd=HERE, HOME=str(home),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (home / "intel").exists(), "OpenVINO and NNCF told their maker of their use"
    for artifact in find_artifacts([out]):
        assert artifact.manifest.feed == "float32"


BAD_CALLS = {
    "unknown zoo name": (["multitask-cmm"], "did you mean multitask-cnn"),
    "unknown variant": (["multitask-cnn:regresion"], "did you mean regression"),
    "missing file": (["nowhere.pt2"], "no model file at nowhere.pt2"),
    "unknown backend": (["multitask-cnn", "--backend", "onyx"], "did you mean onnx"),
    "unknown precision": (["multitask-cnn", "--precision", "int9"], "did you mean int8"),
    "unknown precision, repeated": (
        ["multitask-cnn", "--precision", "int9", "--precision", "fp32"],
        "unknown precision 'int9'",
    ),
    "precision not offered": (
        ["multitask-cnn", "--backend", "onnx", "--precision", "fp16"],
        "fp32",
    ),
    "no such calibration": (["multitask-cnn", "--calibration", "nowhere"], "does not exist"),
    "no such recipe": (["multitask-cnn", "--recipe", "defalt"], "did you mean default"),
    "no spec": (["user_models:no_spec"], "--spec"),
    "spec of a zoo network": (["multitask-cnn", "--spec", "mine.toml"], "leave out --spec"),
    "no such function": (["user_models:nothing"], "has no 'nothing'"),
    "no such module": (
        ["no_module:thing"],
        "no Python module no_module: run edgekit in the folder",
    ),
    "not a module": (["user_models:not_a_function"], "not a torch.nn.Module"),
    "spec contradicts": (["user_models:wrong_outputs"], "needs (1, 4)"),
    "branches on pixels": (["user_models:branching"], "torch.export cannot trace"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_is_one_line_and_writes_nothing(cli: Cli, out: Path, case: str) -> None:
    arguments, words = BAD_CALLS[case]
    done = cli("convert", *arguments, "-o", out, "-q", cwd=HERE)
    assert words in one_line_error(done)
    assert os.listdir(out.parent) == []


def test_an_unsupported_operator_is_named_with_its_layer(cli: Cli, out: Path) -> None:
    done = cli("convert", "user_models:unsupported", "-o", out, "-q", cwd=HERE)
    error = one_line_error(done)
    assert error.count("aten._linalg_svd (layer 1)") == 3
    assert os.listdir(out.parent) == []


def test_a_crash_of_the_models_own_code_is_named(cli: Cli, out: Path) -> None:
    done = cli("convert", "user_models:crash", "-o", out, "-q", cwd=HERE)
    assert "SIGSEGV" in one_line_error(done, code=1)
    assert os.listdir(out.parent) == []


def test_an_export_that_fails_is_said_once_and_nothing_of_the_builds(cli: Cli, out: Path) -> None:
    done = cli("convert", "user_models:nowhere", "--backend", "onnx", "-o", out, cwd=HERE)
    assert "has no 'nowhere'" in one_line_error(done)
    assert "onnx" not in done.stderr


def test_an_existing_folder_is_kept(cli: Cli, out: Path) -> None:
    out.mkdir()
    (out / "precious").write_text("mine")
    assert "--force" in one_line_error(cli("convert", "multitask-cnn", "-o", out))
    assert os.listdir(out) == ["precious"]


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".safetensors", ".pt", ".txt"])
@pytest.mark.parametrize("content", [b"", b"not a model at all" * 20])
def test_a_file_that_is_no_model_is_refused(
    cli: Cli, tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    done = cli(
        "convert", path, "--arch", "multitask-cnn", "--raw-input", "-o", tmp_path / "o", "-q"
    )
    assert str(path) in one_line_error(done)
    assert os.listdir(tmp_path) == [path.name]


def test_a_checkpoint_whose_shapes_differ_names_the_tensor(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(Small(), path, {})
    done = cli("convert", path, "--arch", "multitask-cnn", "-o", tmp_path / "out", "-q")
    assert "mine.safetensors" in one_line_error(done)


@pytest.mark.slow
def test_one_failing_backend_costs_only_its_rows(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "convert", "fault_models:dilated", "--precision", "fp32", "-o", tmp_path / "out", "--json",
        cwd=HERE,
    )  # fmt: skip
    rows = json.loads(done.stdout)["rows"]
    assert done.returncode == 2
    assert {r["backend"]: r["status"] for r in rows} == {
        "onnx": "proven",
        "tflite": "failed",
        "openvino": "proven",
    }
    assert "cannot take operator aten.conv_transpose2d (layer head.0)" in done.stdout
    assert len(find_artifacts([tmp_path / "out"])) == 2


@pytest.mark.slow
def test_int8_that_two_images_prove_is_told_so(cli: Cli, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "two", 2)
    done = cli("convert", "user_models:small", "--backend", "onnx", "--calibration",
               tmp_path / "two", "-o", tmp_path / "out", "--json", cwd=HERE)  # fmt: skip
    notes = json.loads(done.stdout)["notes"]
    assert done.returncode == 0, done.stderr
    told = "parity: int8 is proven on 2 images alone, which proves little: give --images 16 or more"
    assert told in notes


def start_convert(out: Path) -> subprocess.Popen[str]:
    """Start a conversion and return when its backend is at work."""
    command = [sys.executable, "-m", "edgekit", "convert", "user_models:small", "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--backend", "onnx", "--precision", "fp32"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE,
        # A shell's background job ignores Ctrl-C, and would hand that on to what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "building" in line:
            return process
    raise AssertionError("it ended before it built anything")


def test_a_kill_in_the_middle_leaves_no_half_artifact(tmp_path: Path) -> None:
    process = start_convert(tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path: Path) -> None:
    process = start_convert(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A real full disk: 2 MB of memory file system, mounted for this process alone."""
    (tmp_path / "disk").mkdir()
    script = (
        "mount -t tmpfs -o size=2m tmpfs disk && export TMPDIR=$PWD/disk && "
        "export TORCHINDUCTOR_CACHE_DIR=$PWD/torch && "  # torch's own, not ours to clean
        f"{sys.executable} -m edgekit convert multitask-cnn --backend onnx --precision fp32 "
        "-q -o disk/out; code=$?; ls -A disk >left; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "no space left" in one_line_error(done)
    assert (tmp_path / "left").read_text() == ""


def test_one_backend_does_not_import_another(converted: Path) -> None:
    """The heavy packages a build step's module graph pulls in, by backend."""
    others = {
        "onnx": {"openvino", "litert_torch", "ai_edge_litert", "nncf"},
        "tflite": {"openvino", "nncf", "onnxruntime", "onnx"},
        "openvino": {"litert_torch", "ai_edge_litert", "onnxruntime", "onnxslim"},
        "ncnn": {"openvino", "litert_torch", "ai_edge_litert", "onnxruntime", "onnxslim", "pnnx"},
    }
    for backend, foreign in others.items():
        code = (
            "import sys; import edgekit.conversion.build\n"
            "from edgekit.backends import load_backend\n"
            f"load_backend('{backend}'); print(*sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        loaded = {name.split(".")[0] for name in done.stdout.split()}
        assert not loaded & foreign
        assert "torch" not in loaded


sides = st.integers(4, 12)
channel = st.floats(0, 255, allow_nan=False, width=32)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=sides,
    width=sides,
    mean=st.tuples(channel, channel, channel),
    std=st.tuples(*[st.floats(0.5, 255, width=32)] * 3),
    colour=st.sampled_from(["RGB", "BGR"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
)
def test_the_baked_contract_equals_preprocessing_outside(
    height: int,
    width: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    colour: Literal["RGB", "BGR"],
    layout: Literal["NCHW", "NHWC"],
) -> None:
    spec = InputSpec(height, width, mean, std, colour, layout)
    pixels = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    baked = Baked(Flat(torch.nn.Identity()), spec)
    assert torch.allclose(baked(pixels)[0], reference_input(pixels, spec), rtol=1e-5, atol=1e-5)


def test_a_spec_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="std"):
        InputSpec(4, 4, std=(0.0, 1.0, 1.0))
