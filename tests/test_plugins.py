"""A package of another's adds a backend, a target and a dataset, and costs nobody anything."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, one_line_error
from PIL import Image
from plugin_packages import conforms, install
from records import a_measurement

from edgekit.backends import backend_names, load_backend
from edgekit.data import is_dataset, open_dataset
from edgekit.errors import BadData, BrokenPlugin
from edgekit.plugins import plugins
from edgekit.report.records import load_saved
from edgekit.results import save
from edgekit.targets import load_target, target_names

EXAMPLE = Path(__file__).parent / "plugin_example"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the example package is really installed in, by pip."""
    return install(EXAMPLE, tmp_path_factory.mktemp("acme"))


@pytest.fixture
def on_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(installed))
    return installed


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's module with a model that one matrix computes, and one that none does."""
    folder = tmp_path_factory.mktemp("linear")
    (folder / "linear.py").write_text(
        "import torch\nfrom torch import nn\n"
        "from edgekit.spec import InputSpec, ModelSpec, OutputSpec\n"
        "SPEC = ModelSpec(InputSpec(6, 6),\n"
        "    (OutputSpec('animal', 'classification', ('cat', 'dog', 'owl')),))\n"
        "def net(*layers):\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(1), nn.Linear(108, 3), *layers), SPEC\n"
        "def model(): return net()\n"
        "def bent(): return net(nn.Tanh())\n"
    )
    return folder


def test_they_are_listed_without_being_imported(installed: Path) -> None:
    code = (
        "import sys\n"
        "from edgekit.backends import backend_names\n"
        "from edgekit.targets import target_names\n"
        "from edgekit.plugins import plugins\n"
        "assert 'matrix' in backend_names() and 'acme-board' in target_names()\n"
        "assert set(plugins('datasets')) == {'acme-pairs', 'not-a-reader'}\n"
        "print([name for name in sys.modules if name.startswith('acme')])"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "[]\n", done.stderr


def test_without_the_package_nothing_of_it_is_there() -> None:
    assert "matrix" not in backend_names() and "acme-board" not in target_names()


def test_a_target_comes_from_its_file(on_path: Path) -> None:
    board = load_target("acme-board")
    assert board.title == "Acme board" and board.name == "acme-board"
    assert board.hardware.dot_product is not None and not board.hardware.dot_product.value


def test_a_dataset_is_recognised_by_its_reader(on_path: Path, tmp_path: Path) -> None:
    for name in ("cat__1.png", "dog__1.png", "cat__2.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    assert is_dataset(str(tmp_path))
    dataset = open_dataset(str(tmp_path)).split("test")
    assert dataset.protocol == "acme pairs"
    assert sorted(dataset.take("animal")) == [0, 0, 1]


def test_a_broken_plugin_costs_only_its_own_line(on_path: Path, tmp_path: Path, cli: Cli) -> None:
    assert load_backend("onnx").RUNTIME == "onnxruntime"
    with pytest.raises(BrokenPlugin, match=r"backend no-such-module of acme-edgekit 0\.1"):
        load_backend("no-such-module")
    (tmp_path / "notes.txt").write_text("no dataset at all")
    with pytest.raises(BadData, match=r"dataset not-a-reader of acme-edgekit 0\.1"):
        open_dataset(str(tmp_path))
    done = cli("doctor", "--json", PYTHONPATH=str(on_path))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert {n for n in plugins("backends") if rows[n]["status"] == "ok"} == {"matrix"}
    assert "No module named 'acme_edgekit.missing'" in rows["no-such-module"]["fix"]
    assert "has no looks_like, open_dataset" in rows["not-a-reader"]["fix"]
    assert rows["acme-board"]["status"] == rows["acme-pairs"]["status"] == "ok"
    assert rows["acme-nets"]["status"] == "ok"
    assert "has no load" in rows["no-networks"]["fix"]


def test_a_name_of_our_own_is_never_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[edgekit.backends]\nonnx = evil\n[edgekit.targets]\nrpi4 = evil\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_backend("onnx") is importlib.import_module("edgekit.backends.onnx")
    assert load_target("rpi4").title == "Raspberry Pi 4 Model B"
    assert backend_names().count("onnx") == target_names().count("rpi4") == 1


def test_a_backend_converts_predicts_benches_and_conforms(
    installed: Path, linear: Path, tmp_path: Path, pictures: Path, cli: Cli
) -> None:
    paths = {"PYTHONPATH": f"{installed}{os.pathsep}{linear}"}
    asked = ("--backend", "matrix", "--images", pictures, "--precision", "fp32")
    refused = cli("convert", "linear:bent", *asked, "-o", tmp_path / "bent", **paths)
    assert refused.returncode and "linear in their pixels" in refused.stdout + refused.stderr
    done = cli("convert", "linear:model", *asked, "-o", tmp_path / "out", **paths)
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "out" / "matrix-fp32"
    picture = next(iter(sorted(pictures.iterdir())))
    answer = cli("predict", picture, "--artifact", folder, "--json", **paths)
    assert answer.returncode == 0 and "animal" in answer.stdout, answer.stderr
    bench = cli("bench", folder, "--min-seconds", "0.05", "--results", tmp_path / "r", "--json",
                **paths)  # fmt: skip
    assert bench.returncode == 0, bench.stderr
    (row,) = json.loads(bench.stdout)["rows"]
    assert row["runtime"] == "matrix" and row["p50_ms"] > 0
    printed = conforms(EXAMPLE / "acme_conformance.py", ACME_ARTIFACT=str(folder), **paths)
    assert "5 passed" in printed
    gone = cli("bench", folder, "--results", tmp_path / "r")
    assert "unknown backend 'matrix'" in one_line_error(gone)


def test_a_report_outlives_a_target_whose_plugin_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_target(tmp_path, monkeypatch)
    save(a_measurement(target="lost-board"), tmp_path / "results")
    saved = load_saved(tmp_path / "results")
    assert len(saved.measurements) == 1
    assert "target lost-board" in saved.problems[0] and "unchecked" in saved.problems[0]
    with pytest.raises(BrokenPlugin, match="target lost-board of lost 1"):
        load_target("lost-board")


def broken_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package's metadata on the path whose target file is not there."""
    info = folder / "lost-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lost\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgekit.targets]\nlost-board = lost.data\n")
    monkeypatch.syspath_prepend(str(folder))
