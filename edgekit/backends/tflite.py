"""TFLite: litert-torch, or onnx2tf from .onnx; int8, int8-dynamic and fp16 by ai-edge-quantizer.

The int8 artifact takes int8 pixels, pixel − 128. It is made from the fp32 artifact's graph behind
its cast, so that both are one conversion. Where the normalisation is one whole-numbered mean and
one std for all channels, the graph does none: the mean is the input's zero point, the std its scale
or in the first layer's weights.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Feed, Precision
from edgekit.backends import Built
from edgekit.backends._tflite_files import (
    WEIGHTED,
    Pixels,
    behind_pixels,
    scopes_of_bodies,
    with_quantizable_shapes,
)
from edgekit.files import write_whole
from edgekit.graph.operator_errors import unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "fp16-compute", "int8", "int8-dynamic")
RUNTIME = "ai_edge_litert"
EXTRA = "tflite"
PACKAGES = ("litert-torch", "ai-edge-quantizer", "ai-edge-litert", "torch")
PROGRAM = ""
FLOAT_ONLY = ("DIV", "SQRT")
"""Operators that int8 leaves in float: tflite-runtime 2.14 has no int8 kernel of them and refuses
the model. LiteRT has, and takes more instructions by them: benchmarks/records/README.md."""
SILENT = 1e-6
"""A tensor whose values reach less of what it is computed from says nothing on the samples."""

_GENTLER = ("*", "INPUT", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_2D_TRANSPOSE")
"""What a gentler int8 quantizes, by the quantizer's names: `*` is all, before the exceptions."""
WAYS = {
    "gentler": "only layers with weights are in int8, which may be slower",
    "plain": "ranges are averaged over the samples, as by the quantizer's own default",
}


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.tflite, which takes uint8 pixels 1×H×W×C; int8 takes pixel − 128."""
    make = {
        "fp32": _fp32,
        "fp16": _fp16,
        "fp16-compute": _fp32,  # LiteRT rounds the weights itself when it loads them
        "int8": _int8,
        "int8-dynamic": _dynamic,
    }[precision]
    return make(graph, folder / "model.tflite", keep_float)


def _fp32(graph: ExportedGraph, out: Path, keep_float: tuple[str, ...]) -> Built:
    write_whole(out, _float(graph).read_bytes())
    return Built((out.name,), graph.feed)


def _float(graph: ExportedGraph) -> Path:
    """Return the network in float32, converted once for every precision."""
    shared = graph.folder / "tflite-fp32.tflite"
    if not shared.is_file():
        _convert(graph, shared)
    return shared


def _fp16(graph: ExportedGraph, out: Path, keep_float: tuple[str, ...]) -> Built:
    """Store the weights in half precision; kernels compute in float32."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    _fp32(graph, out, keep_float)
    maker = quantizer.Quantizer(str(out))
    maker.update_quantization_recipe(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        AlgorithmName.FLOAT_CASTING,
    )
    write_whole(out, bytes(maker.quantize().quantized_model))
    return Built((out.name,), graph.feed)


def _dynamic(graph: ExportedGraph, out: Path, keep_float: tuple[str, ...]) -> Built:
    """Store the weights in int8; a kernel scales each layer's input to int8 when it runs."""
    from ai_edge_quantizer import quantizer, recipe

    _fp32(graph, out, keep_float)
    source = with_quantizable_shapes(out.read_bytes())
    maker = quantizer.Quantizer(source, recipe.dynamic_wi8_afp32())
    write_whole(out, bytes(maker.quantize().quantized_model))
    return Built((out.name,), graph.feed)


def _int8(graph: ExportedGraph, out: Path, keep_float: tuple[str, ...]) -> Built:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils import qsv_utils

    from edgekit.onboard.runner import narrowed

    # Where the image's own bytes are the input, its range is known; other inputs stay as they are.
    alone = not graph.raw_input and not graph.spec.tensors
    content = _float(graph).read_bytes()
    content, pixels = behind_pixels(content) if alone else (content, None)
    source = graph.folder / "tflite-float.tflite"
    content = with_quantizable_shapes(content)
    write_whole(source, content)
    reader = Interpreter(str(source))
    layers = _layers(reader)
    maker = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    gentler = graph.way == "gentler"
    operators = qtyping.TFLOperationName
    every, ends = operators.ALL_SUPPORTED, (operators.INPUT, operators.OUTPUT)

    def leave_in_float(kind: Any, scope: str = ".*") -> None:
        maker.update_quantization_recipe(scope, kind, algorithm_key=AlgorithmName.NO_QUANTIZE)

    for kind in operators:
        if kind.value in FLOAT_ONLY or (gentler and kind.value not in _GENTLER):
            leave_in_float(kind)
    for layer in keep_float:
        leave_in_float(every, f"^{re.escape(layers[layer])};$")
    for scope in scopes_of_bodies(content):
        for kind in (every, *ends):
            leave_in_float(kind, f"^{re.escape(scope)}$")
    if pixels is None:
        for kind in ends:
            leave_in_float(kind)
    (signature, told), *_ = reader.get_signature_list().items()
    names = sorted(told["inputs"], key=lambda name: int(name.rpartition("_")[2]))
    # The samples go by the signature, whose integers are as narrow as the converter made them.
    kinds = reader.get_signature_runner(signature).get_input_details()
    samples = [
        [
            narrowed(value, kinds[name]["dtype"])
            for name, value in zip(names, _sample(sample, graph, pixels), strict=True)
        ]
        for sample in graph.calibration_samples()
    ]
    # The quantizer's own default is a moving average of the extremes (0.95 of the past): it
    # clips what only some images reach. On tests/user_models.py's small classifier agreement
    # rose from 78 % to 94 % and the largest distance fell from 0.59 to 0.011.
    recipes = RecipeManager()
    recipes.load_quantization_recipe(maker.get_quantization_recipe())
    plain = graph.way == "plain"
    merged = qsv_utils.moving_average_update if plain else qsv_utils.min_max_update
    calibrator = Calibrator(str(source), num_threads=1, qsv_update_func=merged)
    calibrator.calibrate(
        {signature: [dict(zip(names, sample, strict=True)) for sample in samples]},
        recipes,
    )
    ranges = calibrator.get_model_qsvs()
    if pixels is not None:
        # The input's range is known, not sampled: then int8 is pixel − 128 to the bit.
        tensor = reader.get_input_details()[0]["name"]
        shape = np.shape(ranges[tensor]["min"])
        for end, pixel in (("min", 0), ("max", 255)):
            value = (pixel - pixels.shift) * pixels.factor
            ranges[tensor][end] = np.full(shape, value, np.float32)
    _widen_silent(reader, ranges)
    _keep_biases_in_int32(reader, ranges)
    write_whole(out, bytes(maker.quantize(ranges).quantized_model))
    feed: Feed = graph.feed if pixels is None else "int8"
    quantized = (
        name
        for name in layers
        if (kind := name.partition("#")[0]) not in FLOAT_ONLY and (not gentler or kind in WEIGHTED)
    )
    return Built((out.name,), feed, int8_layers=tuple(quantized))


def _widen_silent(reader: Any, ranges: dict[str, Any]) -> None:
    """Give what was 0 on every sample the range of what it is computed from.

    The quantizer gives it 1e-9. The factor between its scale and the next one's is then larger
    than XNNPACK takes (256, refused when the model is loaded), and any value that another image
    brings is lost. A squeeze of few units, all of them dead, is such a tensor.

    Nothing else may be widened: LiteRT aborts the process, without a word, on an ADD whose inputs'
    scale is 2¹⁹ times its output's.
    """
    import numpy as np

    def reach(name: str) -> float:
        found = ranges.get(name)
        return max(float(found["max"].max()), -float(found["min"].min())) if found else 0.0

    names = _tensor_names(reader)
    for op in reader._get_ops_details():
        if op["op_name"] == "DELEGATE":
            continue
        reaches = [reach(name) for place in op["inputs"] if (name := names.get(place)) in ranges]
        # A product of small values by others is small, and not silent.
        multiplies = op["op_name"] == "MUL" and reaches
        source = math.prod(reaches) if multiplies else max(reaches, default=0.0)
        for place in op["outputs"]:
            found = ranges.get(names[place])
            if found and reach(names[place]) <= SILENT * source:
                found["max"] = np.full(np.shape(found["max"]), source, np.float32)


def _keep_biases_in_int32(reader: Any, ranges: dict[str, Any]) -> None:
    """Add wider ranges, by channel, for the weights with which a bias would leave int32.

    int8 arithmetic holds a bias in units of input scale × weight scale. Where a channel's weights
    are next to nothing beside its bias (it died in training, then its batch norm was folded in),
    that unit is so small that the bias is clipped, and the channel is wrong. Here it gets at most
    half of int32. The coarser weights cost nothing: each rounds away 2⁻²³ of the bias at most.
    """
    import numpy as np

    names = _tensor_names(reader)
    for op in reader._get_ops_details():
        if op["op_name"] not in WEIGHTED:
            continue
        *places, axis = WEIGHTED[op["op_name"]]
        if len(op["inputs"]) <= max(places):
            continue
        source, weight, bias = (op["inputs"][place] for place in places)
        known = ranges.get(names[source])
        # Weights that have a range were computed, not stored.
        if known is None or bias < 0 or names[weight] in ranges:
            continue
        # 1e-9 is the least range that the quantizer gives, to what is always 0 too.
        step = max(max(known["max"].max(), 0) - min(known["min"].min(), 0), 1e-9) / 255
        values = reader.get_tensor(weight)
        others = tuple(dimension for dimension in range(values.ndim) if dimension != axis)
        bound = np.abs(values).max(axis=others, keepdims=True)
        least = 127 * np.abs(reader.get_tensor(bias)).reshape(bound.shape) / (2**30 * step)
        if (least > bound).any():
            ends = np.maximum(bound, least).astype(np.float32)
            ranges[names[weight]] = {"min": -ends, "max": ends}


def _sample(sample: Any, graph: ExportedGraph, pixels: Pixels | None) -> list[NDArray[np.generic]]:
    """Return one calibration sample as the float graph takes it, an array an input."""
    import numpy as np

    from edgekit.onboard.runner import feed

    if pixels is None:
        fed = feed(sample, graph.contract())
        return fed if isinstance(fed, list) else [fed]
    return [(sample[None].astype(np.float32) - pixels.shift) * np.float32(pixels.factor)]


def _layers(interpreter: Any) -> dict[str, str]:
    """Return the quantizer's scope (its output tensors' names) of each operator, by `OP#n`.

    Torch's layer names do not survive the exported program, so operators are told apart by kind
    and place in the graph.
    """
    names = _tensor_names(interpreter)
    scopes: dict[str, str] = {}
    for index, op in enumerate(interpreter._get_ops_details()):
        if op["op_name"] != "DELEGATE":
            outputs = (names[output] for output in op["outputs"])
            scopes[f"{op['op_name']}#{index}"] = ";".join(outputs)
    return scopes


def _tensor_names(interpreter: Any) -> dict[int, str]:
    return {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}


def _convert(graph: ExportedGraph, path: Path) -> None:
    """Write the network behind its contract as .tflite in float32.

    Raises UnsupportedModel naming the operator.
    """
    if graph.format == "onnx":
        from edgekit.backends._onnx2tf import convert
        from edgekit.backends.onnx import from_onnx

        convert(from_onnx(graph), path, graph.folder / "onnx2tf")
        return
    import litert_torch

    from edgekit.graph.tflite_rewrites import for_tflite

    module = graph.baked_module()
    for part in module.modules():
        for_tflite(part)
    try:
        edge_model = litert_torch.convert(module, graph.examples())
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise unsupported("tflite", error, module) from None
    edge_model.export(str(path))
