"""`edgekit weights`: networks on record are trained again, found by the zoo, and never twice."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from command_line import one_line_error, run_cli
from PIL import Image
from typer.testing import CliRunner

from edgekit import zoo
from edgekit.cli import app
from edgekit.conversion.sources import SourceRequest, load_module
from edgekit.data import SplitPlan
from edgekit.errors import BadData, BadModel, EdgekitError
from edgekit.training.recorded import (
    Recorded,
    command_of,
    for_use,
    join_pairs,
    make,
    recorded,
    with_needed,
)
from edgekit.training.run import TrainOptions, TrainResult, train
from edgekit.zoo.checkpoint import save_weights

MODEL = "zhu-lightweight:regression"
FILE = "zhu-lightweight.regression.safetensors"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for index in range(40):
        noise = np.random.default_rng(index).integers(-40, 40, (70, 70, 3))
        buffer = io.BytesIO()
        Image.fromarray((60 + 130 * (index % 2) + noise).astype(np.uint8)).save(buffer, "JPEG")
        name = f"{28 if index % 2 else 65}_{index % 2}_0_2017{index:013d}.jpg"
        (folder / name).write_bytes(buffer.getvalue())
    return folder


@pytest.fixture(scope="module")
def benchmarks(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf with one record: a short training that really ran."""
    root = tmp_path_factory.mktemp("shelf")
    run = root / "run"
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    options = TrainOptions(
        model=MODEL,
        data=str(faces),
        output=run,
        plan=SplitPlan(protocol="random"),
        changes=("epochs=1", "batch=16"),
        threads=1,
    )
    train(options)
    patch.undo()
    record = root / "training" / Path(FILE).stem / "training.json"
    record.parent.mkdir(parents=True)
    record.write_bytes((run / "result.json").read_bytes())
    return root


@pytest.fixture
def shelved(benchmarks: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("edgekit.training.recorded.shelf", lambda name: benchmarks)
    return benchmarks


def test_the_recorded_command_gives_the_recorded_weights_once(
    shelved: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo.weights_path(*zoo.resolve(MODEL)) is None
    done = CliRunner().invoke(app, ["weights", "--data", str(faces), "--json"])
    assert done.exit_code == 0, done.output
    (row,) = msgspec.json.decode(done.stdout)["rows"]
    assert (row["model"], row["weights"], row["path"]) == (MODEL, "made", str(own() / FILE))
    assert row["hours_recorded"] is not None
    (one,) = recorded(own())
    fresh = msgspec.json.decode(
        one.weights.with_suffix(".training.json").read_bytes(), type=TrainResult
    )
    assert fresh.weights_sha256 == one.result.weights_sha256
    assert sorted(path.suffix for path in own().iterdir()) == [".json", ".md", ".safetensors"]

    loaded = load_module(SourceRequest(locator=MODEL), "zoo")
    assert loaded.weights == "trained"

    monkeypatch.setattr("edgekit.training.recorded.subprocess", None)  # nothing may be trained now
    again = CliRunner().invoke(app, ["weights", "--json"])
    assert again.exit_code == 0 and again.stdout == done.stdout


def own() -> Path:
    return zoo.own_weights()


def test_without_data_it_says_how_to_give_them(
    shelved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UTKFACE", raising=False)
    for arguments in (["weights"], ["weights", "--data", ""]):
        error = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, BadData)
        assert "make weights UTKFACE=path/to/utkface.zip" in str(error)
    error = CliRunner().invoke(app, ["weights", "--data", "gone.zip"]).exception
    assert isinstance(error, BadData) and "check --data or UTKFACE" in str(error)


def test_wrong_names_are_one_line() -> None:
    done = run_cli("weights", "multitask-cn:regression")
    assert "did you mean multitask-cnn:regression" in one_line_error(done)


def test_weights_of_another_training_are_not_taken_for_the_recorded(
    shelved: Path, tmp_path: Path
) -> None:
    (one,) = recorded(tmp_path)
    network = zoo.build("zhu-lightweight", "regression")
    save_weights(network, one.weights, {"training": {"command": "edgekit train other"}})
    assert not one.made
    save_weights(network, one.weights, {"training": {"command": one.result.command}})
    assert one.made


def test_a_training_that_fails_is_told_and_leaves_no_weights(
    shelved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (one,) = recorded(tmp_path)
    with pytest.raises(EdgekitError, match="exit code 2: mend what it said"):
        make(one, tmp_path / "gone.zip", quiet=True)
    assert "no such folder or zip archive" in capfd.readouterr().err
    assert not one.weights.exists()


def test_what_begins_from_other_weights_comes_after_them(shelved: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    for name in ("cnn-elm.age", Path(FILE).stem):
        (records / name).mkdir(parents=True)
    (basis,) = recorded(tmp_path)
    record = msgspec.to_builtins(basis.result)
    record |= {"model": "cnn-elm", "variant": "age", "start": FILE}
    record["command"] = f"edgekit train cnn-elm:age --data utkface.zip --from {FILE} --seed 0"
    (records / "cnn-elm.age" / "training.json").write_bytes(msgspec.json.encode(record))
    (records / Path(FILE).stem / "training.json").write_bytes(msgspec.json.encode(basis.result))
    first, second = recorded(tmp_path, records)
    assert (first.source, second.source) == (MODEL, "cnn-elm:age")
    with pytest.raises(BadModel, match="is not there: make it first"):
        command_of(second, tmp_path)
    first.weights.touch()
    words = command_of(second, Path("/data/faces.zip"))
    assert words[words.index("--from") + 1] == str(first.weights)
    assert words[words.index("--data") + 1] == "/data/faces.zip"
    (records / Path(FILE).stem / "training.json").write_bytes(b"{}")
    with pytest.raises(BadData, match=r"regression/training\.json is damaged"):
        recorded(tmp_path, records)


def test_what_a_network_learned_from_is_trained_first(
    shelved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "records"
    (basis,) = recorded(tmp_path)
    plain = msgspec.to_builtins(basis.result)
    command = "edgekit train {} --data utkface.zip {} --seed 0"
    start = "brings_weights/models/w.pth"
    student, teacher = "multitask-cnn.classification", "multitask-cnn.teacher"
    taken = f"--teacher {teacher}.safetensors"
    for name, changes in {
        student: {
            "teachers": [f"{teacher}.safetensors"],
            "command": command.format("multitask-cnn:classification", taken),
        },
        teacher: {
            "start": start,
            "command": command.format("multitask-cnn:teacher", f"--from {start}"),
        },
    }.items():
        model, variant = name.split(".")
        record = plain | {"model": model, "variant": variant} | changes
        (records / name).mkdir(parents=True)
        (records / name / "training.json").write_bytes(msgspec.json.encode(record))
    first, second = known = recorded(tmp_path, records)
    assert (first.source, second.source) == (
        "multitask-cnn:teacher",
        "multitask-cnn:classification",
    )
    assert with_needed([second], known) == [first, second]
    assert with_needed([first], known) == [first]
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    assert for_use(known) == [first, second]
    (tmp_path / "shipped" / f"{student}.safetensors").touch()
    assert for_use(known) == [second]  # nobody lacks the teacher of what ships
    assert start in command_of(first, tmp_path)  # of an installed package: as it is on record
    with pytest.raises(BadModel, match="is not there: make it first"):
        command_of(second, tmp_path)
    first.weights.touch()
    words = command_of(second, tmp_path)
    assert words[words.index("--teacher") + 1] == str(first.weights)


def test_what_ships_is_trained_again_when_asked(
    shelved: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    (tmp_path / FILE).touch()
    trained: list[str] = []
    monkeypatch.setattr(
        "edgekit.training.recorded.make", lambda one, data, quiet: trained.append(one.source)
    )
    for flags, expected in (([], []), (["--remake"], [MODEL])):
        done = CliRunner().invoke(app, ["weights", "--data", str(faces), "--json", *flags])
        assert done.exit_code == 0, done.output
        assert trained == expected


def test_an_age_and_a_gender_network_make_a_pair(shelved: Path, tmp_path: Path) -> None:
    (basis,) = recorded(tmp_path)
    trained: list[Recorded] = []
    for seed, variant in enumerate(("age", "gender")):
        result = msgspec.convert(
            msgspec.to_builtins(basis.result) | {"model": "cnn-elm", "variant": variant},
            TrainResult,
        )
        one = Recorded(result, tmp_path / f"cnn-elm.{variant}.safetensors", None)
        assert join_pairs([*trained, one]) == []
        save_weights(zoo.build("cnn-elm", variant, seed), one.weights, {})
        trained.append(one)
    (path,) = join_pairs(trained)
    pair = load_module(SourceRequest(locator="cnn-elm:pair", weights=str(tmp_path)), "zoo").module
    image = torch.randn(1, 3, 227, 227)
    with torch.inference_mode():
        age, gender = pair(image)
        assert torch.equal(age, zoo.build("cnn-elm", "age", 0)(image)[0])
        assert torch.equal(gender, zoo.build("cnn-elm", "gender", 1)(image)[0])
    assert path == zoo.weights_path("cnn-elm", "pair", tmp_path)


def test_a_folder_without_the_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="has no weights of cnn-elm:pair"):
        load_module(SourceRequest(locator="cnn-elm:pair", weights=str(tmp_path)), "zoo")
