"""Small model files made slow on purpose, each in one way, for `edgekit explain` to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

SIZE, CHANNELS = 24, 16
Nodes = list[Any]


def onnx_model(middle: Nodes | None = None) -> onnx.ModelProto:
    """Return conv 1 → `middle` (from `a` to `b`) → conv 2 → conv 3 → pool → `animal`."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["nchw", "scale"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "w1"], ["c1"], "conv-1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["a"]),
        *(middle or [helper.make_node("Identity", ["a"], ["b"])]),
        helper.make_node("Conv", ["b", "w2"], ["c2"], "conv-2", pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv-3", pads=[1] * 4),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "wg"], ["animal"], "head"),
    ]
    stored = [
        numpy_helper.from_array(np.array([1 / 255], np.float32), "scale"),
        constant("w1", CHANNELS, 3, 3, 3),
        constant("w2", CHANNELS, CHANNELS, 3, 3),
        constant("w3", CHANNELS, CHANNELS, 3, 3),
        constant("wg", CHANNELS, 3),
    ]
    used = {name for node in nodes for name in node.input}
    stored += [
        numpy_helper.from_array(np.full(CHANNELS, value, np.float32), name)
        for name, value in BATCH_NORM
        if name in used
    ]
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("animal", TensorProto.FLOAT, [1, 3])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


BATCH_NORM = (("gain", 1.5), ("shift", 0.5), ("mean", 0.1), ("var", 2.0))
LRN = [helper.make_node("LRN", ["a"], ["b"], "lrn", size=5)]
BATCH_NORMED = [
    helper.make_node("BatchNormalization", ["a", "gain", "shift", "mean", "var"], ["b"], "bn")
]
TRANSPOSED = [
    helper.make_node("Transpose", ["a"], ["t"], "there", perm=[0, 3, 2, 1]),
    helper.make_node("LRN", ["t"], ["u"], "lrn", size=3),
    helper.make_node("Transpose", ["u"], ["b"], "back", perm=[0, 3, 2, 1]),
]


class _Pixels:
    """Feeds eight images of noise to ONNX Runtime's quantizer."""

    def __init__(self) -> None:
        self.images: Iterator[np.ndarray] = iter(
            np.random.default_rng(1).integers(0, 256, (8, 1, SIZE, SIZE, 3), dtype=np.uint8)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def onnx_int8(model: onnx.ModelProto, path: Path, exclude: tuple[str, ...] = ()) -> None:
    """Write a model's static QDQ form; `exclude` names nodes that stay in float."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        model,
        str(path),
        _Pixels(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        nodes_to_exclude=list(exclude),
    )


def onnx_dynamic(model: onnx.ModelProto, path: Path) -> None:
    """Write a model's dynamic-range form."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(model, str(path))


def tflite_model(*middle: str) -> bytes:
    """Return a float .tflite: CONV_2D, then `middle` (LRN, MUL, ADD), then CONV_2D twice."""
    rng = np.random.default_rng(0)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, list(shape), schema.TensorType.FLOAT32
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def constant(name: str, *shape: int) -> int:
        unique = f"{name}-{len(graph.tensors)}"  # the quantizer tells tensors apart by name
        return tensor(unique, shape, rng.normal(0.1, 0.2, shape))

    def operator(kind: str, options: Any, inputs: list[int], channels: int = CHANNELS) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
        model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = len(model.operatorCodes) - 1, inputs
        number = len(graph.operators)
        made.outputs = [tensor(f"{kind}-{number}", (1, SIZE, SIZE, channels))]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        made.builtinOptions = options
        graph.operators.append(made)
        return int(made.outputs[0])

    def conv(source: int, channels: int) -> int:
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = 1
        options.dilationWFactor = options.dilationHFactor = 1
        weights = constant("weights", CHANNELS, 3, 3, channels)
        return operator("CONV_2D", options, [source, weights, constant("bias", CHANNELS)])

    def lrn(source: int) -> int:
        options = schema.LocalResponseNormalizationOptionsT()
        options.radius, options.bias, options.alpha, options.beta = 2, 1.0, 1e-4, 0.75
        return operator("LOCAL_RESPONSE_NORMALIZATION", options, [source])

    pixels = last = tensor("image", (1, SIZE, SIZE, 3))
    last = conv(last, 3)
    parts: dict[str, Callable[[int], int]] = {
        "LRN": lrn,
        "MUL": lambda s: operator("MUL", schema.MulOptionsT(), [s, constant("gain", CHANNELS)]),
        "ADD": lambda s: operator("ADD", schema.AddOptionsT(), [s, constant("shift", CHANNELS)]),
    }
    for part in middle:
        last = parts[part](last)
    last = conv(conv(last, CHANNELS), CHANNELS)
    graph.inputs, graph.outputs = [pixels], [last]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [_named("image", pixels)], [_named("animal", last)]
    model.subgraphs, model.signatureDefs = [graph], [signature]
    return _packed(model)


def _named(name: str, index: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, index
    return made


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tflite_quantized(content: bytes, path: Path, *, static: bool, keep_float: str = "") -> None:
    """Write a model's int8 form, or its dynamic-range form; `keep_float` is a tensor's name."""
    from ai_edge_quantizer import qtyping, quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    source = path.with_suffix(".float")
    source.write_bytes(content)
    chosen = recipe.static_wi8_ai8() if static else recipe.dynamic_wi8_afp32()
    maker = quantizer.Quantizer(str(source), chosen)
    if keep_float:
        maker.update_quantization_recipe(
            keep_float,
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    images = np.random.default_rng(1).normal(0, 1, (4, 1, SIZE, SIZE, 3)).astype(np.float32)
    samples = {"serving_default": [{"image": image} for image in images]}
    ranges = maker.calibrate(samples) if static else None
    path.write_bytes(bytes(maker.quantize(ranges).quantized_model))
    source.unlink()
