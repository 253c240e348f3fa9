"""What was saved comes back, and a damaged file costs no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import BadResults
from edgekit.results import (
    AccuracyRecord,
    ArtifactFacts,
    Measurement,
    Round,
    comparability,
    load_accuracy,
    load_measurement,
    load_results,
    save,
)
from edgekit.targets import DeviceFacts

FACTS = DeviceFacts(
    machine="x86_64",
    cpu_model="A CPU",
    cores=2,
    memory_bytes=8_000_000_000,
    python="3.11.7",
    glibc="2.36",
    os="Debian 12",
)


def make_round(invoke: tuple[float, ...] = (0.010,) * 30, **changes: Any) -> Round:
    whole = Round(
        load_s=0.2,
        first_s=0.02,
        warmup_s=(0.011,) * 10,
        invoke_s=invoke,
        end_to_end_s=tuple(value + 0.002 for value in invoke),
        settled=True,
        peak_memory_bytes=50_000_000,
        clock_mhz=(1500.0,) * 4,
        temperature_c=(40.0, None, 41.0, 41.5),
        throttled=("0x0",) * 4,
    )
    return replace(whole, **changes)


def make_measurement(precision: Any = "fp32", **changes: Any) -> Measurement:
    """Return a whole, quiet measurement of three rounds."""
    whole = Measurement(
        label=f"model-onnx-{precision}-onnxruntime",
        run="20260101T000000.000000Z-0123456789ab",
        artifact=ArtifactFacts(
            sha256="a" * 64,
            model="model",
            backend="onnx",
            precision=precision,
            bytes=1000,
            parameters=250,
            macs=4000,
            weights="random",
            parity_max_abs_diff=1e-6,
            parity_agreement=1.0,
            parity_passed=True,
        ),
        target="host",
        device="local",
        facts=FACTS,
        provenance="measured",
        runtime="onnxruntime",
        runtime_version="1.20",
        threads=1,
        cores=(),
        images="c" * 64,
        wanted_rounds=3,
        min_seconds=1.0,
        min_count=22,
        created="2026-01-01T00:00:00+00:00",
        command="edgekit bench out",
        rounds=(make_round(), make_round(), make_round()),
    )
    return replace(whole, **changes)


ACCURACY = AccuracyRecord(
    model="model",
    backend="onnx",
    precision="int8",
    artifact="a" * 64,
    dataset="UTKFace",
    dataset_sha256="b" * 64,
    split="test",
    protocol="group-disjoint",
    images=4000,
    provenance="measured",
    created="2026-01-01T00:00:00+00:00",
    command="edgekit accuracy out",
    age_accuracy=55.0,
    age_accuracy_low=53.5,
    age_accuracy_high=56.5,
)


def test_a_measurement_comes_back_with_every_sample(tmp_path: Path) -> None:
    measurement = make_measurement(error="round 3: it died")
    path = save(measurement, tmp_path)
    assert path == tmp_path / measurement.run / "model-onnx-fp32-onnxruntime.json"
    assert load_measurement(path) == measurement
    assert load_results(tmp_path) == ([measurement], [])


def test_the_file_holds_its_schema_and_raw_samples_but_no_verdict(tmp_path: Path) -> None:
    written = json.loads(save(make_measurement(), tmp_path).read_text())
    assert written["schema"] == 1
    assert written["kind"] == "measurement"
    assert len(written["rounds"][0]["invoke_s"]) == 30
    assert "verdict" not in written


def test_measurements_and_accuracy_live_side_by_side(tmp_path: Path) -> None:
    save(make_measurement(), tmp_path)
    path = save(ACCURACY, tmp_path)
    assert load_accuracy(tmp_path) == ([ACCURACY], [])
    assert load_results(tmp_path) == ([make_measurement()], [])
    written = json.loads(path.read_text())
    assert {"age_accuracy", "age_1off", "gender_accuracy"} <= set(written)
    assert written["age_accuracy"] == 55.0
    assert written["gender_accuracy"] is None


def test_a_damaged_file_is_named_and_the_others_load(tmp_path: Path) -> None:
    good = make_measurement("int8")
    save(good, tmp_path)
    cut = save(make_measurement(), tmp_path)
    cut.write_bytes(cut.read_bytes()[:400])
    newer = cut.with_name("newer.json")
    newer.write_text(json.dumps({"kind": "measurement", "schema": 2, "other": "shape"}))
    cut.with_name("list.json").write_text("[1, 2]")
    cut.with_name(".half.json").write_text("{")
    found, problems = load_results(tmp_path)
    assert found == [good]
    assert len(problems) == 3
    assert all("\n" not in line for line in problems)
    assert any(str(cut) in line and "damaged" in line for line in problems)
    assert f"{newer} has schema 2, newer than 1: update edgekit" in problems


def test_a_missing_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadResults, match="edgekit bench"):
        load_results(tmp_path / "none")
    with pytest.raises(BadResults, match="edgekit bench"):
        load_measurement(tmp_path / "none.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(cut=st.integers(0, 4000), noise=st.binary(max_size=8))
def test_no_damage_ends_in_a_traceback(tmp_path: Path, cut: int, noise: bytes) -> None:
    whole = msgspec.json.encode(make_measurement())
    path = tmp_path / "damaged.json"
    path.write_bytes(whole[:cut] + noise + whole[cut + 1 :])
    found, problems = load_results(tmp_path)
    assert len(found) + len(problems) <= 1
    assert all("\n" not in line for line in problems)


def test_a_label_cannot_leave_its_folder(tmp_path: Path) -> None:
    record = replace(ACCURACY, model="../../etc/passwd", split="a/b")
    assert save(record, tmp_path).parent.parent == tmp_path / "accuracy"


def test_the_usual_data_give_a_short_name_and_no_other_data_can_take_it(tmp_path: Path) -> None:
    usual = replace(
        ACCURACY, model="multitask-cnn:classification", dataset="utkface", device="virtual:rpi4",
        runtime="tflite_runtime", protocol="UTKFace mapped to Adience bins, published split",
    )  # fmt: skip
    short = "accuracy/multitask-cnn.classification/onnx-int8.tflite_runtime.virtual-rpi4.json"
    assert save(usual, tmp_path).relative_to(tmp_path).as_posix() == short
    others = [
        replace(usual, dataset="faces"),
        replace(usual, split="val"),
        replace(usual, protocol="UTKFace mapped to Adience bins, random split"),
    ]
    paths = {save(record, tmp_path) for record in (*others, usual)}
    assert len(paths) == len(load_accuracy(tmp_path)[0]) == 4
    assert (
        tmp_path
        / (
            "accuracy/multitask-cnn.classification/onnx-int8.tflite_runtime.virtual-rpi4"
            ".faces-test-UTKFace-mapped-to-Adience-bins-published-split.json"
        )
        in paths
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "rpi4"},
        {"threads": 2},
        {"cores": (1,)},
        {"provenance": "predicted"},
        {"images": "d" * 64},
        {"facts": replace(FACTS, cpu_model="Another")},
        {"facts": replace(FACTS, governor="powersave")},
    ],
)
def test_what_makes_two_measurements_incomparable(changes: dict[str, Any]) -> None:
    one, other = comparability(make_measurement()), comparability(make_measurement(**changes))
    assert sum(one[name] != other[name] for name in one) == 1


def test_models_and_runtimes_may_differ() -> None:
    other = make_measurement("int8", runtime="openvino", runtime_version="9", device="ssh://a@b")
    assert comparability(make_measurement()) == comparability(other)


def test_a_record_with_a_field_of_former_versions_is_read(tmp_path: Path) -> None:
    measurement = make_measurement()
    path = save(measurement, tmp_path)
    old = json.loads(path.read_text()) | {"scenario": "single_stream"}
    path.write_text(json.dumps(old))
    assert load_measurement(path) == measurement
