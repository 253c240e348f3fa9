"""Confidences that can be believed: fitted, carried to the board, measured, and withheld."""

from __future__ import annotations

import io
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgekit import zoo
from edgekit.cli import app
from edgekit.conversion.sources import SourceRequest, load_module
from edgekit.data import SplitPlan
from edgekit.errors import BadModel
from edgekit.evaluation.confidence import abstention, calibration_error, fit_temperature
from edgekit.files import sha256
from edgekit.onboard import runner
from edgekit.outputs import confidences
from edgekit.spec import InputSpec, ModelSpec, OutputSpec, with_temperatures
from edgekit.training.run import TrainOptions, TrainResult, train
from edgekit.zoo.checkpoint import read_metadata, read_temperatures, read_weights, save_weights

ANIMAL = OutputSpec("animal", "classification", ("cat", "dog", "owl"), "logits")
SPEC = ModelSpec(InputSpec(8, 8), (ANIMAL,))


def drawn(count: int, heat: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are `heat` times too large, and labels drawn from the true shares."""
    draw = np.random.default_rng(0)
    true = draw.normal(0, 1.5, (count, 3))
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = (shares.cumsum(1) > draw.random((count, 1))).argmax(1)
    return true * heat, labels


@pytest.mark.parametrize("heat", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(heat: float) -> None:
    logits, labels = drawn(20_000, heat)
    assert fit_temperature(logits, labels) == pytest.approx(heat, rel=0.05)
    hidden = labels.copy()
    hidden[::2] = -1
    assert fit_temperature(logits, hidden) == pytest.approx(heat, rel=0.07)
    assert fit_temperature(logits, np.full(len(labels), -1)) == 1.0


def test_the_fitted_temperature_mends_the_calibration_error() -> None:
    logits, labels = drawn(20_000, 2.5)
    right = logits.argmax(1) == labels
    heat = fit_temperature(logits[:10_000], labels[:10_000])
    (spec,) = with_temperatures(SPEC, {"animal": heat}).outputs
    values = logits[10_000:].astype(np.float32)
    told, plain = confidences(values, spec), confidences(values, spec, plain=True)
    assert told is not None and plain is not None
    assert calibration_error(told, right[10_000:]) < 2.5
    assert calibration_error(plain, right[10_000:]) > 8


def test_calibration_error_by_hand() -> None:
    """Two bins: 4 images at 0.9 of which half are right, 1 at 0.2 that is wrong."""
    sure, right = [0.9] * 4 + [0.2], [True, True, False, False, False]
    assert calibration_error(sure, right) == pytest.approx(100 * (4 * 0.4 + 0.2) / 5)
    assert calibration_error([1.0, 0.0], [True, False]) == 0
    assert calibration_error([], []) == 0


def test_abstaining_costs_coverage_and_says_what_it_gains() -> None:
    told = abstention([0.9, 0.8, 0.4, 0.3], [True, True, False, True], 0.8)
    assert told.coverage.percent == 50 and told.accuracy is not None
    assert told.accuracy.percent == 100 and told.accuracy.count == 2
    assert abstention([0.1], [True], 0.5).accuracy is None


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
def test_a_temperature_changes_confidence_and_no_decision(scores: str) -> None:
    values = np.array([[2.0, 1.0, 0.0]])
    if scores == "probabilities":
        values = np.exp(values) / np.exp(values).sum()
    output = {"name": "a", "kind": "classification", "labels": list(ANIMAL.labels)}
    plain = runner.decide(values, {**output, "scores": scores})
    cool = runner.decide(values, {**output, "scores": scores, "temperature": 0.5})
    assert plain and cool and plain["label"] == cool["label"] == "cat"
    assert plain["confidence"] == pytest.approx(math.e**2 / (math.e**2 + math.e + 1))
    assert cool["confidence"] == pytest.approx(math.e**4 / (math.e**4 + math.e**2 + 1))


def test_a_spec_refuses_a_temperature_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"from 0\.01 to 100"):
        OutputSpec("a", "classification", ("x", "y"), temperature=0.0)
    with pytest.raises(ValueError, match=r"from 0\.01 to 100"):
        OutputSpec("a", "classification", ("x", "y"), temperature=float("nan"))
    with pytest.raises(ValueError, match="it has no temperature"):
        OutputSpec("a", "regression", ("x", "y"), temperature=2.0)


# Weights carry theirs


def test_shipped_weights_bring_their_temperatures_into_the_contract() -> None:
    path = zoo.weights_path("multitask-cnn", "classification")
    assert path is not None
    noted = read_temperatures(path)
    assert set(noted) == {"age", "gender"}
    for loaded in (
        load_module(SourceRequest(locator="multitask-cnn:classification"), "zoo"),
        load_module(SourceRequest(locator=str(path)), "checkpoint"),
    ):
        assert {o.name: o.temperature for o in loaded.spec.outputs} == noted


def test_weights_with_a_damaged_note_are_refused(tmp_path: Path) -> None:
    network = zoo.build("multitask-cnn", "regression")
    for note in ({"age": "hot"}, {"age": 0}, [1], {"age": 1e9}):
        save_weights(network, tmp_path / "a.safetensors", {"temperatures": note})
        with pytest.raises(BadModel, match="fit them again"):
            read_temperatures(tmp_path / "a.safetensors")


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(40):
        noise = np.random.default_rng(index).integers(-90, 90, (70, 70, 3))
        buffer = io.BytesIO()
        pixels = (60 + 60 * (index % 2) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        name = f"{28 if index % 2 else 65}_{index % 2}_0_2017{index:013d}.jpg"
        (folder / name).write_bytes(buffer.getvalue())
    return folder


def test_a_training_fits_and_the_command_fits_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    result = train(
        TrainOptions(
            model="multitask-cnn:classification",
            data=str(faces),
            output=run,
            plan=SplitPlan(protocol="random"),
            changes=("epochs=1", "batch=16"),
            threads=1,
        )
    )
    weights = run / "multitask-cnn.classification.safetensors"
    assert set(result.temperatures) == {"age", "gender"}
    assert read_temperatures(weights) == result.temperatures
    assert [item.output for item in result.test.confidence] == ["age", "gender"]
    assert "## Confidence" in weights.with_suffix(".md").read_text()

    shelved = tmp_path / "shelf" / "training" / weights.stem / "training.json"
    shelved.parent.mkdir(parents=True)
    before = read_weights(weights)
    save_weights_without_temperatures(weights)
    stale = msgspec.json.decode((run / "result.json").read_bytes(), type=TrainResult)
    builtins = msgspec.to_builtins(stale) | {"weights_sha256": sha256(weights), "temperatures": {}}
    shelved.write_bytes(msgspec.json.encode(builtins))
    for module in ("recorded", "refit"):
        monkeypatch.setattr(f"edgekit.training.{module}.shelf", lambda name: tmp_path / "shelf")
    ask = ["weights", "multitask-cnn:classification", "--fit-confidence", "--weights", str(run)]
    done = CliRunner().invoke(app, [*ask, "--data", str(faces), "--json"])
    assert done.exit_code == 0, done.output
    rows = msgspec.json.decode(done.stdout)["rows"]
    assert [row["output"] for row in rows] == ["age", "gender"]
    assert read_temperatures(weights) == result.temperatures
    after = read_weights(weights)
    assert all((after[name] == tensor).all() for name, tensor in before.items())
    renewed = msgspec.json.decode(shelved.read_bytes(), type=TrainResult)
    assert renewed.weights_sha256 == sha256(weights)
    assert renewed.test.confidence == result.test.confidence

    shelved.write_bytes(msgspec.json.encode(msgspec.to_builtins(stale) | {"weights_sha256": "0"}))
    other = CliRunner().invoke(app, [*ask, "--data", str(faces)])
    assert "is not what the training on record made" in str(other.exception)


def save_weights_without_temperatures(weights: Path) -> None:
    network = zoo.build("multitask-cnn", "classification")
    network.load_state_dict(read_weights(weights))
    about = {k: v for k, v in read_metadata(weights).items() if k != "temperatures"}
    save_weights(network, weights, about)
