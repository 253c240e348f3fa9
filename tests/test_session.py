"""One recipe for running an artifact: the same grey, three-headed network in every room that does.

A network of one channel and 20 x 12 pixels is what no room may take for granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_cli
from pictures import draw_pictures

from edgekit.artifact import Artifact, load_artifact
from edgekit.conformance import pixels_for, run_outputs
from edgekit.data.images import open_images
from edgekit.deployment.golden import write_golden
from edgekit.devices import open_device
from edgekit.devices.emulator.install import install
from edgekit.devices.emulator.profile import board_of
from edgekit.devices.local import LocalDevice
from edgekit.emulation.proof import verify
from edgekit.errors import JobFailed, MissingPackage, UserError
from edgekit.evaluation.answer import predict_images
from edgekit.explain import explain
from edgekit.latency_model.executed.run import executed
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.onboard import runner
from edgekit.session import MARKED, Entry, entry, lay_out, noise, put_images, put_pixels, run_job
from edgekit.targets import HOST, load_target

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a grey network, made by the command."""
    folder = tmp_path_factory.mktemp("grey")
    pictures = draw_pictures(folder / "pictures", 24)
    done = run_cli(
        "convert", "user_models:grey", "--calibration", pictures, "-o", folder / "out", cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    return folder


def artifact_of(grey: Path, name: str) -> Artifact:
    return load_artifact(grey / "out" / name)


@pytest.fixture(params=["onnx-int8", "tflite-int8", "openvino-fp32"])
def artifact(request: pytest.FixtureRequest, grey: Path) -> Artifact:
    return artifact_of(grey, request.param)


@pytest.fixture
def local() -> Iterator[LocalDevice]:
    with closing(LocalDevice()) as device:
        yield device


def test_conformance_and_golden_and_predict_and_bench_take_one_channel(
    artifact: Artifact, grey: Path, tmp_path: Path
) -> None:
    assert pixels_for(artifact).shape[1:] == (20, 12, 1)
    assert run_outputs(artifact, pixels_for(artifact))["shade"].shape == (6, 3)
    pictures = open_images(grey / "pictures")
    write_golden(artifact, pictures, tmp_path / "golden")
    with np.load(tmp_path / "golden" / "answers.npz") as answers:
        assert answers["shade"].shape == (8, 3)
    files = sorted((grey / "pictures").iterdir())[:3]
    answered = predict_images(artifact, files)
    assert [answer.image for answer in answered] == [str(file) for file in files]
    request = BenchRequest(
        entries=(entry(artifact),),
        target=load_target(HOST),
        images=pictures,
        results=tmp_path / "results",
        min_seconds=0.01,
        percentile="p50",
    )
    with closing(LocalDevice()) as device:
        (row,) = bench(request, device)
    assert row.error is None and len(row.rounds) == 3


def test_explain_takes_one_channel(artifact: Artifact) -> None:
    assert explain(artifact, load_target(HOST)).operators


def test_an_emulated_proof_and_executed_take_one_channel(grey: Path) -> None:
    target, artifact = load_target("rpi4"), artifact_of(grey, "tflite-fp32")
    sysroot = install(board_of(target))
    files = sorted((grey / "pictures").iterdir())[:2]
    (proof,) = verify(sysroot, [artifact], files)
    assert not proof.failure and proof.instructions is not None
    work = executed(target, artifact, "ai_edge_litert")
    # The same inference; of one this small, what Python adds between the marks is a tenth.
    assert work.instructions == pytest.approx(proof.instructions.per_inference, rel=0.2)


def test_outputs_on_pixels_and_on_the_files_they_came_from_are_the_same(
    artifact: Artifact, grey: Path, local: LocalDevice
) -> None:
    files = sorted((grey / "pictures").iterdir())[:4]
    spec = {"height": 20, "width": 12, "colour": "GREY"}
    pixels = np.stack([runner.decode_for(file.read_bytes(), spec) for file in files])
    session = lay_out(local, entry(artifact))
    of_pixels, event = session.outputs(put_pixels(local, pixels), 4, timeout=60)
    of_files, _ = session.outputs(put_images(local, files), 4, timeout=60)
    assert event["count"] == 4 and event["runtime_version"]
    for name, value in of_pixels.items():
        assert np.array_equal(value, of_files[name])


def test_a_marked_session_answers_as_the_plain_one(grey: Path, local: LocalDevice) -> None:
    artifact = artifact_of(grey, "onnx-fp32")
    pixels = put_pixels(local, noise(artifact.manifest.image, 2))
    plain, _ = lay_out(local, entry(artifact)).outputs(pixels, 2, timeout=60)
    marked = lay_out(local, entry(artifact, program=MARKED), "beside")
    assert marked.entry.program == (MARKED,)
    assert np.array_equal(plain["shade"], marked.outputs(pixels, 2, timeout=60)[0]["shade"])


class Recorded(LocalDevice):
    """This machine, keeping the environments it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.environments: list[str] = []

    def run(self, *arguments: Any, environment: Any = "main", **more: Any) -> Any:
        self.environments.append(environment)
        return super().run(*arguments, environment=environment, **more)


def test_the_environment_is_the_runtimes_own(grey: Path) -> None:
    artifact = artifact_of(grey, "tflite-fp32")
    with closing(Recorded()) as device:
        lay_out(device, entry(artifact)).run(
            "loop", timeout=60, count=1, **_noise(device, artifact)
        )
        old = lay_out(device, entry(artifact, "tflite_runtime"))
        with pytest.raises(MissingPackage, match=r"tflite-runtime is not installed: pip install"):
            old.run("loop", timeout=60, count=1, **_noise(device, artifact))
        assert device.environments == ["main", "numpy1"]


def _noise(device: LocalDevice, artifact: Artifact) -> dict[str, Any]:
    return put_pixels(device, noise(artifact.manifest.image, 1))


def test_a_failed_job_says_its_kind_and_an_unknown_runtime_is_refused_before_it(
    grey: Path, local: LocalDevice
) -> None:
    artifact = artifact_of(grey, "onnx-fp32")
    session = lay_out(local, entry(artifact))
    with pytest.raises(JobFailed, match=r"^local: FileNotFoundError: .*nothing\.npy") as caught:
        session.run("loop", timeout=60, count=1, pixels="nothing.npy")
    assert caught.value.kind == "FileNotFoundError"
    with pytest.raises(UserError, match="did you mean onnxruntime"):
        entry(artifact, "onnxruntim")
    unknown = Entry(artifact=artifact, runtime="none")
    with pytest.raises(JobFailed, match="KeyError"):
        lay_out(local, unknown).run("loop", timeout=60, count=1)


def test_a_job_needs_no_artifact(local: LocalDevice) -> None:
    local.put(HERE.parent / "edgekit" / "onboard" / "runner.py", "runner.py")
    assert run_job(local, {"task": "probe"}, timeout=60)[-1]["event"] == "probe"
    with closing(open_device("local", load_target(HOST))) as other:
        assert other.name == "local"
