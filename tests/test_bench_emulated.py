"""One artifact that dies on a virtual board costs no other its row, nor its predicted latency."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from records import a_prediction, an_emulation

from edgekit.artifact import Artifact, find_artifacts
from edgekit.cli.bench_emulated import EmulatedBench, bench_emulated
from edgekit.errors import DeviceError
from edgekit.records import EmulationRecord, PredictionRecord, artifact_facts
from edgekit.targets import load_target


@pytest.mark.slow
def test_one_that_dies_costs_no_other_its_prediction(
    converted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("onnx-fp32", "onnx-int8", "tflite-int8")
    dead, dies_later, lives = (find_artifacts([converted / name])[0] for name in names)
    asked: list[Artifact] = []

    def emulate(artifacts: Sequence[Artifact], **_: Any) -> tuple[EmulationRecord, ...]:
        return tuple(
            an_emulation(artifact=artifact_facts(a), failure="out of memory" if a == dead else "")
            for a in artifacts
        )

    def predict(_: Any, artifacts: Sequence[Artifact], *__: Any, **___: Any) -> Any:
        asked.extend(artifacts)
        if artifacts[0] == dies_later:
            raise DeviceError("virtual:rpi4: the runner ended with signal 9")
        prediction: PredictionRecord = a_prediction(artifact=artifact_facts(artifacts[0]))
        return (prediction,)

    monkeypatch.setattr("edgekit.api.emulate", emulate)
    monkeypatch.setattr("edgekit.latency_model.records.predict", predict)
    request = EmulatedBench(
        artifacts=[converted / name for name in names],
        target=load_target("rpi4"),
        images=None,
        runtime=None,
        results=tmp_path / "results",
        gate=None,
        max_increase=1.0,
        baseline=None,
        command="edgekit bench",
    )
    with pytest.raises(typer.Exit) as ended:
        bench_emulated(request, wide=False, as_json=True, quiet=True)
    assert ended.value.exit_code == 1
    said = json.loads(capsys.readouterr().out)
    assert [row.get("loads") for row in said["rows"]] == [False, True, True, None]
    assert asked == [dies_later, lives]
    told = (
        f"no latency predicted for {dies_later.label}: virtual:rpi4: the runner ended with signal 9"
    )
    assert told in said["notes"]
