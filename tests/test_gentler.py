"""int8 that is far from the model is built a second way, and the nearer of the two stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import run_cli

from edgekit.backends import Built
from edgekit.conversion import gentler
from edgekit.conversion.gentler import build_int8, distance

HERE = Path(__file__).parent
EXACT = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)


class Graph(SimpleNamespace):
    """What the choice asks of an exported graph."""

    gentle = False
    spec = None

    def __replace__(self, **changes: Any) -> Graph:
        return Graph(**{**self.__dict__, **changes})

    def reference(self) -> dict[str, Any]:
        return {"x": EXACT}

    def parity_samples(self) -> Any:
        return ["parity"] * 32

    def calibration_samples(self) -> Any:
        return ["calibration"] * 32


def chosen(
    monkeypatch: pytest.MonkeyPatch, folder: Path, off: dict[tuple[str, str], float], holds: bool
) -> tuple[str, list[str]]:
    """Return which file stays and what was built; `off` is by kind of int8 and of samples."""
    built: list[str] = []

    def build(graph: Any, precision: str, place: Path, keep_float: Any) -> Built:
        kind = precision if precision == "fp32" else ("gentle" if graph.gentle else "usual")
        (place / "model").write_text(kind)
        built.append(kind)
        return Built(("model",), "uint8", gentler=kind != "fp32")

    def outputs_of(graph: Any, backend: Any, place: Path, made: Built, samples: Any) -> Any:
        kind, where = (place / "model").read_text(), samples[0]
        exact = EXACT[: len(samples)]
        return {"x": exact * (1 + off.get((kind, where), 0.0))}

    monkeypatch.setattr(gentler, "outputs_of", outputs_of)
    monkeypatch.setattr(gentler, "replace", _replaced)
    backend: Any = SimpleNamespace(build=build, PRECISIONS=("fp32", "int8"))
    graph: Any = Graph()
    build_int8(graph, backend, folder, lambda ours: holds)
    return (folder / "model").read_text(), built


def _replaced(thing: Any, **changes: Any) -> Any:
    if isinstance(thing, Graph):
        return thing.__replace__(**changes)
    return Built(**{**thing.__dict__, **changes})


USUAL, GENTLE, PARITY, CALIBRATION = "usual", "gentle", "parity", "calibration"


def test_a_good_int8_is_built_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert chosen(monkeypatch, tmp_path, {(USUAL, PARITY): 0.05}, True) == (USUAL, [USUAL])


@pytest.mark.parametrize("holds", [True, False])
def test_a_far_one_gives_way_to_the_nearer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, holds: bool
) -> None:
    off = {(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5, (GENTLE, CALIBRATION): 0.1}
    assert chosen(monkeypatch, tmp_path, off, holds) == (GENTLE, [USUAL, "fp32", GENTLE, GENTLE])


def test_one_that_is_not_proven_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    off = {(USUAL, PARITY): 0.01, (USUAL, CALIBRATION): 0.01}
    assert chosen(monkeypatch, tmp_path, off, False)[0] == GENTLE


def test_the_samples_of_the_proof_choose_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On these the gentle one is nearer; on those of calibration it is not, so it goes."""
    off = {(USUAL, PARITY): 0.9, (USUAL, CALIBRATION): 0.1, (GENTLE, CALIBRATION): 0.2}
    assert chosen(monkeypatch, tmp_path, off, True)[0] == USUAL


def test_the_gentler_is_tried_on_what_it_was_not_calibrated_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its ranges would look good on their own samples: it keeps some back, then sees all."""
    held: list[int] = []
    usual = Graph.__replace__

    def noted(graph: Graph, **changes: Any) -> Graph:
        held.append(changes.get("held_back", 0))
        return usual(graph, **changes)

    monkeypatch.setattr(Graph, "__replace__", noted)
    off = {(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5}
    assert chosen(monkeypatch, tmp_path, off, True)[0] == GENTLE
    assert held == [0, gentler.SAMPLES]


def test_files_that_cannot_be_put_in_place_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of one int8 and half of the other is no artifact: the disk's error is not swallowed."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    off = {(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5}
    with pytest.raises(OSError, match="No space"):
        chosen(monkeypatch, tmp_path, off, True)


def test_a_small_quantity_beside_a_large_one_counts() -> None:
    exact = np.stack([640 * EXACT[:, 0], EXACT[:, 1]], axis=1)
    lost = exact.copy()
    lost[:, 1] = 0
    assert distance({"x": lost}, {"x": exact}) > 0.5


@pytest.mark.slow
def test_the_command_says_that_a_gentler_one_stayed(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_cli(
        "convert", "fault_models:detector", "--backend", "onnx", "--precision", "int8",
        "--calibration", pictures, "-o", out, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    note = "a gentler int8, which may be slower: the usual one was far from the model"
    assert f"onnx-int8: {note}" in " ".join(done.stdout.split())
    assert json.loads((out / "onnx-int8" / "manifest.json").read_text())["notes"] == [note]
