"""`edgekit evaluate` on a small labelled set made here, against a direct computation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, one_line_error
from pictures import draw_pictures
from sshd import Board

from edgekit.artifact import load_artifact
from edgekit.devices.emulator.install import install
from edgekit.devices.emulator.profile import board_of
from edgekit.errors import DeviceError
from edgekit.onboard import runner
from edgekit.outputs import read_outputs
from edgekit.results import load_accuracy
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS, OutputSpec
from edgekit.targets import load_target

SPECS = (OutputSpec("x", "classification", ("a", "b")),)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels.csv in the test split; one picture is broken, one has no age."""
    folder = draw_pictures(tmp_path_factory.mktemp("labelled"), 30, seed=7)
    rows = ["file,age,gender,split"]
    for index, path in enumerate(sorted(folder.iterdir())):
        age = "" if index == 3 else ADIENCE_AGE_LABELS[index % 8]
        rows.append(f"{path.name},{age},{GENDER_LABELS[index % 2]},test")
    (folder / "broken.png").write_bytes(b"no picture")
    rows.append(f"broken.png,{ADIENCE_AGE_LABELS[0]},{GENDER_LABELS[0]},test")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def expected(artifact_folder: Path, labelled: Path) -> dict[str, float]:
    """Accuracy by the plainest loop there is: decode, feed, invoke, decide, compare."""
    artifact = load_artifact(artifact_folder)
    manifest = json.loads((artifact_folder / "manifest.json").read_text())
    invoke = runner.load_onnxruntime(str(artifact.path), manifest, 1)
    hits: dict[str, list[bool]] = {"age": [], "gender": []}
    for line in (labelled / "labels.csv").read_text().splitlines()[1:]:
        file, age, gender, _ = line.split(",")
        if file == "broken.png":
            continue
        pixels = runner.decode_for((labelled / file).read_bytes(), manifest["input"])
        values = invoke(runner.feed(pixels, manifest))
        for output, value, label in zip(manifest["outputs"], values, (age, gender), strict=True):
            if label:
                decision = runner.decide(value, output)
                assert decision is not None
                hits[output["name"]].append(decision["label"] == label)
    return {name: 100 * float(np.mean(values)) for name, values in hits.items()}


def test_rows_equal_a_direct_computation(
    cli: Cli, converted: Path, labelled: Path, tmp_path: Path
) -> None:
    done = cli(
        "evaluate", converted / "onnx-fp32", converted / "onnx-int8", "--data", labelled, "--json",
        "--results", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    fp32, int8 = answer["rows"]
    direct = expected(converted / "onnx-fp32", labelled)
    assert fp32["age_accuracy"] == pytest.approx(direct["age"], abs=0.01)
    assert fp32["gender_accuracy"] == pytest.approx(direct["gender"], abs=0.01)
    assert fp32["age_accuracy_count"] == 29
    assert fp32["gender_accuracy_count"] == 30
    assert fp32["age_accuracy_low"] <= fp32["age_accuracy"] <= fp32["age_accuracy_high"]
    assert fp32["age_1off"] >= fp32["age_accuracy"]
    assert fp32["agreement_with_fp32"] is None
    assert 0 <= int8["agreement_with_fp32"] <= 100
    assert any("1 images could not be decoded" in note for note in answer["notes"])
    records, problems = load_accuracy(tmp_path)
    assert not problems
    assert {record.precision for record in records} == {"fp32", "int8"}
    assert records[0].artifact in {
        load_artifact(converted / f"onnx-{p}").sha256 for p in ("fp32", "int8")
    }


def test_reframed_pictures_are_judged_beside_those_as_given(
    cli: Cli, converted: Path, labelled: Path, tmp_path: Path
) -> None:
    done = cli(
        "evaluate", converted / "onnx-fp32", "--data", labelled, "--json", "--reframe",
        "--results", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    given, reframed = json.loads(done.stdout)["rows"]
    assert (given["framing"], reframed["framing"]) == ("as given", "reframed")
    assert reframed["age_accuracy_count"] == given["age_accuracy_count"] == 29
    assert "moved by up to 15 %" in reframed["protocol"]
    (record,), problems = load_accuracy(tmp_path)  # the reframed ones are not saved
    assert not problems and record.age_accuracy == pytest.approx(given["age_accuracy"], abs=0.01)


def test_the_same_call_gives_the_same_row(cli: Cli, converted: Path, labelled: Path) -> None:
    calls = [
        cli("evaluate", converted / "tflite-int8", "--data", labelled, "--json", "--workers", n)
        for n in (1, 3)
    ]
    assert calls[0].returncode == 0, calls[0].stderr
    assert calls[0].stdout == calls[1].stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "nowhere"], "no such folder"),
        (["--split", "tset"], "did you mean test"),
        (["--protocol", "folds"], "protocol"),
        (["--target", "rpi6"], "did you mean"),
        (["--runtime", "onnxruntim"], "did you mean onnxruntime"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, converted: Path, labelled: Path, options: list[str], words: str
) -> None:
    done = cli("evaluate", converted / "onnx-fp32", "--data", labelled, *options)
    assert words in one_line_error(done)


def test_artifacts_that_judge_nothing_are_refused(
    cli: Cli, converted: Path, labelled: Path
) -> None:
    done = cli("evaluate", converted / "null-fp32", "--data", labelled)
    assert "nothing to judge" in one_line_error(done)


def test_what_a_device_sends_back_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    for content in (b"", b"garbage", b"PK\x03\x04 cut"):
        path.write_bytes(content)
        with pytest.raises(DeviceError, match="cannot be read"):
            read_outputs(path, SPECS, 3)
    np.savez(path, other=np.zeros((3, 2), np.float32))
    with pytest.raises(DeviceError, match="cannot be read"):
        read_outputs(path, SPECS, 3)
    np.savez(path, x=np.zeros((2, 2), np.float32))
    with pytest.raises(DeviceError, match="not for 3 images"):
        read_outputs(path, SPECS, 3)
    np.savez(path, x=np.zeros((3, 2), np.float32))
    assert read_outputs(path, SPECS, 3)["x"].shape == (3, 2)


def test_labels_of_another_task_are_refused(cli: Cli, converted: Path, tmp_path: Path) -> None:
    draw_pictures(tmp_path, 3)
    files = sorted(path.name for path in tmp_path.iterdir())
    rows = [f"{file},{label},test" for file, label in zip(files, "abc", strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,age,split", *rows]) + "\n")
    done = cli("evaluate", converted / "onnx-fp32", "--data", tmp_path)
    error = one_line_error(done)
    assert "'a' is no class of age" in error and "15-20" in error


def test_accuracy_on_a_board_over_ssh_is_what_it_is_here(
    cli: Cli, converted: Path, labelled: Path, board: Board
) -> None:
    board.has_our_python()
    arguments = ("evaluate", converted / "onnx-fp32", "--data", labelled, "--limit", "12",
                 "--workers", "1", "--json")  # fmt: skip
    (here,) = json.loads(cli(*arguments).stdout)["rows"]
    done = cli(*arguments, "--device", board.address)
    assert done.returncode == 0, done.stderr
    (there,) = json.loads(done.stdout)["rows"]
    assert there == here | {"device": board.address}
    assert (here["images"], here["device"], here["provenance"]) == (12, "local", "measured")
    assert not list(board.home.glob(".edgekit/work/*"))


@pytest.mark.slow
def test_each_board_and_runtime_keeps_a_record_of_its_own(
    cli: Cli, converted: Path, labelled: Path, tmp_path: Path
) -> None:
    arguments = ("evaluate", converted / "tflite-fp32", "--data", labelled, "--limit", "3",
                 "--workers", "1", "--results", tmp_path, "--json")  # fmt: skip
    for board in ("rpi4", "rpi5"):
        install(board_of(load_target(board)))
    runs = (("host",), ("rpi4",), ("rpi5", "--runtime", "tflite_runtime"))
    rows = []
    for target in runs:
        done = cli(*arguments, "--target", *target)
        assert done.returncode == 0, done.stderr
        rows += json.loads(done.stdout)["rows"]
    records, problems = load_accuracy(tmp_path)
    assert problems == []
    assert sorted((r.device, r.runtime, r.provenance) for r in records) == [
        ("local", "", "measured"),
        ("virtual:rpi4", "", "emulated"),
        ("virtual:rpi5", "tflite_runtime", "emulated"),
    ]
    assert len({row["age_accuracy"] for row in rows}) == 1, "float arithmetic decides alike"
