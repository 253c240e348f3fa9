"""JSON files from outside: bounded, and every fault one line of the right kind."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from null_artifacts import null_artifact
from records import a_measurement

from edgekit.artifact import load_artifact
from edgekit.emulation.cost_gate import read_baseline
from edgekit.errors import BadArtifact, BadResults, DeviceError, EdgekitError
from edgekit.json_files import Damaged, read_json
from edgekit.outputs import read_outputs
from edgekit.results import load_measurement, load_results, save
from edgekit.spec import OutputSpec

ABSURD = {
    "nothing": b"",
    "nested": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested in a field": b'{"schema": ' + b"[" * 100_000,
    "digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "fraction": b'{"schema": 1.' + b"9" * 5000 + b"}",
    "exponent": b'{"schema": 1e999999}',
    "not text": b"\xff\xfe{}",
    "surrogates": b'{"model": "\xed\xa0\x80"}',
    "zero bytes": bytes(1000),
    "a number": b"7",
    "cut": b'{"schema": 1, "kind": "measure',
}


@pytest.mark.parametrize("kind", ABSURD)
def test_an_absurd_file_is_one_line_everywhere(tmp_path: Path, kind: str) -> None:
    for read, name in (
        (load_artifact, "manifest.json"), (load_measurement, "m.json"), (read_baseline, "b.json"),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(ABSURD[kind])
        with pytest.raises(EdgekitError, match="damaged") as caught:
            read(path)
        assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000


def test_a_pipe_or_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(Damaged, match="no regular file"):
        read_json(tmp_path / "pipe.json", dict)
    with pytest.raises(BadResults, match="no regular file"):
        load_measurement(tmp_path / "pipe.json")
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(Damaged, match="larger than 1,000 bytes"):
        read_json(big, dict, 1000)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 30_000, "width": 30_000}, {"resize_to": 30_000}, {"height": 10**18},
        {"height": 0}, {"width": -5}, {"std": [0, 1, 1]},
    ],
)  # fmt: skip
def test_a_manifest_whose_input_no_memory_holds_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    artifact = null_artifact(tmp_path / "a")
    path = artifact.folder / "manifest.json"
    table = json.loads(path.read_text())
    table["input"] |= change
    path.write_text(json.dumps(table))
    with pytest.raises(BadArtifact, match="damaged"):
        load_artifact(artifact.folder)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "a\0b", "x" * 5000, "/etc/passwd"])
def test_a_manifest_names_files_of_its_own_folder_only(tmp_path: Path, name: str) -> None:
    artifact = null_artifact(tmp_path / "a")
    path = artifact.folder / "manifest.json"
    table = json.loads(path.read_text())
    table["files"][0]["name"] = name
    path.write_text(json.dumps(table))
    with pytest.raises(BadArtifact):
        load_artifact(artifact.folder)


@pytest.mark.parametrize("field", ["run", "label"])
@pytest.mark.parametrize("word", ["../../x", "..", "", "/tmp/x", "a\0b", "a\x1b[2J", "x" * 300])
def test_results_lead_nowhere_but_into_their_folder(tmp_path: Path, field: str, word: str) -> None:
    results = tmp_path / "results"
    good = a_measurement()
    path = save(good, results)
    table = json.loads(path.read_text())
    table[field] = word
    (results / "hostile.json").write_text(json.dumps(table))
    loaded, problems = load_results(results)
    assert loaded == [good] and len(problems) == 1 and "hostile.json" in problems[0]
    with pytest.raises(BadResults):
        save(replace(good, **{field: word}), results)  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results"]


def test_outputs_that_unpack_to_gigabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = (OutputSpec("age"),)
    path = tmp_path / "outputs.npz"
    np.savez_compressed(path, age=np.zeros((1, 1 << 20), np.float32))
    assert read_outputs(path, specs, 1)["age"].shape == (1, 1 << 20)
    monkeypatch.setattr("edgekit.outputs.MAX_BYTES", 1 << 20)
    with pytest.raises(DeviceError, match="unpacks to"):
        read_outputs(path, specs, 1)


def test_outputs_whose_header_lies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    for shape in ("(1000000000000,)", "(-1,)", "(1,", "(1e9,)"):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("age.npy", data)
        with pytest.raises(DeviceError, match="cannot be read"):
            read_outputs(path, (OutputSpec("age"),), 1)
