"""A labels.csv of one's own: the model's classes in its own order, and which images count."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import bad_artifacts
import pytest
from command_line import Cli, one_line_error
from pictures import draw_pictures

from edgekit.artifact import write_manifest
from edgekit.conversion.guard_images import _labelled
from edgekit.spec import InputSpec, ModelSpec, OutputSpec

SIZES = ("small", "middle", "large")
"""Sorted they would be in another order."""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "art").mkdir()
    made = bad_artifacts.onnx_fp32(tmp_path / "art")
    outputs = (OutputSpec("size", "classification", SIZES),)
    return write_manifest(made.folder, replace(made.manifest, outputs=outputs)).folder


def labelled(folder: Path, *rows: str) -> Path:
    """Return a folder of pictures, one a row; a row is its cells after the file's name."""
    names = sorted(path.name for path in draw_pictures(folder, len(rows) - 1).iterdir())
    lines = [f"file,{rows[0]}", *(f"{n},{r}" for n, r in zip(names, rows[1:], strict=True))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def rows_of(cli: Cli, artifact: Path, data: Path, *more: str) -> tuple[Any, list[str]]:
    done = cli("evaluate", artifact, "--data", data, "--json", "--workers", "1", *more)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return said["rows"], said["notes"]


def test_the_classes_are_the_models_though_the_data_lack_some(
    cli: Cli, artifact: Path, tmp_path: Path
) -> None:
    data = labelled(tmp_path / "d", "size,split", "small,test", "middle,test", "middle,test")
    answered = cli("predict", data, "-a", artifact, "--json")
    said = [row["size"] for row in json.loads(answered.stdout)["rows"]]
    right = sum(a == b for a, b in zip(said, ("small", "middle", "middle"), strict=True))
    (row,), notes = rows_of(cli, artifact, data)
    assert row["images"] == 3 and row["size_accuracy"] == pytest.approx(100 * right / 3, abs=0.1)
    assert not any("not of this split" in note for note in notes)


def test_each_models_own_classes_count_where_several_are_judged_together(
    cli: Cli, artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    made = bad_artifacts.onnx_fp32(tmp_path / "other")
    outputs = (OutputSpec("colour", "classification", ("red", "green", "blue")),)
    changed = replace(made.manifest, model="other", outputs=outputs)
    other = write_manifest(made.folder, changed).folder
    data = labelled(tmp_path / "d", "size,colour,split", "small,green,test", "large,red,test")
    done = cli("evaluate", artifact, other, "--data", data, "--json", "--workers", "1")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["rows"]
    assert first["size_accuracy"] is not None and second["colour_accuracy"] is not None


def test_a_class_that_the_model_lacks_is_named_with_the_nearest(
    cli: Cli, artifact: Path, tmp_path: Path
) -> None:
    data = labelled(tmp_path / "d", "size,split", "smal,test", "large,test")
    line = one_line_error(cli("evaluate", artifact, "--data", data, "-q"))
    assert "'smal' is no class of size" in line and "Did you mean 'small'?" in line
    semicolons = labelled(tmp_path / "e", "size", "small")
    file = semicolons / "labels.csv"
    file.write_text(file.read_text().replace(",", ";"))
    assert "by commas" in one_line_error(cli("evaluate", artifact, "--data", semicolons, "-q"))


def test_all_images_are_taken_where_that_is_asked_for(
    cli: Cli, artifact: Path, tmp_path: Path
) -> None:
    data = labelled(tmp_path / "d", "size,split", "small,test", "middle,train", "large,")
    (row,), notes = rows_of(cli, artifact, data)
    assert row["images"] == 1 and any("2 images are not of this split" in n for n in notes)
    (row,), notes = rows_of(cli, artifact, data, "--split", "all")
    assert row["images"] == 3 and not any("not of this split" in n for n in notes)
    line = one_line_error(cli("evaluate", artifact, "--data", data, "-q", "--split", "val"))
    assert "no images in its val split (test 1, train 1)" in line


def test_a_guard_reads_its_labels_as_the_model_does(tmp_path: Path) -> None:
    data = labelled(tmp_path / "d", "size,split", "large,val", "small,val")
    spec = ModelSpec(InputSpec(8, 8), (OutputSpec("size", "classification", SIZES),))
    dataset = _labelled(str(data), spec)
    assert dataset is not None
    assert sorted(sample.labels["size"] for sample in dataset.samples) == [0, 2]


def test_a_core_that_is_not_there_is_named(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux passes over numbers that it does not have, and would measure on the others."""
    from edgekit.onboard import runner

    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    job = {"artifact": str(artifact), "runtime": "onnxruntime", "cores": [0, 99]}
    with pytest.raises(ValueError, match="there is no core 99"):
        runner.Loaded(job, runner.RUNTIMES)
