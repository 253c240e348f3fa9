"""int8 that is far from the model, or fails, is built in other ways, and the nearest one stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import run_cli

from edgekit.backends import Built
from edgekit.conversion import ways
from edgekit.conversion.ways import Int8, build_int8, distance
from edgekit.errors import EdgekitError, UnsupportedModel

HERE = Path(__file__).parent
EXACT = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
USUAL, GENTLER, PLAIN = "", "gentler", "plain"
PARITY, CALIBRATION = "parity", "calibration"
WAYS = {GENTLER: "more in float", PLAIN: "the default"}


@dataclass(frozen=True)
class Graph:
    """What the choice asks of an exported graph."""

    way: str = ""
    held_back: int = 0
    samples: int = 32

    def reference(self) -> dict[str, Any]:
        return {"x": EXACT}

    def parity_samples(self) -> Any:
        return [PARITY] * 32

    def calibration_samples(self) -> Any:
        return [CALIBRATION] * self.samples


@dataclass
class Bench:
    """A backend whose int8 is as far off as told, by way and kind of samples, or raises."""

    off: dict[tuple[str, str], float] = field(default_factory=dict)
    raises: dict[str, Exception] = field(default_factory=dict)
    built: list[tuple[str, int]] = field(default_factory=list)
    PRECISIONS = ("fp32", "int8")
    WAYS = WAYS

    def build(self, graph: Any, precision: str, place: Path, keep_float: Any) -> Built:
        kind = precision if precision == "fp32" else graph.way
        self.built.append((kind, graph.held_back))
        if kind in self.raises:
            (place / "half").write_text(kind)
            raise self.raises[kind]
        (place / "model").write_text(kind)
        return Built(("model",), "uint8")

    def outputs(self, place: Path, samples: Any) -> Any:
        kind = (place / "model").read_text()
        return {"x": EXACT[: len(samples)] * (1 + self.off.get((kind, samples[0]), 0.0))}


@pytest.fixture(autouse=True)
def _outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def outputs_of(graph: Any, backend: Any, place: Path, made: Built, samples: Any) -> Any:
        return backend.outputs(place, samples)

    monkeypatch.setattr(ways, "outputs_of", outputs_of)


def chosen(bench: Any, folder: Path, holds: bool = True, graph: Any = None) -> Int8:
    """Build, and return what stays: its file must be of the way that is told."""
    graph = graph or Graph()
    made = build_int8(graph, bench, folder, lambda ours: holds)
    assert (folder / "model").read_text() == made.graph.way
    assert [path.name for path in folder.iterdir()] == ["model"]
    return made


def test_a_good_int8_is_built_once(tmp_path: Path) -> None:
    bench = Bench({(USUAL, PARITY): 0.05})
    made = chosen(bench, tmp_path)
    assert (made.graph.way, made.note, bench.built) == (USUAL, "", [(USUAL, 0)])


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("nearest", [GENTLER, PLAIN])
def test_a_far_one_gives_way_to_the_nearest(tmp_path: Path, nearest: str, holds: bool) -> None:
    off = {(way, CALIBRATION): 0.4 for way in WAYS} | {(nearest, CALIBRATION): 0.1}
    bench = Bench({(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5} | off)
    made = chosen(bench, tmp_path, holds)
    assert (made.graph.way, made.graph.held_back) == (nearest, 0)
    spread = distance({"x": EXACT[:16] * 1.1}, {"x": EXACT[:16]})
    usual = distance({"x": EXACT[:16] * 1.5}, {"x": EXACT[:16]})
    assert made.note == (
        f"{nearest} int8: {WAYS[nearest]}; it is {spread:.3g} of the answers' spread off, "
        f"the usual int8 {usual:.3g}"
    )


def test_all_ways_are_tried_on_what_none_was_calibrated_on(tmp_path: Path) -> None:
    """Ranges would look good on their own samples: some are held back, then all are seen."""
    bench = Bench({(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5})
    chosen(bench, tmp_path)
    kept = ways.SAMPLES
    trials = [("fp32", 0), (USUAL, kept), (GENTLER, kept), (PLAIN, kept)]
    assert bench.built == [(USUAL, 0), *trials, (GENTLER, 0)]


def test_one_that_is_not_proven_is_tried_again(tmp_path: Path) -> None:
    bench = Bench({(USUAL, PARITY): 0.01, (USUAL, CALIBRATION): 0.01})
    assert chosen(bench, tmp_path, holds=False).graph.way == GENTLER


def test_the_samples_of_the_proof_choose_nothing(tmp_path: Path) -> None:
    """On these the usual one is furthest; on those of calibration it is nearest, so it stays."""
    off = {(way, CALIBRATION): 0.2 for way in WAYS} | {(USUAL, CALIBRATION): 0.1}
    made = chosen(Bench({(USUAL, PARITY): 0.9} | off), tmp_path)
    assert (made.graph.way, made.note) == (USUAL, "")


def test_the_usual_way_stays_where_another_is_hardly_nearer(tmp_path: Path) -> None:
    off = {(way, CALIBRATION): 0.4 for way in WAYS} | {(USUAL, CALIBRATION): 0.41}
    bench = Bench({(USUAL, PARITY): 0.5} | off)
    assert chosen(bench, tmp_path).graph.way == USUAL
    assert chosen(bench, tmp_path, holds=False).graph.way == GENTLER  # it is not proven


def test_a_single_sample_of_calibration_chooses_nothing(tmp_path: Path) -> None:
    bench = Bench({(USUAL, PARITY): 0.9})
    assert chosen(bench, tmp_path, graph=Graph(samples=1)).graph.way == USUAL
    assert bench.built == [(USUAL, 0)]


@pytest.mark.parametrize("samples", [32, 1])
def test_the_next_way_is_tried_where_the_usual_one_raises(tmp_path: Path, samples: int) -> None:
    off = {(GENTLER, CALIBRATION): 0.1, (PLAIN, CALIBRATION): 0.2}
    bench = Bench(off, {USUAL: ValueError("no scale\nfor it")})
    made = chosen(bench, tmp_path, graph=Graph(samples=samples))
    assert made.graph.way == GENTLER
    assert made.note == (
        "gentler int8: more in float; the usual int8 failed (ValueError: no scale)"
    )
    assert [way for way, _ in bench.built].count(USUAL) == 1


def test_a_way_that_raises_is_left_out(tmp_path: Path) -> None:
    far = {(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5, (PLAIN, CALIBRATION): 0.3}
    bench = Bench(far, {GENTLER: KeyError("scale")})
    assert chosen(bench, tmp_path).graph.way == PLAIN
    everything: dict[str, Exception] = {way: KeyError(way) for way in WAYS}
    assert chosen(Bench(far, everything), tmp_path).graph.way == USUAL


def test_where_all_raise_the_first_error_is_told(tmp_path: Path) -> None:
    raises: dict[str, Exception] = {way: RuntimeError(way) for way in WAYS}
    with pytest.raises(ValueError, match="the true cause"):
        chosen(Bench({}, raises | {USUAL: ValueError("the true cause")}), tmp_path)


@pytest.mark.parametrize("error", [UnsupportedModel("aten.erf"), ImportError("onnx")])
def test_what_is_true_of_every_way_ends_it_at_once(tmp_path: Path, error: Exception) -> None:
    bench = Bench({}, {USUAL: error})
    with pytest.raises((EdgekitError, ImportError)):
        chosen(bench, tmp_path)
    assert bench.built == [(USUAL, 0)]


def test_a_backend_without_other_ways_is_built_once(tmp_path: Path) -> None:
    built: list[str] = []

    def build(graph: Any, precision: str, place: Path, keep_float: Any) -> Built:
        built.append(precision)
        return Built(("model",), "uint8")

    backend: Any = SimpleNamespace(build=build, PRECISIONS=("fp32", "int8"))
    graph: Any = Graph()
    made = build_int8(graph, backend, tmp_path, lambda ours: False)
    assert (built, made.note, made.outputs) == (["int8"], "", None)


def test_files_that_cannot_be_put_in_place_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of one int8 and half of the other is no artifact: the disk's error is not swallowed."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    bench = Bench({(USUAL, PARITY): 0.5, (USUAL, CALIBRATION): 0.5})
    with pytest.raises(OSError, match="No space"):
        chosen(bench, tmp_path)


def test_a_small_quantity_beside_a_large_one_counts() -> None:
    exact = np.stack([640 * EXACT[:, 0], EXACT[:, 1]], axis=1)
    lost = exact.copy()
    lost[:, 1] = 0
    assert distance({"x": lost}, {"x": exact}) > 0.5


@pytest.mark.slow
def test_the_command_says_which_way_stayed_and_why(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_cli(
        "convert", "fault_models:detector", "--backend", "onnx", "--precision", "int8",
        "--calibration", pictures, "-o", out, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (note,) = json.loads((out / "onnx-int8" / "manifest.json").read_text())["notes"]
    assert note.startswith(
        "gentler int8: only layers with weights are in int8, which may be slower;"
    )
    assert f"onnx-int8: {note}" in " ".join(done.stdout.split())
