"""Writes the evidence's detectors as TFLite models with random weights, operator by operator.

    python tflite_detectors.py FOLDER [NAME ...]

Names are those of latency.csv with `-float` or `-int8`: EfficientDet-Lite 0 to 4 and 3x
(arXiv 1911.09070; sizes and repeats as google/automl published them, sums unweighted, ReLU6), and
YOLOX (arXiv 2107.08430) as a converter writes it: SiLU as a sigmoid and a product, which TFLite
does not fuse. EfficientDet's last operator (decoding and suppression) is TFLite's own custom one.
It runs on one thread, and how long depends on the boxes, which random weights may put in one place:
`build_end` writes it alone, and `build` leaves it out where it is told so.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from tflite_models import LITE, RELU6, SAME, Graph, bottleneck, rounded

ANCHORS, CLASSES = 9, 90
"""EfficientDet's: three scales of three shapes a position, COCO's 90 classes."""
LEVELS, ANCHOR_SCALE = 5, 3.0
"""Maps from 1/8 of the image on, and how many steps of a map its smallest anchor is wide."""

# Number of the backbone, input size, channels and repeats of the pyramid, repeats of the heads;
# then the parameters in millions that google/automl's README gives.
EFFICIENTDET = {
    "EfficientDet-lite0": (0, 320, 64, 3, 3, 3.2),
    "EfficientDet-lite1": (1, 384, 88, 4, 3, 4.2),
    "EfficientDet-lite2": (2, 448, 112, 5, 3, 5.3),
    "EfficientDet-lite3": (3, 512, 160, 6, 4, 8.4),
    "EfficientDet-lite3x": (3, 640, 200, 6, 4, 9.3),
    "EfficientDet-lite4": (4, 640, 224, 7, 4, 15.1),
}
# Depth, width, input size, whether depthwise; then millions of multiply-accumulates and parameters
# (Megvii-BaseDetection/YOLOX README, its FLOPs halved).
YOLOX = {
    "YOLOX-Nano": (0.33, 0.25, 416, True, 540, 0.91),
    "YOLOX-Tiny": (0.33, 0.375, 416, False, 3225, 5.06),
    "YOLOX-S": (0.33, 0.5, 640, False, 13400, 9.0),
    "YOLOX-M": (0.67, 0.75, 640, False, 36900, 25.3),
}


class Detector(Graph):
    """A graph with the operators that detectors need besides a classifier's."""

    def simple(self, name: str, sources: list[int], shape: tuple[int, ...], options: Any) -> int:
        """Add an operator with those options and return its output."""
        return self.operator(name, sources, shape, options)

    def max_pool(self, source: int, size: int, stride: int) -> int:
        """Add a maximum over windows, SAME padded."""
        _, height, width, depth = self.shape(source)
        options = schema.Pool2DOptionsT()
        options.padding, options.strideW, options.strideH = SAME, stride, stride
        options.filterWidth = options.filterHeight = size
        shape = (1, -(-height // stride), -(-width // stride), depth)
        return self.simple("MAX_POOL_2D", [source], shape, options)

    def resize(self, source: int, height: int, width: int) -> int:
        """Add a nearest-neighbour resize."""
        size = self.tensor((2,), "int32", 1, np.array([height, width], np.int32))
        options = schema.ResizeNearestNeighborOptionsT()
        shape = (1, height, width, self.shape(source)[-1])
        return self.simple("RESIZE_NEAREST_NEIGHBOR", [source, size], shape, options)

    def sigmoid(self, source: int) -> int:
        """Add a sigmoid; TFLite writes it as an operator without options."""
        options = schema.AbsOptionsT()  # an empty table: LOGISTIC has none of its own
        output = self.simple("LOGISTIC", [source], self.shape(source), options)
        self.operators[-1].builtinOptions, self.operators[-1].builtinOptionsType = None, 0
        if self.kind != "float":  # the kernel insists on these
            quantization = self.tensors[output].quantization
            quantization.scale = np.array([1 / 256], np.float32)
            quantization.zeroPoint = np.array([-128], np.int64)
        return output

    def multiply(self, left: int, right: int) -> int:
        """Add a product of equal shapes."""
        return self.simple("MUL", [left, right], self.shape(left), schema.MulOptionsT())

    def plus(self, left: int, right: int, act: int = 0) -> int:
        """Add a sum with its activation."""
        options = schema.AddOptionsT()
        options.fusedActivationFunction = act
        return self.simple("ADD", [left, right], self.shape(left), options)

    def join(self, sources: list[int], axis: int = 3) -> int:
        """Add a concatenation along an axis."""
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(self.shape(sources[0]))
        shape[axis] = sum(self.shape(source)[axis] for source in sources)
        output = self.simple("CONCATENATION", sources, tuple(shape), options)
        self.tensors[output].quantization = self.tensors[sources[0]].quantization
        return output

    def reshaped(self, source: int, shape: tuple[int, ...]) -> int:
        """Add a view with another shape."""
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        sizes = self.tensor((len(shape),), "int32", 1, np.array(shape, np.int32))
        output = self.simple("RESHAPE", [source, sizes], shape, options)
        self.tensors[output].quantization = self.tensors[source].quantization
        return output

    def floats(self, source: int) -> int:
        """Return the tensor in floating point."""
        if self.kind == "float":
            return source
        output = self.simple(
            "DEQUANTIZE", [source], self.shape(source), schema.DequantizeOptionsT()
        )
        self.tensors[output].type, self.tensors[output].quantization = 0, None
        return output

    def quarter(self, source: int, row: int, column: int) -> int:
        """Add every second row and column from these first ones: YOLOX's Focus."""
        _, height, width, depth = self.shape(source)
        bounds = ((0, row, column, 0), (1, height, width, depth), (1, 2, 2, 1))
        sizes = [self.tensor((4,), "int32", 1, np.array(item, np.int32)) for item in bounds]
        options = schema.StridedSliceOptionsT()
        shape = (1, height // 2, width // 2, depth)
        return self.simple("STRIDED_SLICE", [source, *sizes], shape, options)

    def separable(self, source: int, channels: int, act: int = 0) -> int:
        """Add a depthwise 3×3 and a 1×1 convolution, the activation after both."""
        middle = self.depthwise(source, 3, 1)
        self.operators[-1].builtinOptions.fusedActivationFunction = 0
        return self.conv(middle, channels, 1, act=act)

    def detections(self, boxes: int, scores: int, anchors: np.ndarray) -> list[int]:
        """Add TFLite's own decoding and suppression, and return its four outputs."""
        most = 25
        kind, self.kind = self.kind, "float"
        parameters = self.held
        held = self.tensor(anchors.shape, "float32", 1, anchors)
        self.held = parameters
        outputs = [self.activation(shape) for shape in ((1, most, 4), (1, most), (1, most), (1,))]
        self.kind = kind
        made = schema.OperatorT()
        made.opcodeIndex = len(self.codes)
        self.codes.append(schema.BuiltinOperator.CUSTOM)
        made.inputs, made.outputs = [boxes, scores, held], outputs
        made.customOptions = np.frombuffer(_options(most), np.uint8)
        self.operators.append(made)
        return outputs


def anchors_of(size: int) -> np.ndarray:
    """Return the anchors (y, x, height and width in shares of an image of `size` pixels).

    They lie over the whole image, as published. Were they in one place, the first box found would
    suppress all others, and suppression would take a twentieth of its time.
    """
    found = []
    for level in range(LEVELS):
        step = 8 << level
        many = -(-size // step)
        centres = (np.arange(many) + 0.5) * step
        y, x = np.meshgrid(centres, centres, indexing="ij")
        shapes = [
            (ANCHOR_SCALE * step * 2 ** (octave / 3) / aspect**0.5,
             ANCHOR_SCALE * step * 2 ** (octave / 3) * aspect**0.5)
            for octave in range(3)
            for aspect in (1.0, 2.0, 0.5)
        ]  # fmt: skip
        each = [np.stack([y, x, np.full_like(y, h), np.full_like(x, w)], -1) for h, w in shapes]
        found.append(np.stack(each, 2).reshape(-1, 4))
    return (np.concatenate(found) / size).astype(np.float32)


def _options(most: int) -> bytes:
    """Return the custom operator's options, as google/automl exports them."""
    values = {
        "max_detections": most, "max_classes_per_detection": 1, "detections_per_class": 100,
        "use_regular_nms": False, "nms_score_threshold": 0.0, "nms_iou_threshold": 0.5,
        "y_scale": 1.0, "x_scale": 1.0, "h_scale": 1.0, "w_scale": 1.0, "num_classes": CLASSES,
    }  # fmt: skip
    return bytes(flexbuffers.Dumps(values))


def backbone(graph: Detector, source: int, number: int) -> list[int]:
    """Add EfficientNet-Lite without its head and return the maps at 1/8, 1/16 and 1/32."""
    width, depth, _ = LITE[number]
    x = graph.conv(source, 32, 3, 2)
    plan = (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    )  # fmt: skip
    ends = []
    for place, (expand, channels, repeats, stride, size) in enumerate(plan):
        times = repeats if place in (0, len(plan) - 1) else int(np.ceil(repeats * depth))
        for index in range(times):
            to = rounded(channels * width)
            x = bottleneck(graph, x, expand, to, size, 1 if index else stride)
        if place in (2, 4, 6):
            ends.append(x)
    return ends


def efficientdet(graph: Detector, source: int, name: str, end: bool) -> list[int]:
    """Add EfficientDet-Lite and return its answers, without its `end` boxes and scores."""
    number, _, channels, cells, repeats, _ = EFFICIENTDET[name]
    levels = backbone(graph, source, number)
    coarser = graph.max_pool(graph.conv(levels[-1], channels, 1, act=0), 3, 2)
    levels += [coarser, graph.max_pool(coarser, 3, 2)]
    for _ in range(cells):
        levels = _cell(graph, levels, channels)
    scores, boxes = [], []
    for place, level in enumerate(levels):
        counted = graph.held
        for kept, each in ((scores, CLASSES), (boxes, 4)):
            x = level
            for _ in range(repeats):
                x = graph.separable(x, channels, RELU6)
            x = graph.separable(x, ANCHORS * each)
            _, height, width, _ = graph.shape(x)
            kept.append(graph.reshaped(x, (1, height * width * ANCHORS, each)))
        # The heads are the same at every level but for the normalisation folded into them.
        graph.held = graph.held if place == 0 else counted
    chances = graph.floats(graph.sigmoid(graph.join(scores, 1)))
    places = graph.floats(graph.join(boxes, 1))
    if not end:
        return [places, chances]
    return graph.detections(places, chances, anchors_of(EFFICIENTDET[name][1]))


def _cell(graph: Detector, levels: list[int], channels: int) -> list[int]:
    """Add one cell of the pyramid: down by resizing, up by pooling, sums between."""

    def at(level: int) -> int:
        """Every use of a map of other width has a convolution of its own, as published."""
        same = graph.shape(level)[-1] == channels
        return level if same else graph.conv(level, channels, 1, act=0)

    down = {4: at(levels[4])}
    for place in (3, 2, 1, 0):
        here = at(levels[place])
        _, height, width, _ = graph.shape(here)
        above = graph.resize(down[place + 1], height, width)
        down[place] = graph.separable(graph.plus(here, above, RELU6), channels)
    found = [down[0]]
    for place in (1, 2, 3, 4):
        x = at(levels[place])
        if place < 4:
            x = graph.plus(x, down[place])
        x = graph.plus(x, graph.max_pool(found[-1], 3, 2), RELU6)
        found.append(graph.separable(x, channels))
    return found


def yolox(graph: Detector, source: int, name: str, end: bool) -> list[int]:
    """Add YOLOX and return its answer, not decoded."""
    depth, width, _, slim, _, _ = YOLOX[name]
    base, repeats = int(64 * width), max(round(3 * depth), 1)

    def act(x: int) -> int:
        return graph.multiply(x, graph.sigmoid(x))

    def conv(x: int, channels: int, size: int = 1, stride: int = 1) -> int:
        return act(graph.conv(x, channels, size, stride, act=0))

    def wide(x: int, channels: int, stride: int = 1) -> int:
        """A 3×3 convolution, in YOLOX-Nano a depthwise one and a 1×1."""
        if not slim:
            return conv(x, channels, 3, stride)
        middle = graph.depthwise(x, 3, stride)
        graph.operators[-1].builtinOptions.fusedActivationFunction = 0
        return conv(act(middle), channels)

    def csp(x: int, channels: int, times: int, shortcut: bool = True) -> int:
        hidden = channels // 2
        left, right = conv(x, hidden), conv(x, hidden)
        for _ in range(times):
            y = wide(conv(left, hidden), hidden)
            left = graph.plus(left, y) if shortcut else y
        return conv(graph.join([left, right]), channels)

    quarters = [graph.quarter(source, r, c) for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
    x = conv(graph.join(quarters), base, 3)
    x = csp(wide(x, 2 * base, 2), 2 * base, repeats)
    fine = x = csp(wide(x, 4 * base, 2), 4 * base, 3 * repeats)
    middle = x = csp(wide(x, 8 * base, 2), 8 * base, 3 * repeats)
    x = conv(wide(x, 16 * base, 2), 8 * base)
    pools = [graph.max_pool(x, size, 1) for size in (5, 9, 13)]
    x = csp(conv(graph.join([x, *pools]), 16 * base), 16 * base, repeats, False)

    def twice(x: int, like: int) -> int:
        _, height, across, _ = graph.shape(like)
        return graph.join([graph.resize(x, height, across), like])

    coarse = conv(x, 8 * base)
    half = csp(twice(coarse, middle), 8 * base, repeats, False)
    thin = conv(half, 4 * base)
    outs = [csp(twice(thin, fine), 4 * base, repeats, False)]
    outs.append(csp(graph.join([wide(outs[0], 4 * base, 2), thin]), 8 * base, repeats, False))
    outs.append(csp(graph.join([wide(outs[1], 8 * base, 2), coarse]), 16 * base, repeats, False))
    found = []
    for out in outs:
        stem = conv(out, int(256 * width))
        scores = wide(wide(stem, int(256 * width)), int(256 * width))
        boxes = wide(wide(stem, int(256 * width)), int(256 * width))
        parts = [
            graph.conv(boxes, 4, 1, act=0),
            graph.sigmoid(graph.conv(boxes, 1, 1, act=0)),
            graph.sigmoid(graph.conv(scores, 80, 1, act=0)),
        ]
        joined = graph.join(parts)
        _, height, across, _ = graph.shape(joined)
        found.append(graph.reshaped(joined, (1, height * across, 85)))
    return [graph.join(found, 1)]


def build(name: str, end: bool = True) -> tuple[bytes, int, int]:
    """Return a model's file, its multiply-accumulates and its parameters.

    `name` is a detector's with `-float` or `-int8`. Without its `end` an EfficientDet answers boxes
    and scores; a YOLOX never answers more.
    """
    title, _, kind = name.rpartition("-")
    size = (EFFICIENTDET.get(title) or (0, YOLOX[title][2]))[1]
    make = partial(efficientdet if title in EFFICIENTDET else yolox, name=title, end=end)
    graph = Detector(kind)
    source = graph.activation((1, size, size, 3))
    outputs = make(graph, source)
    return graph.written([source], outputs), graph.macs, graph.held


def build_end(title: str) -> bytes:
    """Return the file of an EfficientDet's last operator alone: boxes and scores in, found out."""
    anchors = anchors_of(EFFICIENTDET[title][1])
    graph = Detector("float")
    sources = [graph.activation((1, len(anchors), depth)) for depth in (4, CLASSES)]
    return graph.written(sources, graph.detections(sources[0], sources[1], anchors))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        content, macs, held = build(name)
        (folder / f"{name}.tflite").write_bytes(content)
        print(f"{name}: {macs / 1e6:.1f} M multiply-accumulates, {held / 1e6:.2f} M parameters")
