"""Manifests and model files are believed only when they hold together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.artifact import (
    MANIFEST,
    PRECISIONS,
    Artifact,
    Manifest,
    OutputParity,
    ParityRecord,
    SourceRecord,
    find_artifacts,
    load_artifact,
    record_files,
    write_manifest,
)
from edgekit.errors import BadArtifact
from edgekit.spec import InputSpec, OutputSpec


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = tmp_path / "out" / "null-fp32"
    folder.mkdir(parents=True)
    (folder / "model.null").write_text("nothing")
    return write_manifest(
        folder,
        Manifest(
            model="model",
            backend="null",
            precision="fp32",
            files=record_files(folder, ["model.null"]),
            source=SourceRecord(
                kind="zoo", locator="model", sha256="0" * 64, parameters=1, macs=1, weights="random"
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


def test_a_folder_of_artifacts_is_not_taken_for_one(artifact: Artifact) -> None:
    with pytest.raises(BadArtifact, match=r"holds several artifacts: name one, like .*null-fp32"):
        load_artifact(artifact.folder.parent)


def test_a_manifest_comes_back_as_it_was_written(artifact: Artifact) -> None:
    assert load_artifact(artifact.folder) == artifact
    assert load_artifact(artifact.path) == artifact


def test_the_manifest_holds_defaults_too(artifact: Artifact) -> None:
    written = json.loads((artifact.folder / MANIFEST).read_text())
    assert written["input"]["colour"] == "RGB"
    assert written["input"]["layout"] == "NCHW"


def test_the_same_files_computed_in_half_precision_are_another_artifact(artifact: Artifact) -> None:
    of = {
        precision: replace(
            artifact, manifest=replace(artifact.manifest, precision=precision)
        ).sha256
        for precision in PRECISIONS
    }
    assert of["fp16-compute"] != of["fp32"] == of["fp16"] == of["int8"] == of["int8-dynamic"]


def test_a_folder_of_artifacts_gives_each_once(artifact: Artifact) -> None:
    parent = artifact.folder.parent
    shutil.copytree(artifact.folder, parent / "other")
    shutil.copytree(artifact.folder, parent / ".out.partial-1" / "half")
    found = find_artifacts([parent, artifact.folder, artifact.path])
    assert [a.folder.name for a in found] == ["null-fp32", "other"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m["files"][0].update(sha256="0" * 64), "not the file its manifest describes"),
        (lambda m: m["files"][0].update(name="../model.null"), "outside its folder"),
        (lambda m: m["files"][0].update(name="/etc/passwd"), "outside its folder"),
        (lambda m: m.update(files=[]), "lists no files"),
        (lambda m: m.update(schema=99), "update edgekit"),
        (lambda m: m.update(backend=7), "damaged"),
        (lambda m: m.pop("parity"), "damaged"),
    ],
)
def test_a_manifest_that_lies_is_refused(
    artifact: Artifact, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    path = artifact.folder / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadArtifact, match=complaint):
        load_artifact(artifact.folder)


def test_a_linked_model_file_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    shutil.move(artifact.path, tmp_path / "elsewhere")
    artifact.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadArtifact, match="missing"):
        load_artifact(artifact.folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(cut=st.integers(0, 5000), noise=st.binary(max_size=8))
def test_damaged_manifest_bytes_never_give_a_traceback(
    artifact: Artifact, cut: int, noise: bytes
) -> None:
    path = artifact.folder / MANIFEST
    whole = msgspec.json.encode(artifact.manifest)
    path.write_bytes(whole[:cut] + noise + whole[cut + 1 :])
    try:
        loaded = load_artifact(artifact.folder)
    except BadArtifact as error:
        assert "\n" not in str(error)
    else:
        assert loaded.manifest.files[0].sha256 == artifact.manifest.files[0].sha256
