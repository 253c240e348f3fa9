"""What was made before the modules moved is still read: bundle, artifacts, spec, rows, records.

`made_before/` holds files that edgekit 0.1.0 wrote at commit 8f7a6d2, of user_models:small:

    edgekit convert user_models:small --spec spec.toml … -o out
    edgekit bundle out/onnx-int8 -o small.ekb --max-p90 250 …
    edgekit bench out --json > bench.json
    edgekit predict golden/*.png --artifact out/… --json        answers.json, of the bundle's images
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import run_cli
from null_artifacts import null_artifact
from pictures import draw_pictures

import edgekit
from edgekit.conversion.spec_files import read_spec
from edgekit.measurement.summary import summary_row
from edgekit.onboard.receiver.__main__ import Talk
from edgekit.onboard.receiver.archive import unpack
from edgekit.records import AccuracyRecord, EmulationRecord, Measurement, PredictionRecord
from edgekit.results import load_files
from edgekit.spec import InputSpec, OutputSpec

BEFORE = Path(__file__).parent / "made_before"
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
BUNDLE = BEFORE / "small.ekb"
ANSWERS: dict[str, list[dict[str, Any]]] = json.loads((BEFORE / "answers.json").read_text())
STEP = 0.01
"""An int8 answer's confidence may be off by about one step of its output on another CPU."""


@pytest.fixture
def golden(tmp_path: Path) -> list[Path]:
    """The images in the bundle, on which its answers were recorded."""
    unpack(BUNDLE, tmp_path / "unpacked")
    return sorted((tmp_path / "unpacked" / "golden").glob("*.png"))


def test_the_board_takes_proves_and_serves_the_bundle(
    tmp_path: Path, golden: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    content = BUNDLE.read_bytes()
    version = hashlib.sha256(content).hexdigest()
    assert version.startswith("6ab5e436c4ae"), "the version that `edgekit bundle` printed"
    talk = Talk()

    def ask(do: str, **given: object) -> dict[str, Any]:
        return talk.answer({"do": do, **given})

    assert ask("open", app="small", wait=0.0) == {"active": None}
    place = tmp_path / ask("receive", bundle=version, size=len(content))["path"]
    place.write_bytes(content)
    assert ask("verify", required=False) == {"sha256": version, "signed_by": None}
    assert ask("unpack") == {"files": 14}
    ask("environment", python=sys.executable)
    proven = ask("golden")
    assert (proven["count"], proven["runtime"]) == (8, "onnxruntime")
    measured = ask("latency", limit_ms=60_000.0)
    assert 0 < measured["p90_ms"] <= measured["limit_ms"] == 250.0
    assert ask("switch") == {"active": version, "before": None, "service": None}
    ask("prune", keep=2)
    talk.close()
    current = tmp_path / ".edgekit" / "apps" / "small" / "current"
    served = subprocess.run(
        [current / "run", "predict", *golden], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line)["outputs"]["animal"] for line in served.stdout.splitlines()]
    assert [line["label"] for line in lines] == [row["animal"] for row in ANSWERS["onnx-int8"]]


@pytest.mark.parametrize("name", ["onnx-int8", "tflite-int8"])
def test_an_artifact_answers_as_it_did(name: str, golden: list[Path]) -> None:
    (artifact,) = edgekit.find_artifacts([BEFORE / name])
    assert (artifact.manifest.schema, artifact.manifest.tools["edgekit"]) == (1, "0.1.0")
    answers = edgekit.answer(golden, artifact)
    assert len(answers) == len(ANSWERS[name]) == 8
    for answer, before in zip(answers, ANSWERS[name], strict=True):
        decision = answer.outputs["animal"]
        assert decision is not None
        assert (Path(answer.image).name, decision.label) == (before["image"], before["animal"])
        assert decision.confidence == pytest.approx(before["animal_confidence"], abs=STEP)


def test_a_spec_means_what_it_meant() -> None:
    spec = read_spec(str(BEFORE / "spec.toml"))
    shown = InputSpec(32, 32, (127.5,) * 3, (127.5,) * 3, "BGR", "NCHW", resize_to=40)
    assert spec.input == shown
    assert spec.outputs == (OutputSpec("animal", "classification", ("cat", "dog", "owl")),)
    (artifact,) = edgekit.find_artifacts([BEFORE / "onnx-int8"])
    assert (artifact.manifest.input, artifact.manifest.outputs) == (spec.input, spec.outputs)


def test_bench_rows_have_every_field_they_had(tmp_path: Path) -> None:
    """In the same order: a script may have read them as columns."""
    null_artifact(tmp_path / "null")
    pictures = draw_pictures(tmp_path / "pictures", 2)
    command = ["bench", tmp_path / "null", "--images", pictures, "--min-seconds", "0"]
    command += ["--percentile", "p50", "--results", tmp_path / "results", "--json"]
    done = run_cli(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, now = json.loads((BEFORE / "bench.json").read_text()), json.loads(done.stdout)
    assert before.keys() <= now.keys()
    assert len(before["rows"]) == 4
    for row in before["rows"]:
        assert [name for name in now["rows"][0] if name in row] == list(row)


def test_every_saved_record_in_the_repository_is_read() -> None:
    kinds = Counter(
        content["kind"]
        for path in BENCHMARKS.rglob("*.json")
        if isinstance(content := json.loads(path.read_text()), dict) and "kind" in content
    )
    read: dict[str, Sequence[object]] = {
        "measurement": load_files(BENCHMARKS, Measurement)[0],
        "accuracy": load_files(BENCHMARKS, AccuracyRecord)[0],
        "emulation": load_files(BENCHMARKS, EmulationRecord)[0],
        "prediction": load_files(BENCHMARKS, PredictionRecord)[0],
    }
    assert {kind: len(records) for kind, records in read.items()} == {
        kind: kinds[kind] for kind in read
    }
    assert all(kinds[kind] for kind in read)
    measured, _ = load_files(BENCHMARKS, Measurement)
    assert all(summary_row(record)["samples"] for _, record in measured)
