"""Inputs that are no images: specs, samples, and whole conversions of three such networks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tensor_models
import torch
from command_line import Cli, one_line_error
from numpy.typing import NDArray

from edgekit.artifact import find_artifacts, load_artifact
from edgekit.backends import runtime_for
from edgekit.conversion.spec_files import check_tensors, read_spec
from edgekit.data.inputs import inputs_of
from edgekit.data.samples import noise_samples, read_samples
from edgekit.deployment.golden import write_golden
from edgekit.errors import BadArtifact, BadData, BadModel
from edgekit.onboard import runner
from edgekit.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

HERE = Path(__file__).parent
RNG = np.random.default_rng(4)
SPEC = """
[[inputs]]
name = "weather"
kind = "tensor"
shape = [1, 3]
range = [-5, 5]

[[inputs]]
name = "photo"
kind = "image"
height = 24
width = 16
fit = "crop"

[[outputs]]
name = "word"
"""


def contract(spec: ModelSpec) -> dict[str, Any]:
    return {
        "feed": "uint8",
        "input": msgspec.to_builtins(spec.input),
        "tensors": msgspec.to_builtins(spec.tensors),
        "order": spec.order,
    }


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def photo(count: int = 1) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (count, 24, 16, 3), dtype=np.uint8)


# The spec


def test_inputs_are_read_by_name_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    spec = read_spec(str(path))
    assert spec.names == ("weather", "photo")
    assert spec.tensors == (TensorSpec("weather", (1, 3), range=(-5, 5)),)
    assert (spec.image.name, spec.image.fit) == ("photo", "crop")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[1, 3]", "[1, 0]"), "shape needs whole numbers of 1 or more"),
        (('kind = "image"\n', ""), 'kind = "image" or "tensor"'),
        (('kind = "image"', 'kind = "sound"'), 'kind = "image" or "tensor"'),
        (('name = "photo"', 'name = "weather"'), "each with a name of its own"),
        (("[[outputs]]", "[input]\nheight = 3\nwidth = 3\n[[outputs]]"), "leave one of them out"),
        (("shape = [1, 3]", "shape = [1, 3]\nsize = 3"), "unknown field"),
        (("[-5, 5]", "[5, -5]"), "range is the least value, then the largest"),
    ],
)
def test_inputs_that_cannot_be_meant_are_refused(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC.replace(*change))
    with pytest.raises(BadModel) as refused:
        read_spec(str(path))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_graph_of_another_shape_is_refused_with_both() -> None:
    spec = tensor_models.SPOTTER
    check_tensors(spec, [("spectrogram", (None, 1, 49, 10))], "net.pt2")
    with pytest.raises(BadModel, match=r"is \[1, 1, 49, 10\], net.pt2 takes \[any, 1, 40, 10\]"):
        check_tensors(spec, [("spectrogram", (None, 1, 40, 10))], "net.pt2")


# Samples


@pytest.mark.parametrize(
    ("weather", "count"), [((1, 3), 1), ((4, 1, 3), 4), ((4, 3), 4), ((1, 1, 3), 1), ((3,), 1)]
)
def test_a_file_holds_one_sample_or_many(weather: tuple[int, ...], count: int) -> None:
    given = RNG.normal(size=weather)
    pictures = photo(count)
    samples = runner.read_samples(
        packed(weather=given, photo=pictures[0] if count == 1 else pictures),
        contract(tensor_models.BOTH),
    )
    assert len(samples) == count
    for place, sample in enumerate(samples):
        assert sample["weather"].dtype == np.float32
        assert np.array_equal(sample["weather"][0], given.reshape(-1, 3)[place].astype(np.float32))
        assert np.array_equal(sample["photo"], pictures[place])


def test_the_tensors_are_fed_in_the_order_of_the_network() -> None:
    (sample,) = runner.read_samples(
        packed(weather=np.ones((1, 3)), photo=photo()), contract(tensor_models.BOTH)
    )
    weather, picture = runner.feed(sample, contract(tensor_models.BOTH))
    assert weather.shape == (1, 3) and picture.shape == (1, 24, 16, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weather": np.ones((1, 3))}, "it lacks the array 'photo' (it holds 'weather')"),
        ({"weather": np.ones((1, 4)), "photo": photo()}, "'weather' is (1, 4), the model takes"),
        ({"weather": np.full((1, 3), np.nan), "photo": photo()}, "'weather' holds NaN"),
        ({"weather": np.ones((2, 3)), "photo": photo()}, "2 of 'weather', 1 of 'photo'"),
        ({"weather": np.ones((1, 3)), "photo": photo() / 255}, "'photo' is float64, the model"),
    ],
)
def test_a_file_that_does_not_fit_names_the_array(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    spec = tensor_models.BOTH
    with pytest.raises(BadData) as refused:
        read_samples(tmp_path, spec.input, spec.tensors)
    assert str(refused.value).startswith(f"{tmp_path / 'a.npz'}: ") and words in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY", b"no array"])
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no \.npz or \.npy file"):
        runner.read_samples(data, contract(tensor_models.SPOTTER))


def test_a_range_is_held_to() -> None:
    sample = np.zeros((1, 1, 49, 10))
    sample[0, 0, 0, 0] = -40
    with pytest.raises(ValueError, match="values from -40 to 0, outside of -30 to 30"):
        runner.read_samples(packed(spectrogram=sample), contract(tensor_models.SPOTTER))


def test_integers_are_not_wrapped() -> None:
    spec = ModelSpec(None, (OutputSpec("x"),), (TensorSpec("ids", (1, 4), "int32"),))
    (sample,) = runner.read_samples(packed(ids=np.arange(4)[None]), contract(spec))
    assert sample["ids"].dtype == np.int32
    with pytest.raises(ValueError, match="values that int32 cannot hold"):
        runner.read_samples(packed(ids=np.full((1, 4), 2**40)), contract(spec))
    with pytest.raises(ValueError, match="is float64, the model takes int32"):
        runner.read_samples(packed(ids=np.ones((1, 4))), contract(spec))


def test_tokens_are_as_narrow_as_the_file_takes_them() -> None:
    tokens = np.array([[3, 2**40]])
    assert runner.narrowed(tokens[:, :1], np.int32).dtype == np.int32
    assert runner.narrowed(tokens, np.int64) is tokens
    assert runner.narrowed(np.ones(2, np.float32), np.int32).dtype == np.float32
    with pytest.raises(ValueError, match=f"holds {2**40}, the model takes int32"):
        runner.narrowed(tokens, np.int32)


def test_noise_is_seeded_and_keeps_to_the_range() -> None:
    image = InputSpec(4, 5)
    tensors = (
        TensorSpec("a", (1, 50), range=(2, 3)),
        TensorSpec("b", (1, 50), "int64", (0, 9)),
        TensorSpec("c", (1, 50), "bool"),
        TensorSpec("d", (1, 50)),
    )
    first, again = noise_samples(image, tensors, 3), noise_samples(image, tensors, 3)
    assert all(np.array_equal(first[2][name], again[2][name]) for name in first[2])
    low, high = first[0]["a"].min(), first[0]["a"].max()
    assert low >= 2
    assert high <= 3
    assert set(np.unique(first[0]["b"])) <= set(range(10))
    assert first[0]["c"].dtype == bool
    assert first[0]["image"].shape == (4, 5, 3)


# Whole conversions


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for name in ("spotter", "motion", "both", "reader"):
        (folder / name).mkdir()
    np.savez(folder / "spotter" / "all.npz", spectrogram=RNG.normal(0, 3, (48, 1, 49, 10)))
    np.save(folder / "motion" / "all.npy", RNG.normal(0, 3, (48, 3, 128)))
    counted = np.arange(12) < RNG.integers(3, 13, (48, 1))
    np.savez(
        folder / "reader" / "all.npz",
        input_ids=RNG.integers(0, 50, (48, 1, 12)),
        attention_mask=counted[:, None].astype(np.int64),
    )
    for index in range(48):
        weather = RNG.normal(0, 1, (1, 3))
        np.savez(folder / "both" / f"{index:02d}.npz", weather=weather, photo=photo())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spotter", "motion", "both", "reader"])
def test_it_goes_from_samples_to_proven_artifacts_that_answer(
    cli: Cli, tmp_path: Path, samples: Path, name: str
) -> None:
    out = tmp_path / "out"
    done = cli(
        "convert", f"tensor_models:{name}", "-o", str(out), "--calibration", str(samples / name),
        "--backend", "onnx", "--backend", "openvino", "--backend", "tflite", "--json", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, spec = getattr(tensor_models, name)()
    held = read_samples(samples / name, spec.input, spec.tensors)
    one = tmp_path / "one.npz"
    np.savez(one, **held.values[0])  # type: ignore[arg-type]
    for backend in ("onnx", "openvino", "tflite"):
        for precision in ("fp32", "int8"):
            artifact = load_artifact(out / f"{backend}-{precision}")
            assert artifact.manifest.parity.passed
            assert (artifact.manifest.input, artifact.manifest.tensors) == (
                spec.input,
                spec.tensors,
            )
        answered = cli("predict", str(one), "-a", str(artifact.folder), "--json")
        (row,) = json.loads(answered.stdout)["rows"]
        assert isinstance(row[spec.outputs[0].name], float if name == "motion" else str)
    with pytest.raises(BadArtifact, match="artifacts that take one image alone"):
        _ = artifact.manifest.image
    several = samples / "both" / "00.npz" if name == "spotter" else samples / "spotter" / "all.npz"
    refused = cli("predict", str(several), "-a", str(artifact.folder))
    assert "it lacks the array" in one_line_error(refused)


@pytest.mark.slow
def test_a_state_goes_back_in_with_the_next_samples(cli: Cli, tmp_path: Path) -> None:
    sounds = RNG.normal(0, 1, (48, 1, 64)).astype(np.float32)
    states = RNG.uniform(-0.9, 0.9, (48, 2, 1, 8)).astype(np.float32)
    volumes = RNG.uniform(0.5, 2, 48).astype(np.float32)
    np.savez(tmp_path / "heard.npz", sound=sounds, state=states, volume=volumes)
    done = cli(
        "convert", "tensor_models:listener", "-o", tmp_path / "out", "--calibration",
        tmp_path / "heard.npz", "--backend", "onnx", "--backend", "tflite", "--backend",
        "openvino", "--json", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    network = tensor_models.Listener().eval()
    for artifact in find_artifacts([tmp_path / "out"]):
        name = runtime_for(artifact.manifest.backend, None)
        job = {"artifact": str(artifact.folder), "runtime": name}
        loaded, exact = runner.Loaded(job, runner.RUNTIMES), torch.zeros(2, 1, 8)
        state = np.zeros((2, 1, 8), np.float32)
        for sound, volume in zip(sounds[:5], volumes[:5], strict=True):
            given = {"sound": sound, "state": state, "volume": volume}
            said, answer = loaded(given), loaded.arrays(given)
            state = answer["state"]
            with torch.no_grad():
                scores, exact = network(torch.tensor(sound), exact, torch.tensor(volume))
        assert state.shape == (2, 1, 8)
        near = 1e-5 if artifact.manifest.precision == "fp32" else 0.05
        assert abs(state - exact.numpy()).max() < near
        assert said["word"]["index"] == int(scores.argmax())
        assert said["state"] is None


def test_only_a_plain_tensor_may_be_a_state(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "tensor_models:listener_of_words", "-o", tmp_path / "out",
               "--backend", "onnx", cwd=HERE)  # fmt: skip
    assert "has shape (2, 1, 8) for one sample: its first dimension must be the batch" in (
        one_line_error(done)
    )


@pytest.mark.slow
def test_bench_measures_a_network_of_two_inputs(cli: Cli, tmp_path: Path, samples: Path) -> None:
    out = tmp_path / "out"
    done = cli("convert", "tensor_models:both", "-o", str(out), "--precision", "fp32",
               "--backend", "onnx", "--json", cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "proven on random numbers" in done.stdout + done.stderr
    measured = cli(
        "bench", str(out), "--images", str(samples / "both"), "--min-seconds", "0", "--json",
        "--percentile", "p50", "--results", str(tmp_path / "results"),
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    (row,) = json.loads(measured.stdout)["rows"]
    assert row["p50_ms"] > 0


def test_int8_without_samples_and_a_wrong_shape_are_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "tensor_models:motion", "-o", str(tmp_path / "out"),
               "--backend", "onnx", cwd=HERE)  # fmt: skip
    assert "give --calibration a folder of .npz or .npy files" in one_line_error(done)
    wrong = cli("convert", "tensor_models:wrong_shape", "-o", str(tmp_path / "out"),
                "--backend", "onnx", cwd=HERE)  # fmt: skip
    assert "does not run on a (1, 1, 20, 10) float32 input" in one_line_error(wrong)


@pytest.mark.slow
def test_a_spotter_is_guarded_and_bundled_with_its_samples(
    cli: Cli, tmp_path: Path, samples: Path
) -> None:
    folder = samples / "spotter"
    done = cli(
        "convert", "tensor_models:spotter", "-o", tmp_path / "out", "--calibration", folder,
        "--backend", "onnx", "--precision", "int8", "--max-drop", "0", "--guard", folder,
        "--json", cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    artifact = load_artifact(tmp_path / "out" / "onnx-int8")
    assert any(note.startswith("guard: drop 0.00 points on 48") for note in artifact.manifest.notes)
    made = cli("bundle", artifact.folder, "-o", tmp_path / "a.ekb", "--images", folder, "--json")
    assert made.returncode == 0, made.stderr
    write_golden(artifact, inputs_of(folder, [artifact]), artifact.folder / "golden")
    told = json.loads((artifact.folder / "golden" / "golden.json").read_text())
    assert told["images"] == [f"{number:02d}.npz" for number in range(8)]
    assert runner.main(["golden", str(artifact.folder)]) == 0


def test_a_guard_of_a_plain_value_is_one_line(cli: Cli, tmp_path: Path, samples: Path) -> None:
    done = cli(
        "convert", "tensor_models:motion", "-o", tmp_path / "out", "--calibration",
        samples / "motion", "--backend", "onnx", "--max-drop", "1", "--guard", samples / "motion",
        cwd=HERE,
    )  # fmt: skip
    assert "every output of the spec is a value" in one_line_error(done)
