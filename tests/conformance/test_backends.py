"""What every backend promises, checked on real artifacts through the runner a board would run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit import runner
from edgekit.artifact import Artifact, load_artifact
from edgekit.backends import backend_names, load_backend
from edgekit.devices import open_device, put_artifact, put_runner, run_job
from edgekit.targets import load_target

ARTIFACTS = [
    f"{backend}-{precision}"
    for backend in ("onnx", "tflite", "openvino", "null")
    for precision in ("fp32", "int8")
    if (backend, precision) != ("null", "int8")
]


@pytest.fixture(params=ARTIFACTS)
def artifact(request: pytest.FixtureRequest, converted: Path) -> Artifact:
    return load_artifact(converted / request.param)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def run_on(device_name: str, target: str, artifact: Artifact, pixels: np.ndarray, tmp: Path):
    """Return an artifact's outputs on a device, by output name."""
    device = open_device(device_name, load_target(target))
    try:
        put_runner(device)
        put_artifact(device, artifact, "artifact")
        np.save(tmp / "pixels.npy", pixels)
        device.put(tmp / "pixels.npy", "pixels.npy")
        job = {
            "task": "outputs",
            "artifact": "artifact",
            "runtime": load_backend(artifact.manifest.backend).RUNTIME,
            "pixels": "pixels.npy",
            "save": "outputs.npz",
        }
        (event,) = run_job(device, job, timeout=120)
        assert event["count"] == len(pixels)
        device.fetch("outputs.npz", tmp / "outputs.npz")
        with np.load(tmp / "outputs.npz", allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    finally:
        device.close()


def test_outputs_have_the_manifests_names_and_shapes(
    artifact: Artifact, pixels: np.ndarray, tmp_path: Path
) -> None:
    outputs = run_on("local", "host", artifact, pixels, tmp_path)
    assert {name: value.shape for name, value in outputs.items()} == {
        "age": (6, 8),
        "gender": (6, 2),
    }
    assert all(value.dtype == np.float32 for value in outputs.values())
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_the_same_image_gives_the_same_answer_whatever_came_before(
    artifact: Artifact, pixels: np.ndarray, tmp_path: Path
) -> None:
    forward = run_on("local", "host", artifact, pixels, tmp_path)
    backward = run_on("local", "host", artifact, pixels[::-1], tmp_path)
    for name, value in forward.items():
        assert np.array_equal(value, backward[name][::-1])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_backends_agree_with_each_other(
    converted: Path, pixels: np.ndarray, tmp_path: Path, precision: str
) -> None:
    outputs = [
        run_on("local", "host", load_artifact(converted / f"{name}-{precision}"), pixels, tmp_path)
        for name in ("onnx", "tflite", "openvino")
    ]
    spread = np.abs(outputs[0]["age"]).max()
    for other in outputs[1:]:
        for name in ("age", "gender"):
            distance = np.abs(outputs[0][name] - other[name]).max()
            assert distance <= (1e-4 if precision == "fp32" else 0.3 * spread)


def test_feed_follows_the_contract(artifact: Artifact, pixels: np.ndarray) -> None:
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    tensor = runner.feed(pixels[0], manifest)
    assert tensor.shape == (1, 64, 64, 3)
    if manifest["feed"] == "int8":
        assert tensor.dtype == np.int8
        assert np.array_equal(tensor[0].astype(int) + 128, pixels[0].astype(int))
    else:
        assert tensor.dtype == np.uint8 and np.array_equal(tensor[0], pixels[0])


def test_every_backend_has_the_same_members() -> None:
    assert backend_names() == ["null", "onnx", "openvino", "tflite", "torch"]
    for name in backend_names():
        backend = load_backend(name)
        assert backend.PRECISIONS and backend.RUNTIME and callable(backend.build)
