"""ONNX: torch.onnx's exporter (dynamo) and onnxslim; int8 by ONNX Runtime's static quantizer.

fp16 is not offered: ONNX Runtime's CPU provider has no half-precision kernels on these targets
and would cast every tensor back and forth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.errors import UnsupportedModel, first_line
from edgekit.graph.operator_errors import unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
RUNTIME = "onnxruntime"
EXTRA = "onnx"
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "onnxslim", "torch")
PROGRAM = ""

OPSET = 20
"""Read by every ONNX Runtime since 1.17 (2024); onnxscript's own default when this was written."""

INPUT = "image"
_QUANTIZED = ("Conv", "Gemm", "MatMul")


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.onnx, taking uint8 pixels 1×H×W×C (float32 for a raw input)."""
    import onnx
    import onnxslim

    fp32 = graph.folder / "onnx-fp32.onnx"
    if not fp32.is_file():
        make = {"pt2": _from_torch, "onnx": from_onnx}[graph.format]
        onnx.save(onnxslim.slim(make(graph)), str(fp32))
    if precision == "fp32":
        onnx.save(onnx.load(str(fp32)), str(folder / "model.onnx"))
        return Built(("model.onnx",), graph.feed)
    layers = tuple(n.name for n in onnx.load(str(fp32)).graph.node if n.op_type in _QUANTIZED)
    _quantize(graph, fp32, folder / "model.onnx", keep_float)
    return Built(("model.onnx",), graph.feed, int8_layers=layers)


def _from_torch(graph: ExportedGraph) -> Any:
    """Return the baked network as a ModelProto."""
    import torch

    names = [output.name for output in graph.spec.outputs]
    module = graph.baked_module(feed=graph.feed)
    try:
        program = torch.onnx.export(
            module,
            graph.examples(),
            dynamo=True,
            input_names=list(graph.spec.names),
            output_names=names,
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise unsupported("onnx", error, module) from None
    assert program is not None
    return program.model_proto


def from_onnx(graph: ExportedGraph, *, planes: bool = False) -> Any:
    """Return an ONNX source behind the contract: pixels are cast, transposed and normalised.

    With `planes` they come as floats, N×C×H×W, in the network's own order of colours.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = _at_our_opset(onnx.load(str(graph.path)))
    net = model.graph
    stored = {tensor.name for tensor in net.initializer}
    source = next(value for value in net.input if value.name not in stored)
    for value, output in zip(net.output, graph.spec.outputs, strict=True):
        if value.name != output.name:
            net.node.append(helper.make_node("Identity", [value.name], [output.name]))
            value.name = output.name
    if graph.raw_input or graph.spec.input is None:
        return model
    spec = graph.spec.image
    # The network's own input gets a name nothing else has: it may be called as ours is.
    network_input = "edgekit_network_input"
    for node in net.node:
        for place, name in enumerate(node.input):
            if name == source.name:
                node.input[place] = network_input
    nodes = [
        helper.make_node("Identity", [INPUT], ["edgekit_float"])
        if planes
        else helper.make_node("Cast", [INPUT], ["edgekit_float"], to=TensorProto.FLOAT)
    ]
    last, channel_axis = "edgekit_float", 1 if spec.layout == "NCHW" else 3
    if (spec.layout == "NCHW") != planes:
        order = [0, 2, 3, 1] if planes else [0, 3, 1, 2]
        nodes.append(helper.make_node("Transpose", [last], ["edgekit_moved"], perm=order))
        last = "edgekit_moved"
    if spec.colour == "BGR" and not planes:
        swap = numpy_helper.from_array(np.array([2, 1, 0], np.int64), "edgekit_order")
        net.initializer.append(swap)
        nodes.append(
            helper.make_node("Gather", [last, swap.name], ["edgekit_bgr"], axis=channel_axis)
        )
        last = "edgekit_bgr"
    shape = (1, -1, 1, 1) if channel_axis == 1 else (1, 1, 1, -1)
    for name, values in (("edgekit_mean", spec.mean), ("edgekit_std", spec.std)):
        array = np.array(values, np.float32).reshape(shape)
        net.initializer.append(numpy_helper.from_array(array, name))
    nodes.append(helper.make_node("Sub", [last, "edgekit_mean"], ["edgekit_centred"]))
    nodes.append(helper.make_node("Div", ["edgekit_centred", "edgekit_std"], [network_input]))
    for index, node in enumerate(nodes):
        net.node.insert(index, node)
    sizes = [1, spec.height, spec.width, spec.channels]
    kind = TensorProto.UINT8
    if planes:
        sizes, kind = [1, spec.channels, spec.height, spec.width], TensorProto.FLOAT
    pixels = helper.make_tensor_value_info(INPUT, kind, sizes)
    net.input.remove(source)
    net.input.insert(0, pixels)
    return model


def _at_our_opset(model: Any) -> Any:
    """Return a model that boards and the quantizer can read: at OPSET where it is newer.

    Raises UnsupportedModel where it uses what came after.
    """
    from onnx import helper, version_converter

    versions = [o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}]
    if max(versions, default=OPSET) > OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except (RuntimeError, version_converter.ConvertError) as error:
            raise UnsupportedModel(
                f"onnx cannot take the model from opset {max(versions)} to {OPSET} "
                f"({first_line(error)}): export it with opset {OPSET} or older"
            ) from None
    oldest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, oldest)
    return model


class _Reader:
    """Feeds calibration images to ONNX Runtime's quantizer, one batch of one at a time."""

    def __init__(self, tensors: Iterator[dict[str, NDArray[np.generic]]]) -> None:
        self.tensors = tensors

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next input, or None at the end."""
        return next(self.tensors, None)


def _quantize(graph: ExportedGraph, fp32: Path, out: Path, keep_float: tuple[str, ...]) -> None:
    """Write the QDQ int8 model: uint8 activations, int8 weights per channel in 7 bits."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    from edgekit.onboard.runner import by_name, feed

    assert graph.calibration is not None
    contract = graph.contract()
    name_of = by_name([value.name for value in onnx.load(str(fp32)).graph.input], contract)
    method = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }[graph.calibration.method]
    quantize_static(
        str(fp32),
        str(out),
        _Reader(name_of(feed(sample, contract)) for sample in graph.calibration_samples()),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Weights of 7 bits: x86 without VNNI adds pairs of uint8 × int8 products in 16 bits, and
        # those of 8 saturate there (ONNX Runtime's documentation, "Quantize ONNX models").
        reduce_range=True,
        calibrate_method=method,
        nodes_to_exclude=list(keep_float),
    )
