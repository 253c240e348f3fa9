"""What each kind of output is judged by, and how outputs are found in what a forward returns."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.artifact import ParityRecord, Precision
from edgekit.conversion.guard import drop
from edgekit.conversion.parity import judge
from edgekit.conversion.spec_files import read_spec
from edgekit.errors import BadModel
from edgekit.evaluation.answer import Decision
from edgekit.graph import GuardSet
from edgekit.graph.contract import Flat
from edgekit.kinds import kind_names, kind_of
from edgekit.onboard import runner
from edgekit.spec import Boxes, OutputSpec, Points

Array = NDArray[Any]
RNG = np.random.default_rng(11)
LABELS = ("sky", "road", "tree")


def verdict(
    ours: Array, reference: Array, output: OutputSpec, precision: Precision = "int8"
) -> ParityRecord:
    mine = {output.name: np.asarray(ours, np.float32)}
    images = tuple(map(str, range(len(reference))))
    return judge(mine, {output.name: reference}, (output,), precision, images)


def in_int8(values: Array) -> Array:
    step = float(values.max() - values.min()) / 255
    return (np.rint(values / step) * step).astype(np.float32)


def blobs() -> Array:
    """Scores of three classes in smooth regions, (6, 3, 24, 32)."""
    coarse = torch.from_numpy(RNG.normal(0, 4, (6, 3, 4, 5)))
    smooth: Array = nn.functional.interpolate(coarse, (24, 32), mode="bicubic").numpy()
    return smooth


def embeddings() -> Array:
    """Vectors that are never negative, as after a ReLU: any two have a cosine of about 0.8."""
    return np.maximum(RNG.normal(1.0, 0.5, (16, 64)), 0)


SCORES = RNG.normal(0, 3, (32, 5))
FIVE = tuple("abcde")


def rows(shift: float = 0.0) -> Array:
    """Boxes with scores of five labels, (8, 40, 9), whose centres lie `shift` further right."""
    draw = np.random.default_rng(5)
    boxes = np.concatenate([draw.uniform(10, 90, (8, 40, 2)), draw.uniform(8, 30, (8, 40, 2))], -1)
    boxes[..., 0] += shift
    boxes /= 128  # fractions: in pixels they would share one int8 scale with the scores
    return np.concatenate([boxes, draw.uniform(0, 1, (8, 40, 5)) ** 3], -1)


MARKS = np.random.default_rng(6).uniform(0, 200, (16, 9, 2))
CASES: dict[str, tuple[OutputSpec, Array, Array]] = {
    "classification": (OutputSpec("x", "classification", FIVE), SCORES, SCORES[:, ::-1]),
    "ordinal": (OutputSpec("x", "ordinal", FIVE), SCORES, SCORES[:, ::-1]),
    "regression": (
        OutputSpec("x", "regression", FIVE),
        RNG.uniform(0, 4, (32, 1)),
        np.full((32, 1), 2.0),
    ),
    "multilabel": (OutputSpec("x", "multilabel", FIVE), SCORES, SCORES + 2),
    "value": (
        OutputSpec("x", "value", unit="mm"),
        RNG.normal(800, 90, (32, 1)),
        np.full((32, 1), 800.0),
    ),
    "embedding": (
        OutputSpec("x", "embedding"),
        embeddings(),
        np.tile(embeddings().mean(0), (16, 1)),
    ),
    "image": (OutputSpec("x", "image"), blobs(), blobs() * 0.0),
    "segmentation": (OutputSpec("x", "segmentation", LABELS), blobs(), blobs()),
    "detection": (
        OutputSpec("x", "detection", FIVE, "probabilities", boxes=Boxes(format="cxcywh")),
        rows(),
        rows(shift=30),
    ),
    "keypoints": (
        OutputSpec("x", "keypoints", points=Points(count=9)),
        MARKS,
        MARKS + np.array([40.0, 0.0]),
    ),
    "tensor": (OutputSpec("x"), SCORES, SCORES * 0),
}


def test_every_kind_of_a_spec_has_its_file() -> None:
    (kinds,) = (get_args(get_type_hints(OutputSpec)["kind"]),)
    assert sorted(kinds) == kind_names() == sorted(CASES)
    judged = {name for name in kinds if kind_of(CASES[name][0]).JUDGED_BY == "metric"}
    assert judged == set(runner.METRICS)
    assert set(runner.DECIDERS) == set(kinds) - {"tensor"}


@pytest.mark.parametrize("kind", CASES)
def test_int8_rounding_passes_and_ruin_does_not(kind: str) -> None:
    output, reference, ruined = CASES[kind]
    sound = verdict(in_int8(reference), reference, output)
    assert sound.passed, sound.faults
    record = verdict(ruined, reference, output)
    assert not record.passed
    assert record.faults[0].startswith("'x'")
    metric = runner.METRICS.get(kind, (None,))[0]
    assert record.outputs[0].metric == metric
    if metric:
        assert metric in record.faults[0] and metric in record.bar


@pytest.mark.parametrize("kind", CASES)
def test_fp32_is_held_to_rounding_whatever_the_kind(kind: str) -> None:
    output, reference, _ = CASES[kind]
    assert verdict(reference, reference, output, "fp32").passed
    assert not verdict(reference * 1.001, reference, output, "fp32").passed


def test_a_class_map_of_integers_is_judged_by_its_regions() -> None:
    output = OutputSpec("x", "segmentation", LABELS)
    classes = blobs().argmax(1)
    shifted = classes.copy()
    shifted[:, :, :-1] = classes[:, :, 1:]
    record = verdict(shifted, classes, output)
    score = record.outputs[0].score
    assert score is not None and 0.5 < score < 1
    assert verdict(classes, classes, output).outputs[0].score == 1
    last = np.moveaxis(blobs(), 1, 3)
    shapes = [(1, 3, 24, 32), (1, 24, 32, 3), (1, 24, 32), (1, 1, 24, 32)]
    assert [kind_of(output).shape_fault(output, shape) for shape in shapes] == [""] * 4
    assert runner.class_map(last, msgspec.to_builtins(output)).shape == (6, 24, 32)


def test_a_super_resolution_half_a_percent_off_passes() -> None:
    """The bar of the first release refused it: the brightest pixel had moved."""
    reference = RNG.uniform(0, 1, (4, 3, 32, 32))
    record = verdict(
        reference + RNG.normal(0, 0.005, reference.shape), reference, OutputSpec("x", "image")
    )
    assert record.passed and record.outputs[0].score == pytest.approx(46, abs=0.5)


def test_the_guard_counts_points_of_a_metric() -> None:
    output, reference, ruined = CASES["embedding"]
    guard = GuardSet(
        pixels=np.zeros((16, 2, 2, 3), np.uint8),
        reference={"x": reference.astype(np.float32)},
        labels={},
    )
    assert drop({"x": reference.astype(np.float32)}, guard, (output,)) == pytest.approx(0)
    assert drop({"x": ruined.astype(np.float32)}, guard, (output,)) > 50


@pytest.mark.parametrize(
    ("output", "value", "text"),
    [
        (OutputSpec("x", "ordinal", FIVE), [[0, 0, 9, 0, 0]], "c"),
        (OutputSpec("x", "multilabel", FIVE, "logits"), [[-3, 2, 0.1, -1, 5]], "b, c, e"),
        (OutputSpec("x", "multilabel", FIVE, "probabilities"), [[0, 0, 0.4, 0, 0]], "none"),
        (OutputSpec("x", "multilabel", ("wake",), threshold=0.9), [[2.0]], "none"),
        (OutputSpec("x", "value", unit="mm"), [[812.34]], "812.3 mm"),
        (OutputSpec("x", "embedding"), [[0.5, 1.5, 2]], "3 numbers"),
        (OutputSpec("x", "image"), np.zeros((1, 3, 8, 9)), "3×8×9, 0 to 0"),
        (OutputSpec("x", "segmentation", LABELS), [[[0, 0, 2, 0]]], "sky 75%, tree 25%"),
    ],
)
def test_an_answer_is_printed_as_its_kind_is_read(
    output: OutputSpec, value: Any, text: str
) -> None:
    said = runner.decide(np.asarray(value, np.float32), msgspec.to_builtins(output))
    assert msgspec.convert(said, Decision).text == text


@pytest.mark.parametrize(
    ("output", "shape", "words"),
    [
        (OutputSpec("x", "ordinal", LABELS), (1, 4), "an ordinal over 3 labels needs (1, 3)"),
        (OutputSpec("x", "value"), (1, 4), "a value needs (1, 1)"),
        (OutputSpec("x", "embedding"), (1, 4, 4), "an embedding needs (1, LENGTH)"),
        (OutputSpec("x", "image"), (1, 400), "an image needs (1, CHANNELS"),
        (OutputSpec("x", "segmentation", LABELS), (1, 5, 8, 8), "a segmentation over 3 labels"),
    ],
)
def test_a_shape_that_a_kind_cannot_have_is_said(
    output: OutputSpec, shape: tuple[int, ...], words: str
) -> None:
    assert words in kind_of(output).shape_fault(output, shape)


# What a forward returns


class Answering(nn.Module):
    """Returns what `make` makes of two tensors."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, image: Tensor) -> Any:
        return self.make(image.mean((2, 3)), image.amax((2, 3)))


IMAGE = torch.arange(48.0).reshape(1, 3, 4, 4)
MEAN, TOP = IMAGE.mean((2, 3)), IMAGE.amax((2, 3))
Pair = namedtuple("Pair", ["low", "high"])


def found(make: Any, *outputs: OutputSpec) -> tuple[Tensor, ...]:
    answer: tuple[Tensor, ...] = Flat(Answering(make), outputs)(IMAGE)
    return answer


@pytest.mark.parametrize(
    ("make", "names", "order"),
    [
        (lambda m, t: {"a": {"b": m}, "c": [t]}, ("c.0", "a.b"), "tm"),
        (lambda m, t: [{"x": m}, {"x": t}], ("1.x", "0.x"), "tm"),
        (lambda m, t: (m, (t, m)), ("p", "q", "r"), "mtm"),
        (Pair, ("high", "low"), "tm"),
        (Pair, ("first", "second"), "mt"),
        (lambda m, t: {"deep": Pair(m, t)}, ("deep.high", "deep.low"), "tm"),
        (lambda m, t: m, ("anything",), "m"),
    ],
)
def test_nested_outputs_are_taken_by_path_or_in_order(
    make: Any, names: tuple[str, ...], order: str
) -> None:
    answer = found(make, *map(OutputSpec, names))
    wanted = [{"m": MEAN, "t": TOP}[letter] for letter in order]
    assert all(torch.equal(a, b) for a, b in zip(answer, wanted, strict=True))


def test_from_picks_what_is_wanted_and_leaves_the_rest() -> None:
    def make(m: Tensor, t: Tensor) -> Any:
        return {"boxes": [m, None], "features": ({"top": t}, m), "loss": None}

    picked = (OutputSpec("peak", path="features.0.top"), OutputSpec("box", path="boxes.0"))
    peak, box = found(make, *picked)
    assert torch.equal(peak, TOP) and torch.equal(box, MEAN)
    with pytest.raises(BadModel, match=r"output 'x' is None, not a tensor"):
        found(make, OutputSpec("x", path="boxes.1"))
    with pytest.raises(BadModel, match=r"from 'boxes.7', the model answers 'boxes.0', 'boxes.1', "):
        found(make, OutputSpec("x", path="boxes.7"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m, t: {"a": m, "b": None}, "output 'b' is None"),
        (lambda m, t: (m, None), "output 'b' is None"),
        (lambda m, t: (m, 3), "output 'b' is a int, not a tensor"),
        (lambda m, t: {"a": m, "c": t}, "answers 'a', 'c' but the spec names 'a', 'b'"),
        (lambda m, t: (m, t, m), "gives 3 outputs, its spec names 2 ('a', 'b')"),
    ],
)
def test_what_is_no_tensor_or_has_no_name_is_refused(make: Any, words: str) -> None:
    with pytest.raises(BadModel) as refused:
        found(make, OutputSpec("a"), OutputSpec("b"))
    assert words in str(refused.value)


def test_a_spec_file_says_from(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[input]\nheight = 8\nwidth = 8\n[[outputs]]\nname = "depth"\nkind = "value"\n'
        'unit = "mm"\nfrom = "heads.1"\n'
    )
    (output,) = read_spec(str(spec)).outputs
    assert (output.name, output.path, output.unit) == ("depth", "heads.1", "mm")
