"""The contract around a network: what goes in, from pixels on, and what its outputs mean.

Preprocessing is part of every artifact, so it is written down once, here, and travels in the
manifest. A decoded image is always uint8, height × width × channels, RGB (or one grey channel).

The dataclasses have slots because msgspec does not write a default that a decoded instance only
inherits from its class, and the manifest must hold every field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

ADIENCE_AGE_LABELS = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")
"""Adience's eight age groups in class order, as its label files print them."""

GENDER_LABELS = ("male", "female")
"""m = 0, f = 1, as in the authors' published label files."""


MAX_PIXELS = 4096 * 4096
"""Of a network's input: more than any takes, and as floats still in an ordinary memory."""


MAX_POINTS = 10_000
"""Of one thing; a dense mesh of a face has under a thousand."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Everything between a decoded image and the network's first layer.

    The network sees `(pixel - mean) / std`, per channel, in pixel units (0 to 255): a network
    trained on [0, 1] has mean 0 and std 255.

    `fit` says how a picture of another shape becomes height × width:
    `stretch`: resized to them. With `resize_to`, resized to that square, then centre-cropped.
    `crop`: the shorter side is resized to `resize_to` (without it, to the larger of height and
    width), then the centre is cut out: Resize and CenterCrop of torchvision and timm.
    `letterbox`: resized until it fits inside, centred, and filled up with `pad`: one grey level or
    a value a channel, in RGB order. Detectors of the YOLO family are trained so.

    `subject` says what fills a picture: a `face`. The network was trained on squares around dlib's
    box of a face that are longer than the box by the share `margin`, their centre lower by the
    share `shift` of it. The faces of a photograph are cut out so before `fit`, by
    `runner.decode_faces`.

    `filter` is Pillow's, antialiased. Pixels of `stretch` with `bilinear` come from JPEGs decoded
    at a smaller scale, which is fast; all others are decoded in full.
    """

    height: int
    width: int
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    colour: Literal["RGB", "BGR", "GREY"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    resize_to: int | None = None
    fit: Literal["stretch", "crop", "letterbox"] = "stretch"
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    pad: tuple[int, ...] = (114,)
    name: str = "image"
    subject: Literal["face"] | None = None
    margin: float = 0.0
    shift: float = 0.0

    @property
    def channels(self) -> int:
        """The number of channels the network takes: 1 for grey, else 3."""
        return 1 if self.colour == "GREY" else 3

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be positive, not {self.height}×{self.width}")
        if max(self.height * self.width, (self.resize_to or 0) ** 2) > MAX_PIXELS:
            size = f"{self.height}×{self.width}"
            size += f", resized to {self.resize_to}" if self.resize_to else ""
            raise ValueError(
                f"an input of more than {MAX_PIXELS:,} pixels ({size}): make it smaller"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std need {self.channels} values for {self.colour}")
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ValueError("mean and std must be finite numbers")
        if any(value <= 0 for value in self.std):
            raise ValueError("every std must be above 0 (they divide pixels of 0 to 255)")
        if self.resize_to is not None and self.resize_to < max(self.height, self.width):
            raise ValueError("resize_to must be at least height and width: the crop comes after")
        if self.fit == "letterbox" and self.resize_to is not None:
            raise ValueError("a letterbox has no resize_to: it is resized to fit height and width")
        if len(self.pad) not in {1, self.channels}:
            raise ValueError(f"pad needs 1 value or {self.channels} for {self.colour}")
        if self.subject is None and (self.margin or self.shift):
            raise ValueError('margin and shift are a subject\'s: say subject = "face"')
        if not (-0.5 <= self.margin <= 4 and -1 <= self.shift <= 1):
            raise ValueError(
                "margin is a share of a face's side, from -0.5 to 4; shift, from -1 to 1"
            )
        if any(not 0 <= value <= 255 for value in self.pad):
            raise ValueError("pad is a colour: every value is from 0 to 255")


Dtype = Literal["float32", "int32", "int64", "uint8", "bool"]
DTYPES: tuple[str, ...] = get_args(Dtype)
"""What an input that is no image may hold."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input that is no image: an array of a fixed shape, given as it is.

    `shape` holds the batch dimension: [1, 1, 49, 10]; of a single number it is []. `range` is the
    least and the largest value that is meant, where they are known; samples outside of it are
    refused.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise ValueError(f"input '{self.name}': shape needs whole numbers of 1 or more")
        if math.prod(self.shape) > MAX_PIXELS:
            raise ValueError(f"input '{self.name}' holds more than {MAX_PIXELS} values")
        if self.range is not None and not self.range[0] <= self.range[1]:
            raise ValueError(f"input '{self.name}': range is the least value, then the largest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxes:
    """How the boxes of a detection are read, which are N rows for one image.

    `format`: two corners (`xyxy`; `yxyx` as TensorFlow gives them), the upper left corner and the
    size (`xywh`), or the centre and the size (`cxcywh`).
    `unit`: pixels of the network's input, or fractions of its width and height.
    `row`: what follows the four numbers. `scores`: one score a label. `objectness`: the probability
    that anything is there, then one score a label (YOLOv5). `final`: one score and a class index,
    of boxes of which nothing is left to suppress (end-to-end networks).
    `output`: the output that holds the boxes, where they are one of their own; this output then
    holds what follows them. `classes`: the output with the class indices of `final`, likewise.
    Rows may lie along the second or the last axis: (1, 4 + labels, N) or (1, N, 4 + labels).
    `background`: the place of the label that means nothing is there; logits are then a softmax's.
    `overlap`: of two boxes of a class that overlap by more (IoU), the surer one is kept.
    """

    format: Literal["xyxy", "yxyx", "xywh", "cxcywh"]
    unit: Literal["pixels", "fractions"] = "pixels"
    row: Literal["scores", "objectness", "final"] = "scores"
    output: str | None = None
    classes: str | None = None
    background: int | None = None
    overlap: float = 0.45

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise ValueError("overlap is an IoU: over 0, at most 1")
        if self.classes is not None and (self.row != "final" or self.output is None):
            raise ValueError("classes needs row = 'final' and output, the boxes' own output")
        if self.row == "final" and (self.output is None) != (self.classes is None):
            raise ValueError("boxes of row = 'final' in an output of their own need classes too")
        if self.row == "objectness" and self.output is not None:
            raise ValueError("row = 'objectness' is of boxes and scores in one output")


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """How keypoints are read, which are `count` points of each thing, always in one order.

    `values`: the numbers of a point, one point after the other: x and y (2), or also the
    probability that the point shows (3).
    `unit`: pixels of the network's input, or fractions of its width and height.
    `output`: the output that holds them, where they are one of their own. `shown`: the output with
    one such probability a point, where they are apart from x and y: on one int8 scale with pixels
    they would be lost.
    `lines`: the pairs of points, counted from 0, that a drawing joins.
    `sigmas`: for each point, how far people who mark it differ, as a share of the thing's size:
    COCO's sigmas. Without them 0.05 each.
    """

    count: int
    values: int = 2
    unit: Literal["pixels", "fractions"] = "pixels"
    output: str | None = None
    shown: str | None = None
    lines: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_POINTS:
            raise ValueError(f"points.count is a whole number from 1 to {MAX_POINTS:,}")
        if self.values not in {2, 3}:
            raise ValueError("points.values is 2 (x, y) or 3 (and the probability that it shows)")
        if self.shown is not None and self.values == 3:
            raise ValueError(
                "points with shown, an output of probabilities, are values = 2: x and y"
            )
        for pair in self.lines:
            if not all(0 <= place < self.count for place in pair):
                raise ValueError(
                    f"points.lines joins {list(pair)}: points count from 0 to {self.count - 1}"
                )
        if self.sigmas and len(self.sigmas) != self.count:
            raise ValueError(f"points.sigmas has {len(self.sigmas)} values for {self.count} points")
        if not all(0 < sigma <= 1 for sigma in self.sigmas):
            raise ValueError("points.sigmas are shares of a thing's size: over 0, at most 1")


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output tensor: its name and how a decision is read from it.

    `classification`: one score a label, (1, len(labels)); the decision is the argmax.
    `ordinal`: the same, of labels in an order, so that a neighbour is nearly right.
    `regression`: one value on the scale of the label index, (1, 1); the decision is the value
    rounded half up and clipped to the labels (age class, or gender at 0.5).
    `multilabel`: one score a label, each yes or no at `threshold`, a probability.
    `value`: one real number in `unit`. `embedding`: a vector, compared by its cosine.
    `image`: a picture. `segmentation`: a class for each place, as scores or as a map of classes.
    `detection`: labelled boxes whose score is at least `threshold`, as `boxes` says.
    `keypoints`: points, as `points` says: where it has `boxes`, of each thing that a detection
    finds (a pose); else of the whole picture (landmarks).
    `tensor`: no decision is defined; only distances are reported.
    `edgekit/kinds/` holds how each is judged.

    `scores` says what the values of a classification are, so that its confidence can be read off:
    `logits`, of which the confidence is the softmax, or `probabilities`, which are confidences
    already (the network ends in a softmax or a sigmoid). None in a spec: the export finds out and
    writes it into the manifest. None in a manifest, as in older ones: logits. A `tensor` that ends
    in a softmax or a sigmoid is marked `probabilities` too: all its values share one range.

    `temperature` divides the logits before the softmax, so that a confidence of 80 % is right 80
    times in 100: it is fitted on images that the network was not trained on, and changes no
    decision. Of probabilities it divides their logarithms.

    `path` (`from` in a spec.toml) picks one part of what a forward returns: dict keys and places,
    joined by dots ("boxes", "features.0"), or an .onnx file's own name of an output.
    """

    name: str
    kind: Literal[
        "classification",
        "ordinal",
        "regression",
        "multilabel",
        "value",
        "embedding",
        "image",
        "segmentation",
        "detection",
        "keypoints",
        "tensor",
    ] = "tensor"
    labels: tuple[str, ...] = ()
    scores: Literal["logits", "probabilities"] | None = None
    path: str | None = None
    unit: str = ""
    threshold: float = 0.5
    temperature: float = 1.0
    boxes: Boxes | None = None
    points: Points | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the other outputs that this one is read with."""
        boxes = (self.boxes.output, self.boxes.classes) if self.boxes else ()
        points = (self.points.output, self.points.shown) if self.points else ()
        return tuple(name for name in (*boxes, *points) if name)

    @property
    def sorted(self) -> bool:
        """Whether the network put the rows in an order itself, by their scores."""
        return self.boxes is not None and self.boxes.row == "final"

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an output needs a name")
        self._check_parts()
        unscored = {"regression", "value", "embedding", "image"}
        unlabelled = {"tensor", "value", "embedding", "image"}
        if self.kind == "keypoints" and self.boxes is None:  # landmarks
            unscored, unlabelled = {*unscored, self.kind}, {*unlabelled, self.kind}
        if self.kind not in unlabelled:
            few = 1 if self.kind == "multilabel" or self.boxes else 2
            if len(self.labels) < few:
                wanted = "labels" if few == 1 else "two labels or more"
                raise ValueError(f"output '{self.name}' is {self._kind}: give it {wanted}")
        if self.kind in unscored and self.scores is not None:
            raise ValueError(f"output '{self.name}' is {self._kind}: it has no scores")
        if self.temperature != 1 and self.kind not in {"classification", "ordinal"}:
            raise ValueError(f"output '{self.name}' is {self._kind}: it has no temperature")
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"output '{self.name}': temperature is a number from 0.01 to 100")
        if not 0 < self.threshold < 1:
            raise ValueError(f"output '{self.name}': threshold is a probability, over 0, under 1")

    @property
    def _kind(self) -> str:
        return self.kind if self.kind == "keypoints" else f"a {self.kind}"

    def _check_parts(self) -> None:
        """Raise ValueError for boxes or points that its kind lacks, or has not."""
        kind = f"output '{self.name}' is {self._kind}: "
        if self.boxes is None and self.kind == "detection":
            raise ValueError(kind + 'give it boxes, { format = "xyxy" }')
        if self.boxes is not None and self.kind not in {"detection", "keypoints"}:
            raise ValueError(kind + "no boxes")
        if (self.points is None) == (self.kind == "keypoints"):
            told = "no points" if self.points else "give it points, { count = 17, values = 3 }"
            raise ValueError(kind + told)
        if self.points is None:
            return
        if self.boxes is None and self.points.output is not None:
            raise ValueError(kind + "points of the whole picture are its own, not another output's")
        if self.boxes is None:
            return
        if self.boxes.output is not None and self.points.output is None:
            raise ValueError(
                kind + "where boxes are an output of their own, points are too: give points.output"
            )
        if self.boxes.unit != self.points.unit:
            raise ValueError(kind + "boxes and points need one unit: pixels or fractions")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network's inputs and outputs.

    `input` is the image, None where there is none; `tensors` are its other inputs. `order` names
    all of them as `forward` takes them; empty: the image, then the tensors.

    A `forward` that returns a dict is read by its keys, which must be the outputs' names; one that
    returns a tuple, in the order of the outputs. Where some output has a `path`, each is taken from
    there, or from its name, and what no output names is left out.
    """

    input: InputSpec | None
    outputs: tuple[OutputSpec, ...]
    tensors: tuple[TensorSpec, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def image(self) -> InputSpec:
        """The image, where it takes one. Raises ValueError where it does not."""
        if self.input is None:
            raise ValueError(f"the model takes {', '.join(self.names)}, no image")
        return self.input

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names, in the order in which `forward` takes them."""
        image = () if self.input is None else (self.input.name,)
        return self.order or (*image, *(tensor.name for tensor in self.tensors))

    def __post_init__(self) -> None:
        image = () if self.input is None else (self.input.name,)
        inputs = (*image, *(tensor.name for tensor in self.tensors))
        if not inputs or len(set(inputs)) != len(inputs):
            raise ValueError("a model needs one input or more, each with a name of its own")
        if self.order and sorted(self.order) != sorted(inputs):
            raise ValueError(f"order names {', '.join(self.order)}; inputs are {', '.join(inputs)}")
        names = [output.name for output in self.outputs]
        if not names:
            raise ValueError("a model needs one output or more")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two outputs are named '{name}': give each its own name")
        for output in self.outputs:
            for part in output.parts:
                if part not in names or part == output.name:
                    raise ValueError(
                        f"output '{output.name}' takes boxes, classes or points from '{part}', "
                        f"no other output of the spec ({', '.join(names)})"
                    )


def with_temperatures(spec: ModelSpec, temperatures: Mapping[str, float]) -> ModelSpec:
    """Return a spec whose outputs have these temperatures, by name; the others keep theirs."""
    outputs = tuple(
        replace(output, temperature=temperatures[output.name])
        if output.name in temperatures
        else output
        for output in spec.outputs
    )
    return replace(spec, outputs=outputs)


def face_spec(input_spec: InputSpec, heads: tuple[tuple[str, str], ...]) -> ModelSpec:
    """Return the spec of a face network from `(output, kind)` pairs.

    `output` is `age` or `gender`; `kind` is `classification` or `regression`.
    """
    labels = {"age": ADIENCE_AGE_LABELS, "gender": GENDER_LABELS}
    outputs = tuple(OutputSpec(name, kind, labels[name]) for name, kind in heads)  # type: ignore[arg-type]
    return ModelSpec(input_spec, outputs)
