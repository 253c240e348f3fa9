"""What parity passes and refuses, on answers made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.artifact import OutputParity, ParityRecord, Precision
from edgekit.conversion.parity import judge
from edgekit.deployment.golden import limit
from edgekit.graph import Noise
from edgekit.onboard import runner
from edgekit.onboard.runner import Distances
from edgekit.outputs import decisions
from edgekit.spec import OutputSpec

Array = NDArray[Any]
RNG = np.random.default_rng(5)
ANCHORS = 400
PLAIN = OutputSpec("x")


def verdict(
    ours: Array,
    reference: Array,
    precision: Precision = "int8",
    output: OutputSpec = PLAIN,
    noise: Noise | None = None,
) -> ParityRecord:
    """Judge one output of N images."""
    known = {output.name: noise} if noise else {}
    images = tuple(map(str, range(len(reference))))
    mine = {output.name: np.asarray(ours, np.float32)}
    return judge(mine, {output.name: reference}, (output,), precision, images, noise=known)


def in_int8(values: Array, low: float | None = None, high: float | None = None) -> Array:
    """Return values as one int8 scale over their range holds them."""
    low = min(float(values.min()), 0) if low is None else low
    step = ((float(values.max()) if high is None else high) - low) / 255
    return (np.rint((values - low) / step) * step + low).astype(np.float32)


def detector(last: bool) -> tuple[Array, Array]:
    """Boxes in pixels (4) and scores (3) of a detector, and the same, on 8 images, (8, A, 7)."""
    boxes = RNG.uniform(0, 640, (8, ANCHORS, 4))
    scores = RNG.beta(0.05, 2, (8, ANCHORS, 3))
    whole = np.concatenate([boxes, scores], 2).astype(np.float32)
    return (whole if last else whole.swapaxes(1, 2)), scores


# A plain tensor


@pytest.mark.parametrize("last", [True, False])
def test_scores_that_drown_in_the_scale_of_boxes_are_refused(last: bool) -> None:
    """int8 holds them in three values: every detection is lost or doubled, boxes stay fine."""
    reference, _ = detector(last)
    ours = in_int8(reference)
    scores = ours[..., 4:] if last else ours[:, 4:]
    assert len(np.unique(scores)) <= 3
    record = verdict(ours, reference)
    assert not record.passed
    (fault,) = record.faults
    axis = 2 if last else 1
    assert f"indices 4-6 of 7 along axis {axis}" in fault
    assert "split boxes from scores" in fault


@pytest.mark.parametrize("last", [True, False])
def test_boxes_and_scores_apart_pass(last: bool) -> None:
    reference, scores = detector(last)
    boxes = reference[..., :4] if last else reference[:, :4]
    assert verdict(in_int8(boxes), boxes).passed
    assert verdict(in_int8(scores), scores).passed


def pictures(top: float) -> Array:
    """Return 8 smooth one-channel pictures of 0 to `top`, (8, 1, 24, 36)."""
    ramp = np.minimum(np.linspace(0, 1, 36) * np.linspace(0.2, 1, 24)[:, None], 0.9)
    return np.stack([top * ramp * share for share in np.linspace(0.5, 1, 8)])[:, None]


@pytest.mark.parametrize(
    ("reference", "error"),
    [(pictures(1.0), 0.0023), (pictures(8000.0), 60.0), (pictures(255.0), 1.3)],
    ids=["denoiser 0.0023 off", "depth in mm", "upsampling 0.5 % off"],
)
def test_good_pictures_pass_though_their_brightest_pixel_moves(
    reference: Array, error: float
) -> None:
    ours = reference + RNG.uniform(-error, error, reference.shape)
    argmax = (a.reshape(8, -1).argmax(1) for a in (ours, reference))
    assert (next(argmax) != next(argmax)).any()  # the bar of the first release: the largest pixel
    record = verdict(ours, reference)
    assert record.passed and record.agreement is None
    assert record.outputs[0].relative is not None and record.outputs[0].relative < 0.1


def test_the_dark_edges_of_a_heat_map_are_places_not_units() -> None:
    """A key point never lies on the border: what little stands there may be lost."""
    reference = RNG.uniform(0, 2e-3, (8, 5, 64, 48))
    reference[:, :, 20:40, 12:36] += RNG.beta(0.1, 2, (8, 5, 20, 24))
    assert verdict(in_int8(reference), reference).passed
    last = np.moveaxis(reference, 1, 3)
    assert verdict(in_int8(last), last).passed


def test_one_ruined_channel_of_many_is_named() -> None:
    reference = RNG.normal(0, 1, (8, 40, 12, 12))
    ours = reference.copy()
    ours[:, 17] = 0
    record = verdict(ours, reference)
    assert not record.passed and "index 17 of 40 along axis 1" in record.faults[0]


def test_a_plain_tensor_decides_nothing() -> None:
    assert decisions(RNG.normal(0, 1, (4, 10)).astype(np.float32), OutputSpec("x")) is None


def test_probabilities_of_a_class_that_is_never_seen_are_held_to_the_whole() -> None:
    """A softmax's values share one range: the 0.001 of an absent class may become 0."""
    reference = np.array([[0.999, 0.0006, 0.0004]]) + RNG.uniform(0, 2e-4, (8, 3))
    marked = OutputSpec("x", scores="probabilities")
    assert verdict(in_int8(reference), reference, output=marked).passed
    assert not verdict(in_int8(reference), reference).passed


def test_what_is_dead_or_hardly_moves_does_not_refuse_a_sound_artifact() -> None:
    reference = np.maximum(RNG.normal(0, 1, (16, 12)), 0)
    reference[:, 3] = 0.0
    reference[:, 5] = 0.9 + RNG.uniform(-1e-3, 1e-3, 16)
    assert verdict(in_int8(reference), reference).passed


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (8, 1), (2, 3, 4, 5), (4, 200), (9, 2, 300)])
def test_every_shape_is_measured(shape: tuple[int, ...]) -> None:
    reference = RNG.normal(3, 2, shape)
    assert verdict(reference, reference).passed
    assert Distances(reference, reference).worst == 0
    assert not verdict(-reference, reference).passed


# Constants, integers, NaN


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_an_output_that_never_varies_is_said_and_must_be_equal(
    value: float, precision: Precision
) -> None:
    reference = np.full((6, 2, 4), value)
    reference[:, 1, 3] /= 50  # small beside the others: int8 has no more than one step for it
    record = verdict(reference, reference, precision)
    assert record.passed
    assert verdict(in_int8(reference) if value else reference, reference).passed
    assert record.doubts == (
        "'x' is the same on all 6 images, which proves little: give --images that differ",
    )
    assert not verdict(reference + 0.1, reference, precision).passed


def test_a_constant_classification_is_not_proven_by_its_one_decision() -> None:
    output = OutputSpec("kind", "classification", ("a", "b"))
    reference = np.tile([[5.0, 0.0]], (6, 1))
    assert not verdict(np.tile([[0.2, 0.1]], (6, 1)), reference, output=output).passed
    assert verdict(reference * 1.005, reference, output=output).passed


def test_one_decision_for_all_images_is_said() -> None:
    output = OutputSpec("kind", "classification", ("a", "b"))
    reference = np.stack([np.linspace(1, 2, 6), np.zeros(6)], 1)
    record = verdict(reference, reference, output=output)
    assert record.passed and "decides the same on all 6 images" in record.doubts[0]


def test_integers_are_held_to_equal_values_not_to_distances() -> None:
    reference = RNG.integers(0, 4, (8, 20, 30))
    zeros = np.zeros(reference.shape)
    assert not verdict(zeros, reference, "fp32").passed
    nearly = reference.copy()
    nearly[:, 0, 0] += 1  # 1 in 600 pixels of another class
    assert verdict(nearly, reference).passed
    record = verdict(nearly, reference, "fp32")
    assert not record.passed and "99.83% of the values are the same" in record.faults[0]
    mask = reference > 1
    assert verdict(mask, mask, "fp32").outputs[0].equal == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["classification", "tensor"])
def test_nan_never_passes_and_is_named(precision: Precision, bad: float, kind: Any) -> None:
    output = OutputSpec("kind", kind, ("a", "b") if kind == "classification" else ())
    reference = RNG.normal(0, 1, (5, 2))
    ours = reference.copy()
    ours[2, 1] = bad
    record = verdict(ours, reference, precision, output)
    assert not record.passed
    assert record.faults == ("'kind' is NaN or infinite on 1 of 5 images",)
    assert not verdict(np.full((5, 2), bad), reference, precision, output).passed


def test_random_weights_in_int8_are_held_to_finite_answers() -> None:
    reference = {"x": RNG.normal(0, 1, (5, 2)).astype(np.float32)}
    for value, passes in ((0.0, True), (np.nan, False)):
        ours = {"x": np.full((5, 2), value, np.float32)}
        record = judge(
            ours, reference, (OutputSpec("x"),), "int8", tuple("abcde"), random_weights=True
        )
        assert record.passed == passes


# fp32: rounding passes, another function does not


SIZES = {
    "outputs of 5,000": (5000.0, 4e-4),
    "boxes to 652 pixels": (652.0, 0.03),
    "logits of 26": (26.0, 3e-6),
    "a U-Net to 9.5": (9.5, 3e-4),
    "ResNet18": (12.0, 4e-5),
    "tiny outputs": (1e-6, 1e-13),
}


@pytest.mark.parametrize("kind", ["classification", "tensor"])
@pytest.mark.parametrize("name", SIZES)
def test_fp32_allows_rounding_and_no_fault_of_a_thousandth(name: str, kind: Any) -> None:
    size, noise = SIZES[name]
    output = OutputSpec("x", kind, tuple(map(str, range(6))) if kind == "classification" else ())
    reference = RNG.uniform(-size, size, (64, 6))
    known = Noise(noise, noise / size)
    rounded = reference + RNG.uniform(-2 * noise, 2 * noise, reference.shape)
    assert verdict(rounded, reference, "fp32", output, known).passed
    record = verdict(reference * 1.001, reference, "fp32", output, known)
    assert not record.passed
    assert "× PyTorch's own rounding" in record.faults[0]
    assert record.outputs[0].allowed < 1e-3 * size  # type: ignore[operator]


def test_fp32_without_float64_is_held_to_a_share_of_the_largest_value() -> None:
    reference = RNG.uniform(-652, 652, (16, 6))
    assert verdict(reference + 0.06, reference, "fp32").passed
    assert not verdict(reference * 1.001, reference, "fp32").passed


def test_fp32_probabilities_are_allowed_the_rounding_of_a_sigmoid_and_no_more() -> None:
    """YOLO11n as it is drawn, unseen: its scores are 1e-5, ONNX Runtime's sigmoid 3e-8 off."""
    reference = RNG.uniform(0, 1.5e-5, (8, 6)).astype(np.float32)
    known = Noise(1e-12, 1e-7)
    for scores, passed in (("probabilities", True), ("logits", False)):
        spec = OutputSpec("x", "multilabel", tuple("abcdef"), scores)  # type: ignore[arg-type]
        near = verdict(reference + np.float32(3e-8), reference, "fp32", spec, known)
        assert near.passed == passed
        assert not verdict(reference * 0, reference, "fp32", spec, known).passed


def test_fp32_holds_small_values_beside_large_ones_to_their_own_size() -> None:
    reference, _ = detector(last=True)
    ours = reference.copy()
    ours[..., 4:] += RNG.uniform(-0.01, 0.01, ours[..., 4:].shape)
    known = Noise(0.003, 1e-5)  # pixels off by 0.003: the scores' 0.01 hides in it
    record = verdict(ours, reference, "fp32", noise=known)
    assert not record.passed and "indices 4-6 of 7 along axis 2" in record.faults[0]


def test_fp16_is_held_to_its_bits() -> None:
    reference = RNG.normal(0, 3, (16, 6))
    assert verdict(reference * 1.002, reference, "fp16").passed
    assert not verdict(reference * 1.01, reference, "fp16").passed


# A board's answers, held to this machine's


def golden(
    ours: Array, answers: Array, precision: Precision, output: OutputSpec, record: OutputParity
) -> str:
    """Return what a board's runner says of its answers; '' where they pass."""
    parity = ParityRecord(images=(), outputs=(record,), bar="", passed=True)
    source = SimpleNamespace(weights="given")
    manifest = SimpleNamespace(precision=precision, parity=parity, source=source, outputs=(output,))
    artifact: Any = SimpleNamespace(manifest=manifest)
    held = limit(artifact, output, {output.name: answers})
    return runner._compare(ours, answers, msgspec.to_builtins(output), held)[1]


def test_a_board_is_held_to_parity_s_bars() -> None:
    record = OutputParity(
        name="x", max_abs_diff=0.01, mean_abs_diff=0.001, agreement=None, allowed=0.05
    )
    answers = RNG.uniform(-652, 652, (8, 40, 4)).astype(np.float32)
    assert golden(answers + np.float32(0.04), answers, "fp32", PLAIN, record) == ""
    assert "0.05 allowed" in golden(answers + np.float32(0.06), answers, "fp32", PLAIN, record)
    boxes, _ = detector(last=True)
    assert golden(boxes, boxes, "int8", PLAIN, record) == ""
    assert "of its spread off, 0.2 allowed" in golden(in_int8(boxes), boxes, "int8", PLAIN, record)
    ids = RNG.integers(0, 9, (8, 100)).astype(np.float32)
    whole = OutputParity(name="x", max_abs_diff=0, mean_abs_diff=0, agreement=None, equal=1.0)
    assert golden(ids, ids, "fp32", PLAIN, whole) == ""
    assert "of the values are equal, 99.9% needed" in golden(ids * 0, ids, "fp32", PLAIN, whole)
    kind = OutputSpec("x", "classification", ("a", "b"))
    scores = RNG.normal(0, 1, (8, 2)).astype(np.float32)
    assert golden(scores * 1.5, scores, "int8", kind, record) == ""
    assert "decisions agree" in golden(-scores, scores, "int8", kind, record)


def test_a_board_is_held_to_an_older_manifest_too() -> None:
    answers = RNG.normal(0, 3, (8, 2)).astype(np.float32)
    kind, old = (
        OutputSpec("x", "classification", ("a", "b")),
        OutputParity(name="x", max_abs_diff=1e-6, mean_abs_diff=1e-7, agreement=1.0),
    )
    assert golden(answers + np.float32(1e-5), answers, "fp32", kind, old) == ""
    assert "allowed" in golden(answers * np.float32(1.001), answers, "fp32", kind, old)


# Near ties


CLASSES = OutputSpec("age", "classification", ("young", "old", "other"))


def scores(margin: float, images: int = 40) -> Array:
    """Scores of three classes over a range of 10; `young` leads `old` by `margin`."""
    return np.tile(np.array([[10.0, 10.0 - margin, 0.0]], np.float32), (images, 1))


def test_a_decision_that_the_model_itself_nearly_ties_does_not_count_against_int8() -> None:
    reference = scores(0.1)
    ours = reference.copy()
    ours[:10, 1] += 0.2
    record = verdict(ours, reference, output=CLASSES)
    assert record.passed and record.agreement == 0.75 and record.outputs[0].ties == 10
    assert any("10 of 40 decisions changed" in doubt for doubt in record.doubts)


def test_a_decision_that_the_model_makes_clearly_counts_however_far_int8_is_off() -> None:
    """An artifact gains nothing by being noisy: only the model's own margin is looked at."""
    reference = scores(0.5)
    ours = reference.copy()
    ours[:10, 1] += 5.0
    record = verdict(ours, reference, output=CLASSES)
    assert not record.passed and record.outputs[0].ties == 0


def test_a_tie_of_two_classes_excuses_no_third() -> None:
    reference = scores(0.1)
    ours = reference.copy()
    ours[:10, 2] = 11.0
    record = verdict(ours, reference, output=CLASSES)
    assert not record.passed and record.outputs[0].ties == 0


@pytest.mark.parametrize(("value", "ties"), [(1.49, 10), (1.3, 0)])
def test_a_value_next_to_the_edge_of_its_class_is_a_tie(value: float, ties: int) -> None:
    output = OutputSpec("age", "regression", ("young", "old", "other"))
    reference = np.full((40, 1), value, np.float32)
    reference[20:] = 0.2
    ours = reference.copy()
    ours[:10] = 1.6
    record = verdict(ours, reference, output=output)
    assert record.outputs[0].ties == ties and record.passed == bool(ties)
