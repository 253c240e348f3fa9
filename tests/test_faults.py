"""Networks whose artifacts once answered wrongly: now right, or refused by their true cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fault_models
import msgspec
import numpy as np
import pytest
import torch
from command_line import Cli, one_line_error
from nursery import borrowed

from edgekit.artifact import Manifest, Precision, load_artifact
from edgekit.backends import imports_of, load_backend, loader, ways_of
from edgekit.conversion.build import BuildRequest
from edgekit.conversion.build import run as run_builds
from edgekit.conversion.calibration import load_recipe
from edgekit.conversion.export import ExportRequest, export
from edgekit.conversion.fork_server import TORCH, Wanted
from edgekit.conversion.parity import artifact_outputs, judge
from edgekit.conversion.sources import SourceRequest
from edgekit.conversion.steps import Children, run_step
from edgekit.conversion.ways import outputs_of
from edgekit.errors import BadModel, error_of
from edgekit.graph import ExportedGraph
from edgekit.spec import OutputSpec

HERE = Path(__file__).parent
BACKENDS = ("onnx", "tflite", "openvino")
Export = Callable[..., ExportedGraph]


@pytest.fixture(autouse=True)
def _builds_are_forked_from_the_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.conversion.steps.ForkServer", borrowed)


@pytest.fixture
def exported(tmp_path: Path, pictures: Path) -> Export:
    """Export `fault_models:NAME`, calibrated on and held to the session's pictures."""

    def run(name: str, **more: Any) -> ExportedGraph:
        folder = tmp_path / f"export-{name}"
        folder.mkdir(exist_ok=True)
        source = SourceRequest(locator=f"fault_models:{name}")
        recipe = load_recipe("default")
        asked = {"images": str(pictures), "calibration": str(pictures)} | more
        request = ExportRequest(
            source=source,
            folder=str(folder),
            raw_input=False,
            images=asked["images"],
            calibration=asked["calibration"],
            recipe=recipe,
        )
        return export(request, lambda text: None)

    return run


def build(graph: ExportedGraph, backend: str, precision: Precision) -> Manifest:
    """Build one artifact in a process of its own, as convert does; raise what its row says."""
    folder = graph.folder / "out"
    request = msgspec.to_builtins(
        BuildRequest(
            graph=graph,
            backend=backend,
            precisions=(precision,),
            output=str(folder),
            min_agreement=0.9,
        ),
        enc_hook=str,
    )
    rows: list[dict[str, Any]] = []
    log = graph.folder / "build.log"
    with Children(TORCH) as children:
        ahead = imports_of(load_backend(backend))
        wanted = Wanted(module="edgekit.conversion.build", ahead=ahead)
        run_step(wanted, lambda: request, log, rows.append, children)
    row = next(row for row in rows if row["event"] == "row")
    if "error" in row:
        raise error_of(row["kind"], row["error"]) or AssertionError(row)
    return load_artifact(folder / f"{backend}-{precision}").manifest


def answers(graph: ExportedGraph, backend: str, precision: Precision) -> dict[str, Any]:
    """Return what a built artifact answers to the parity images."""
    artifact = load_artifact(graph.folder / "out" / f"{backend}-{precision}")
    load = loader(load_backend(backend))
    feed = artifact.manifest.feed
    return artifact_outputs(str(artifact.path), load, feed, graph.spec, graph.parity_pixels())


# A dict's keys


def test_a_dict_is_read_by_its_keys(exported: Export) -> None:
    graph = exported("heads")
    reference = graph.reference()
    assert list(reference) == ["vest", "helmet"]
    assert (reference["vest"].argmax(1) == 1).all()
    assert (reference["helmet"].argmax(1) == 0).all()
    for backend in BACKENDS:
        build(graph, backend, "fp32")
        ours = answers(graph, backend, "fp32")
        assert (ours["vest"].argmax(1) == 1).all() and (ours["helmet"].argmax(1) == 0).all()


def test_keys_that_are_not_the_specs_are_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("convert", "fault_models:other_heads", "-o", tmp_path / "out", cwd=HERE)
    line = one_line_error(done)
    assert "answers 'helmet', 'vest' but the spec names 'vest', 'hat'" in line


def test_a_pt2_that_answers_a_dict_gives_its_outputs_their_names(tmp_path: Path) -> None:
    from edgekit.conversion.sources import load_module

    example = (torch.zeros(1, 3, 32, 48),)
    torch.export.save(
        torch.export.export(fault_models.Heads().eval(), example), tmp_path / "heads.pt2"
    )
    loaded = load_module(SourceRequest(locator=str(tmp_path / "heads.pt2")), "pt2")
    assert [output.name for output in loaded.spec.outputs] == ["helmet", "vest"]


# What a plain tensor is held to


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_beside_boxes_in_pixels_are_kept_in_int8(exported: Export, backend: str) -> None:
    """One range for both would round every score to 0: what joins them stays in float."""
    graph = exported("detector")
    assert build(graph, backend, "int8").parity.passed
    ours = answers(graph, backend, "int8")["detections"][..., 4]
    assert np.abs(ours - graph.reference()["detections"][..., 4]).mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_way_of_int8_is_another_and_says_what_it_is(exported: Export, backend: str) -> None:
    graph, ways = exported("upscaler"), ways_of(load_backend(backend))
    found = {}
    for way in ("", *ways):
        manifest = build(replace(graph, way=way), backend, "int8")
        assert manifest.parity.passed
        assert (f"{way} int8: {ways.get(way)}" in manifest.notes) == bool(way)
        found[way] = [file.sha256 for file in manifest.files]
    assert list(ways) == ["gentler", "plain"]
    assert found[""] != found["plain"] != found["gentler"] != found[""]


@pytest.mark.slow
def test_small_values_times_large_ones_keep_their_own_range_in_tflite(exported: Export) -> None:
    """They once got the large ones' range; LiteRT refused that, or aborted without a word."""
    manifest = build(exported("faint"), "tflite", "int8")
    assert manifest.parity.passed
    assert not any("the usual int8 failed" in note for note in manifest.notes)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["detector_apart", "upscaler", "depth"])
def test_sound_tensors_pass_in_int8(exported: Export, backend: str, name: str) -> None:
    record = build(exported(name), backend, "int8").parity
    assert record.passed and record.agreement is None
    assert all(output.relative is not None for output in record.outputs)


def test_a_guard_needs_an_output_that_decides(cli: Cli, tmp_path: Path, pictures: Path) -> None:
    done = cli("convert", "fault_models:upscaler", "--max-drop", 1, "--guard", pictures, "-o",
               tmp_path / "out", cwd=HERE)  # fmt: skip
    assert "every output of the spec is a plain tensor" in one_line_error(done)


# Logits or probabilities


@pytest.mark.parametrize(
    ("name", "scores"),
    [("softmax", "probabilities"), ("sigmoid", "probabilities"), ("own_softmax", "probabilities"),
     ("logits", "logits"), ("upscaler", None)],
)  # fmt: skip
def test_the_graph_tells_logits_from_probabilities(
    exported: Export, name: str, scores: str | None
) -> None:
    assert exported(name, calibration=None).spec.outputs[0].scores == scores


@pytest.mark.parametrize(
    ("name", "words"),
    [("softmax_called_logits", 'ends in a softmax or sigmoid but the spec says scores = "logits"'),
     ("logits_called_probabilities", "no probabilities: say scores = \"logits\"")],
)  # fmt: skip
def test_a_spec_that_misnames_its_scores_is_refused(
    exported: Export, name: str, words: str
) -> None:
    with pytest.raises(BadModel, match=words):
        exported(name, calibration=None)


@pytest.mark.unmeasured
def test_an_onnx_that_ends_in_a_softmax_is_known(tmp_path: Path) -> None:
    import onnx

    from edgekit.graph.scores import onnx_endings

    for name, ends in (("Softmax", True), ("Sigmoid", True), ("Pooled", False)):
        path = tmp_path / f"{name}.onnx"
        torch.onnx.export(
            getattr(fault_models, name)().eval(), (torch.zeros(1, 3, 32, 48),), path,
            dynamo=True, verbose=False,
        )  # fmt: skip
        assert onnx_endings(onnx.load(path)) == (ends,)


def test_a_confidence_is_the_networks_own_probability(
    cli: Cli, tmp_path: Path, pictures: Path
) -> None:
    out = tmp_path / "out"
    done = cli("convert", "fault_models:softmax", "--backend", "onnx", "--precision", "fp32",
               "-o", out, cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load_artifact(out / "onnx-fp32").manifest.outputs[0].scores == "probabilities"
    picture = sorted(pictures.iterdir())[0]
    done = cli("predict", picture, "--artifact", out / "onnx-fp32", "--json")
    answer = json.loads(done.stdout)
    from edgekit.data.images import decode_image
    from edgekit.graph.contract import reference_input

    pixels = torch.tensor(decode_image(picture.read_bytes(), fault_models.INPUT))[None]
    with torch.no_grad():
        truth = fault_models.Softmax().eval()(reference_input(pixels, fault_models.INPUT))
    found = json.dumps(answer)
    assert f"{float(truth.max()):.4f}"[:5] in found, (truth, answer)


# Integers, booleans, constants


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["segments", "top"])
def test_integers_and_booleans_are_the_models(exported: Export, backend: str, name: str) -> None:
    graph = exported(name)
    for precision in ("fp32", "int8"):
        manifest = build(graph, backend, precision)
        for output, record in zip(graph.spec.outputs, manifest.parity.outputs, strict=True):
            reference = graph.reference()[output.name]
            if reference.dtype.kind == "f":
                continue
            ours = answers(graph, backend, precision)[output.name]
            assert len(np.unique(reference)) > 1
            assert record.equal == (ours == reference).mean() >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_answers_that_never_vary_are_said(exported: Export, backend: str) -> None:
    graph = exported("blind")
    for precision in ("fp32", "int8"):
        record = build(graph, backend, precision).parity
        assert [line.partition(" on all")[0] for line in record.doubts] == [
            "'answer' is the same", "'mask' is the same"
        ]  # fmt: skip


# NaN


@pytest.mark.parametrize(
    ("name", "words"),
    [("nan_weight", r"output 'kind' of nan_weight is NaN or infinite on 48 of 48 images: "
                    r"the weight 'stem.2.weight' holds NaN or infinity \(1 of 2304\)"),
     ("nan_unseen", r"do not show it: the weight 'unused' holds NaN or infinity \(1 of 2\)"),
     ("nan_answer", r"output 'features' of nan_answer is NaN or infinite on 48 of 48 images: look"),
     ("dropping", r"differs between two runs on one image .* is dropout left on")],
)  # fmt: skip
def test_a_model_to_which_nothing_can_be_held_is_refused(
    exported: Export, name: str, words: str
) -> None:
    with pytest.raises(BadModel, match=words):
        exported(name, calibration=None)


# Rounding


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["scaled", "detector"])
def test_large_outputs_pass_and_a_thousandth_more_does_not(
    exported: Export, backend: str, name: str
) -> None:
    graph = exported(name, calibration=None)
    parity = build(graph, backend, "fp32").parity
    assert parity.max_abs_diff > 1e-5
    (output,) = graph.spec.outputs
    ours = {output.name: answers(graph, backend, "fp32")[output.name] * np.float32(1.001)}
    noise = graph.noise
    record = judge(ours, graph.reference(), (output,), "fp32", graph.parity_images, noise=noise)
    assert not record.passed


def test_a_converters_fault_of_a_thousandth_is_refused(exported: Export) -> None:
    """One weight tensor of the artifact is wrong by a thousandth."""
    import onnx
    from onnx import numpy_helper

    graph = exported("logits", calibration=None)
    build(graph, "onnx", "fp32")
    path = graph.folder / "out" / "onnx-fp32" / "model.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.dims == [4, 16]:
            tensor.CopyFrom(
                numpy_helper.from_array(
                    numpy_helper.to_array(tensor) * np.float32(1.001), tensor.name
                )
            )
    onnx.save(model, path)
    load = loader(load_backend("onnx"))
    ours = artifact_outputs(str(path), load, "uint8", graph.spec, graph.parity_pixels())
    record = judge(
        ours, graph.reference(), graph.spec.outputs, "fp32", graph.parity_images, noise=graph.noise
    )
    assert not record.passed and "× PyTorch's own rounding" in record.faults[0]


def test_pytorchs_rounding_is_measured_on_fewer_images_of_a_large_network(exported: Export) -> None:
    from edgekit.conversion import reference

    graph = exported("logits", calibration=None)
    pixels, known = graph.parity_pixels(), graph.reference()
    seen: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = fault_models.Pooled().eval()

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            seen.append(len(image))
            return (self.inner(image),)

    all_of_it = reference.torch_noise(Counting(), graph.spec, pixels, 1, known)
    assert len(seen) == len(pixels)
    few = reference.torch_noise(Counting(), graph.spec, pixels, reference.FLOAT64_MACS // 2, known)
    assert len(seen) == len(pixels) + 2
    assert 0 < few["kind"].max_abs_diff <= all_of_it["kind"].max_abs_diff < 1e-4


def test_a_model_that_cannot_be_cast_has_no_noise_and_the_stated_bar(exported: Export) -> None:
    from edgekit.conversion.reference import torch_noise

    class Stubborn(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.nn.functional.conv2d(image, torch.ones(1, 3, 3, 3)),)

    graph = exported("logits", calibration=None)
    assert torch_noise(Stubborn(), graph.spec, graph.parity_pixels(), 1, graph.reference()) == {}
    record = judge(
        graph.reference(), graph.reference(), graph.spec.outputs, "fp32", graph.parity_images
    )
    assert record.bar == "max abs difference ≤ 0.0002 of the largest value"


def test_old_manifests_read_as_logits() -> None:
    old = b'{"name": "kind", "kind": "classification", "labels": ["a", "b"]}'
    assert msgspec.json.decode(old, type=OutputSpec).scores is None


# torch.onnx says it of a module that torch.export has made, which has but one mode.
@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode:UserWarning")
@pytest.mark.parametrize(("share", "refused"), [(1.0, {"fp32", "int8"}), (0.02, {"fp32"})])
def test_int8_of_a_float_network_that_is_wrong_is_refused_too(
    exported: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    refused: set[str],
) -> None:
    """A converter that is wrong in float is wrong in int8, where decisions may not show it."""
    graph = exported("gains")
    off = share * graph.reference()["kind"].std(axis=0).min()
    monkeypatch.setattr(
        "edgekit.conversion.build.outputs_of",
        lambda *given: {name: value + off for name, value in outputs_of(*given).items()},
    )
    rows: list[dict[str, Any]] = []
    asked = BuildRequest(
        graph=graph,
        backend="onnx",
        precisions=("int8", "fp32"),
        output=str(tmp_path / "out"),
        min_agreement=0.9,
    )
    run_builds(msgspec.to_builtins(asked, enc_hook=str), rows.append)
    faults = {row["precision"]: row["error"] for row in rows if "error" in row}
    assert set(faults) == refused and "does not compute the model" in faults["fp32"]
    if share == 1:
        assert faults["int8"] == "onnx int8: its float network is wrong"
