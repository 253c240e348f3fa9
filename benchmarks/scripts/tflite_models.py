"""Writes the TFLite models of the evidence with random weights, operator by operator.

    python tflite_models.py FOLDER [NAME ...]

Names are those of latency.csv: mobilenet-v1-WIDTH-SIZE, mobilenet-v2-WIDTH-SIZE and
efficientnet-liteN, each `-non-quantized` (float) or `-quantized`; MobileNets also `-int8`, which
XNNPACK's rows measured. They are written, not converted from PyTorch: TensorFlow's SAME padding is
uneven at stride 2, and a converter puts a padding operator there which the published models do not
have. Quantized MobileNets are uint8 with one scale a tensor, as TensorFlow wrote them then;
quantized EfficientNets int8 with a scale a channel. Latency does not depend on the weights' values.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SAME, RELU6 = 0, 3
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}
KINDS = {"float": "float32", "uint8": "uint8", "int8": "int8"}


@dataclass
class Graph:
    """A TFLite graph under construction; `kind` is float, uint8 or int8.

    `macs` counts its multiply-accumulates, `held` the numbers of its constants.
    """

    kind: str
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    macs: int = 0
    held: int = 0

    def tensor(self, shape: tuple[int, ...], dtype: str, scales: int = 1, data: Any = None) -> int:
        """Add a tensor, constant where `data` is given; `scales` above 1 are per channel."""
        made = schema.TensorT()
        made.shape, made.type, made.name = list(shape), TYPES[dtype], f"t{len(self.tensors)}"
        made.buffer = 0
        if data is not None:
            self.held += data.size
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if self.kind != "float":
            made.quantization = schema.QuantizationParametersT()
            # A bias has the scale of its input times that of its weights: 0.05 × 0.02.
            weight = data is not None
            scale = 0.001 if dtype == "int32" else 0.02 if weight else 0.05
            zero = 128 if dtype == "uint8" and weight else 0
            made.quantization.scale = np.full(scales, scale, np.float32)
            made.quantization.zeroPoint = np.full(scales, zero, np.int64)
            if scales > 1:
                made.quantization.quantizedDimension = 3 if shape[0] == 1 and len(shape) == 4 else 0
        self.tensors.append(made)
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...]) -> int:
        """Add an activation."""
        return self.tensor(shape, KINDS[self.kind])

    def weights(self, shape: tuple[int, ...], channels: int) -> int:
        """Add random weights of that many output channels."""
        scales = channels if self.kind == "int8" else 1
        values = {
            "float": lambda: self.rng.standard_normal(shape).astype(np.float32) * 0.1,
            "uint8": lambda: self.rng.integers(100, 156, shape).astype(np.uint8),
            "int8": lambda: self.rng.integers(-28, 28, shape).astype(np.int8),
        }[self.kind]()
        return self.tensor(shape, KINDS[self.kind], scales, values)

    def bias(self, channels: int) -> int:
        """Add a bias of zeros."""
        dtype = "float32" if self.kind == "float" else "int32"
        scales = channels if self.kind == "int8" else 1
        return self.tensor((channels,), dtype, scales, np.zeros(channels, dtype))

    def operator(self, name: str, inputs: list[int], shape: tuple[int, ...], options: Any) -> int:
        """Add an operator and return its output."""
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = self.codes.index(code), inputs
        output = self.activation(shape)
        made.outputs = [output]
        made.builtinOptions = options
        made.builtinOptionsType = getattr(
            schema.BuiltinOptions, type(options).__name__.removesuffix("T")
        )
        self.operators.append(made)
        return output

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(self.tensors[tensor].shape)

    def conv(self, source: int, channels: int, size: int, stride: int = 1, act: int = RELU6) -> int:
        """Add a convolution and return its output."""
        _, height, width, depth = self.shape(source)
        height, width = -(-height // stride), -(-width // stride)
        options = schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = SAME, stride, stride
        options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = act
        self.macs += height * width * channels * size * size * depth
        constants = [self.weights((channels, size, size, depth), channels), self.bias(channels)]
        shape = (1, height, width, channels)
        return self.operator("CONV_2D", [source, *constants], shape, options)

    def depthwise(self, source: int, size: int, stride: int) -> int:
        """Add a depthwise convolution and return its output."""
        _, height, width, depth = self.shape(source)
        height, width = -(-height // stride), -(-width // stride)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideW, options.strideH = SAME, stride, stride
        options.depthMultiplier = options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = RELU6
        self.macs += height * width * depth * size * size
        constants = [self.weights((1, size, size, depth), depth), self.bias(depth)]
        shape = (1, height, width, depth)
        return self.operator("DEPTHWISE_CONV_2D", [source, *constants], shape, options)

    def add(self, left: int, right: int) -> int:
        """Add a sum and return it."""
        return self.operator("ADD", [left, right], self.shape(left), schema.AddOptionsT())

    def average(self, source: int) -> int:
        """Add a mean over all positions and return it."""
        _, height, width, depth = self.shape(source)
        options = schema.Pool2DOptionsT()
        options.padding, options.strideW, options.strideH = 1, width, height
        options.filterWidth, options.filterHeight = width, height
        return self.operator("AVERAGE_POOL_2D", [source], (1, 1, 1, depth), options)

    def flat(self, source: int) -> int:
        """Add a reshape to 1×C and return it."""
        depth = self.shape(source)[-1]
        options = schema.ReshapeOptionsT()
        options.newShape = [1, depth]
        shape = self.tensor((2,), "int32", 1, np.array([1, depth], np.int32))
        return self.operator("RESHAPE", [source, shape], (1, depth), options)

    def dense(self, source: int, channels: int) -> int:
        """Add a fully connected layer and return its output."""
        depth = self.shape(source)[-1]
        self.macs += depth * channels
        constants = [self.weights((channels, depth), 1), self.bias(channels)]
        options = schema.FullyConnectedOptionsT()
        return self.operator("FULLY_CONNECTED", [source, *constants], (1, channels), options)

    def softmax(self, source: int) -> int:
        """Add a softmax and return it."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        output = self.operator("SOFTMAX", [source], self.shape(source), options)
        if self.kind != "float":  # the kernel insists on these
            quantization = self.tensors[output].quantization
            quantization.scale = np.array([1 / 256], np.float32)
            quantization.zeroPoint = np.array([-128 if self.kind == "int8" else 0], np.int64)
        return output

    def written(self, sources: list[int], outputs: list[int]) -> bytes:
        """Return the .tflite file of what was built."""
        part = schema.SubGraphT()
        part.tensors, part.operators = self.tensors, self.operators
        part.inputs, part.outputs, part.name = sources, outputs, "main"
        model = schema.ModelT()
        model.version, model.description = 3, "random weights"
        model.subgraphs, model.buffers, model.operatorCodes = [part], self.buffers, []
        for value in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = value, min(value, 127)
            if value == schema.BuiltinOperator.CUSTOM:
                code.customCode = "TFLite_Detection_PostProcess"
            # Per-channel int8 came with version 3 (depthwise and plain convolution), 4 of dense.
            code.version = 3 if self.kind == "int8" and value in (3, 4) else 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def rounded(channels: float) -> int:
    """Round to a multiple of 8, never more than a tenth down: the models' own rule."""
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * channels else whole


def mobilenet_v1(graph: Graph, source: int, width: float) -> int:
    """Add MobileNet v1 and return its answer."""
    x = graph.conv(source, int(32 * width), 3, 2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for channels, stride in [*plan, (1024, 2), (1024, 1)]:
        x = graph.conv(graph.depthwise(x, 3, stride), int(channels * width), 1)
    x = graph.conv(graph.average(x), 1001, 1, act=0)
    return graph.softmax(graph.flat(x))


def bottleneck(graph: Graph, x: int, expand: int, channels: int, size: int, stride: int) -> int:
    """Add an inverted bottleneck and return its output."""
    depth = graph.shape(x)[-1]
    inner = graph.conv(x, depth * expand, 1) if expand > 1 else x
    y = graph.conv(graph.depthwise(inner, size, stride), channels, 1, act=0)
    return graph.add(x, y) if stride == 1 and depth == channels else y


def mobilenet_v2(graph: Graph, source: int, width: float) -> int:
    """Add MobileNet v2 and return its answer."""
    x = graph.conv(source, rounded(32 * width), 3, 2)
    for expand, channels, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for index in range(repeats):
            to = rounded(channels * width)
            x = bottleneck(graph, x, expand, to, 3, 1 if index else stride)
    x = graph.conv(x, rounded(1280 * max(1.0, width)), 1)
    x = graph.conv(graph.average(x), 1001, 1, act=0)
    return graph.softmax(graph.flat(x))


MOBILENETS = {"mobilenet-v1": mobilenet_v1, "mobilenet-v2": mobilenet_v2}
# EfficientNet-lite 0 to 4: width, depth, input size.
LITE = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))


def efficientnet_lite(graph: Graph, source: int, number: int) -> int:
    """Add EfficientNet-Lite and return its answer."""
    width, depth, _ = LITE[number]
    x = graph.conv(source, 32, 3, 2)
    plan = (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    )  # fmt: skip
    for place, (expand, channels, repeats, stride, size) in enumerate(plan):
        # Lite models keep the first and the last stage's repeats.
        times = repeats if place in (0, len(plan) - 1) else int(np.ceil(repeats * depth))
        for index in range(times):
            to = rounded(channels * width)
            x = bottleneck(graph, x, expand, to, size, 1 if index else stride)
    x = graph.average(graph.conv(x, 1280, 1))
    return graph.softmax(graph.dense(graph.flat(x), 1000))


def build(name: str) -> tuple[bytes, int]:
    """Return a model's file and its multiply-accumulates, by its name in latency.csv."""
    model, _, ending = name.replace("-non-quantized", "-float").rpartition("-")
    if model.startswith("efficientnet-lite"):
        number = int(model[-1])
        size, make = LITE[number][2], partial(efficientnet_lite, number=number)
        kind = {"quantized": "int8"}.get(ending, ending)
    else:
        family, width, size_text = model.rsplit("-", 2)
        size, make = int(size_text), partial(MOBILENETS[family], width=float(width))
        kind = {"quantized": "uint8"}.get(ending, ending)
    graph = Graph(kind)
    source = graph.activation((1, size, size, 3))
    return graph.written([source], [make(graph, source)]), graph.macs


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        content, macs = build(name)
        (folder / f"{name}.tflite").write_bytes(content)
        print(f"{name}: {macs / 1e6:.1f} M multiply-accumulates, {len(content)} bytes")
