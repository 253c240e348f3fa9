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
from records import DESKTOP, a_measurement, a_round, an_accuracy

from edgekit.errors import BadResults
from edgekit.records import comparability
from edgekit.results import load_accuracy, load_measurement, load_results, save


def test_a_measurement_comes_back_with_every_sample(tmp_path: Path) -> None:
    measurement = a_measurement(error="round 3: it died")
    path = save(measurement, tmp_path)
    assert (
        path
        == tmp_path / measurement.run / "multitask-cnn-classification-onnx-fp32-onnxruntime.json"
    )
    assert load_measurement(path) == measurement
    assert load_results(tmp_path) == ([measurement], [])


def test_the_file_holds_its_schema_and_raw_samples_but_no_verdict(tmp_path: Path) -> None:
    measurement = a_measurement()
    written = json.loads(save(measurement, tmp_path).read_text())
    assert written["schema"] == 1
    assert written["kind"] == "measurement"
    assert written["rounds"][0]["invoke_s"] == list(measurement.rounds[0].invoke_s)
    assert "verdict" not in written


def test_measurements_and_accuracy_live_side_by_side(tmp_path: Path) -> None:
    save(a_measurement(), tmp_path)
    path = save(an_accuracy(), tmp_path)
    assert load_accuracy(tmp_path) == ([an_accuracy()], [])
    assert load_results(tmp_path) == ([a_measurement()], [])
    written = json.loads(path.read_text())
    assert {"age_accuracy", "age_1off", "gender_accuracy"} <= set(written)
    assert written["age_accuracy"] == 61.25
    assert written["gender_accuracy"] is None


def test_a_damaged_file_is_named_and_the_others_load(tmp_path: Path) -> None:
    good = a_measurement(precision="int8")
    save(good, tmp_path)
    cut = save(a_measurement(), tmp_path)
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
    whole = msgspec.json.encode(a_measurement(rounds=(a_round(),) * 3))
    path = tmp_path / "damaged.json"
    path.write_bytes(whole[:cut] + noise + whole[cut + 1 :])
    found, problems = load_results(tmp_path)
    assert len(found) + len(problems) <= 1
    assert all("\n" not in line for line in problems)


def test_a_label_cannot_leave_its_folder(tmp_path: Path) -> None:
    record = replace(an_accuracy(), model="../../etc/passwd", split="a/b")
    path = save(record, tmp_path)
    assert path.resolve().is_relative_to(tmp_path.resolve() / "accuracy") and path.is_file()
    assert ".." not in path.relative_to(tmp_path).parts


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "rpi4"},
        {"threads": 2},
        {"cores": (1,)},
        {"provenance": "predicted"},
        {"images": "d" * 64},
        {"facts": replace(DESKTOP, cpu_model="Another")},
        {"facts": replace(DESKTOP, governor="powersave")},
    ],
)
def test_what_makes_two_measurements_incomparable(changes: dict[str, Any]) -> None:
    one, other = comparability(a_measurement()), comparability(a_measurement(**changes))
    assert sum(one[name] != other[name] for name in one) == 1


def test_models_and_runtimes_may_differ() -> None:
    other = a_measurement(
        precision="int8", runtime="openvino", runtime_version="9", device="ssh://a@b"
    )
    assert comparability(a_measurement()) == comparability(other)
