"""What every backend promises, checked on real artifacts through the runner a board would run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.artifact import Artifact, load_artifact
from edgekit.backends import load_backend, own_names
from edgekit.conformance import BackendConformance, pixels_for, run_outputs


class OwnBackend(BackendConformance):
    """Each of our own, in both precisions that all of them have."""

    @pytest.fixture(params=["fp32", "int8"])
    def artifact(self, request: pytest.FixtureRequest, converted: Path) -> Artifact:
        return load_artifact(converted / f"{self.backend}-{request.param}")


class TestOnnx(OwnBackend):
    backend = "onnx"


class TestTflite(OwnBackend):
    backend = "tflite"


class TestOpenvino(OwnBackend):
    backend = "openvino"


class TestNcnn(OwnBackend):
    backend = "ncnn"


class TestNull(BackendConformance):
    backend = "null"

    @pytest.fixture
    def artifact(self, converted: Path) -> Artifact:
        return load_artifact(converted / "null-fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_backends_agree_with_each_other(converted: Path, precision: str) -> None:
    artifacts = [
        load_artifact(converted / f"{name}-{precision}")
        for name in ("onnx", "tflite", "openvino", "ncnn")
    ]
    outputs = [run_outputs(item, pixels_for(item)) for item in artifacts]
    spread = np.abs(outputs[0]["age"]).max()
    for other in outputs[1:]:
        for name in ("age", "gender"):
            distance = np.abs(outputs[0][name] - other[name]).max()
            assert distance <= (1e-4 if precision == "fp32" else 0.3 * spread)


def test_every_backend_of_ours_has_the_same_members() -> None:
    assert own_names() == ["ncnn", "null", "onnx", "openvino", "tflite", "torch"]
    for name in own_names():
        backend = load_backend(name)
        assert backend.PRECISIONS and backend.RUNTIME and callable(backend.build)
