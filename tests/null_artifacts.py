"""Artifacts of the null backend: they answer zeros, so what is measured is the harness."""

from __future__ import annotations

from pathlib import Path

from edgekit.artifact import (
    Artifact,
    Manifest,
    OutputParity,
    ParityRecord,
    SourceRecord,
    record_files,
    write_manifest,
)
from edgekit.spec import InputSpec, OutputSpec

APP = "cats"


def null_artifact(folder: Path, model: str = APP, content: str = "nothing") -> Artifact:
    """An artifact that answers zeros: what is measured is the harness."""
    folder.mkdir(parents=True)
    (folder / "model.null").write_text(f"{content} of {model}")
    return write_manifest(
        folder,
        Manifest(
            model=model,
            backend="null",
            precision="fp32",
            files=record_files(folder, ["model.null"]),
            source=SourceRecord(
                kind="zoo", locator=model, sha256="0" * 64, parameters=1, macs=1, weights="random"
            ),
            input=InputSpec(8, 8),
            feed="uint8",
            outputs=(OutputSpec("age", "classification", ("young", "old")),),
            calibration=None,
            tools={"edgekit": "0"},
            parity=ParityRecord(
                images=("a" * 64,),
                outputs=(
                    OutputParity(name="age", max_abs_diff=0.0, mean_abs_diff=0.0, agreement=1.0),
                ),
                bar="none",
                passed=True,
            ),
        ),
    )
