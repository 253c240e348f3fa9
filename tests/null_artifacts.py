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
            model,
            "null",
            "fp32",
            record_files(folder, ["model.null"]),
            SourceRecord("zoo", model, "0" * 64, 1, 1, "random"),
            InputSpec(8, 8),
            "uint8",
            (OutputSpec("age", "classification", ("young", "old")),),
            None,
            {"edgekit": "0"},
            ParityRecord(("a" * 64,), (OutputParity("age", 0.0, 0.0, 1.0),), "none", True),
        ),
    )
