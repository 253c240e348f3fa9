"""ONNX: torch.onnx's exporter (dynamo) and onnxslim; int8 by ONNX Runtime's static quantizer.

fp16 is not offered: ONNX Runtime's CPU provider has no half-precision kernels on these targets
and would cast every tensor back and forth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.errors import UnsupportedModel, first_line
from edgekit.graph.operator_errors import of_kind, unsupported

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
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What a gentler int8 quantizes where it has weights. Additions, normalisations, softmax and the
products of attention stay in float."""
WAYS = {
    "gentler": "only layers with weights are in int8, which may be slower",
    "plain": "a layer's weights share one scale, as by ONNX Runtime's own default",
}


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.onnx, taking uint8 pixels 1×H×W×C (float32 for a raw input)."""
    import onnx
    import onnxslim

    fp32 = graph.folder / "onnx-fp32.onnx"
    if not fp32.is_file():
        make = {"pt2": _from_torch, "onnx": from_onnx}[graph.format]
        model = onnxslim.slim(make(graph))
        name_ends(model, [output.name for output in graph.spec.outputs])
        _flatten_biases(model)
        onnx.save(model, str(fp32))
    if precision == "fp32":
        onnx.save(onnx.load(str(fp32)), str(folder / "model.onnx"))
        return Built(("model.onnx",), graph.feed)
    model = onnx.load(str(fp32))
    layers = tuple(n.name for n in model.graph.node if n.op_type in _QUANTIZED)
    grouped = _grouped_transposed(model)
    _quantize(graph, fp32, folder / "model.onnx", (*keep_float, *grouped))
    notes = tuple(
        f"in float: {name} (ONNX Runtime quantizes no grouped transposed convolution)"
        for name in grouped
    )
    return Built(("model.onnx",), graph.feed, notes, int8_layers=layers)


def _flatten_biases(model: Any) -> None:
    """Give every stored bias of a Gemm one value a column, in place: [1, N] and [1] become [N].

    It computes the same. ONNX Runtime's quantizer scales each value of a bias by itself, and fails
    on those of other shapes, which TensorFlow's and JAX's exporters write.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3:
            continue
        weight, bias = stored.get(node.input[1]), stored.get(node.input[2])
        if weight is None or bias is None or len(weight.dims) != 2:
            continue
        columns = weight.dims[0 if _turned(node) else 1]
        if list(bias.dims) == [columns] or list(bias.dims) not in ([1, columns], [1, 1], [1], []):
            continue
        flat = np.broadcast_to(numpy_helper.to_array(bias).reshape(-1), (columns,))
        name = f"{bias.name}_edgekit_of_{node.name or node.output[0]}"
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(flat), name))
        node.input[2] = name


def _turned(node: Any) -> bool:
    """Tell whether a Gemm's weight has its columns first."""
    return any(item.name == "transB" and item.i for item in node.attribute)


def _grouped_transposed(model: Any) -> list[str]:
    """Return the names of transposed convolutions in groups.

    ONNX Runtime's quantizer gives their weights a scale for each channel of one group, and their
    bias, of all groups, does not fit to it. It has no int8 kernel of them anyway.
    """
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and any(item.name == "group" and item.i > 1 for item in node.attribute)
    ]


def _from_torch(graph: ExportedGraph) -> Any:
    """Return the baked network as a ModelProto."""
    import torch

    # Private names: the user's may be those of inner values. The real ones come at the end.
    names = [f"edgekit_output_{index}" for index in range(len(graph.spec.outputs))]
    module = graph.baked_module()
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
    made = program.model_proto
    if "bfloat16" in _kinds(made):
        raise of_kind("onnx", "bfloat16", ".bfloat16() or autocast")
    return made


def _kinds(model: Any) -> set[str]:
    """Return the kinds of numbers that a network casts to, or holds weights in."""
    from onnx import TensorProto

    casts = (
        item.i
        for node in model.graph.node
        if node.op_type == "Cast"
        for item in node.attribute
        if item.name == "to"
    )
    held = (item.data_type for item in model.graph.initializer)
    return {TensorProto.DataType.Name(kind).lower() for kind in (*casts, *held)}


def from_onnx(graph: ExportedGraph, *, planes: bool = False) -> Any:
    """Return an ONNX source behind the contract: pixels are cast, transposed and normalised.

    With `planes` they come as floats, N×C×H×W, in the network's own order of colours.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = _at_our_opset(onnx.load(str(graph.path)))
    net, source = model.graph, inputs_of(model)[0]
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
    kind = TensorProto.FLOAT if planes else TensorProto.UINT8
    if planes:
        sizes = [1, spec.channels, spec.height, spec.width]
    pixels = helper.make_tensor_value_info(INPUT, kind, sizes)
    net.input.remove(source)
    net.input.insert(0, pixels)
    return model


def inputs_of(model: Any) -> list[Any]:
    """Return the inputs that must be given: old files list their weights among the inputs too."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _at_our_opset(model: Any) -> Any:
    """Return a model that boards and the quantizer can read: from opset 13 to OPSET.

    An older one stays as it is where it cannot be raised: only int8 needs 13, for a scale a
    channel. Raises UnsupportedModel where it uses what came after OPSET.
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
    for version in (17, 13):
        if max(versions, default=OPSET) >= 13:
            break
        try:
            model = version_converter.convert_version(model, version)
            break
        except (RuntimeError, version_converter.ConvertError):
            continue
    oldest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, oldest)
    return model


def name_ends(model: Any, names: Sequence[str]) -> None:
    """Give a ModelProto's outputs their final names, in place.

    An inner value, weight or input that has one of them is called otherwise from now on.
    """
    from onnx import helper

    from edgekit.onboard.runner import INNER

    net = model.graph
    fixed = {value.name for value in (*net.input, *net.initializer)}
    used = fixed | {name for graph in _graphs(net) for node in graph.node for name in node.output}
    wanted = dict(zip((value.name for value in net.output), names, strict=True))
    renamed = {name: f"{INNER}{name}" for name in used & set(names)}
    for value, name in zip(net.output, names, strict=True):
        # Outputs that share a value, or pass on an input, each get a node of their own.
        if value.name in fixed or wanted[value.name] != name:
            net.node.append(helper.make_node("Identity", [value.name], [f"edgekit_final_{name}"]))
            value.name = f"edgekit_final_{name}"
        renamed[value.name] = name
    for graph in _graphs(net):
        for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            item.name = renamed.get(item.name, item.name)
        for node in graph.node:
            for names_of in (node.input, node.output):
                for place, name in enumerate(names_of):
                    names_of[place] = renamed.get(name, name)


def _graphs(net: Any) -> Iterator[Any]:
    """Yield a graph and those inside its nodes (the branches of an If, the body of a Loop)."""
    yield net
    for node in net.node:
        for item in node.attribute:
            for inner in (item.g, *item.graphs):
                if inner.node:
                    yield from _graphs(inner)


class _Reader:
    """Feeds calibration images to ONNX Runtime's quantizer, one batch of one at a time."""

    def __init__(self, tensors: Iterator[dict[str, NDArray[np.generic]]]) -> None:
        self.tensors = tensors

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next input, or None at the end."""
        return next(self.tensors, None)


def _quantize(graph: ExportedGraph, fp32: Path, out: Path, keep_float: tuple[str, ...]) -> None:
    """Write the QDQ int8 model: uint8 activations, int8 weights per channel in 7 bits, or in 8.

    Whoever runs a model of 8 bits on x86 without VNNI must tell ONNX Runtime to add in 32 bits, as
    the runner does. So it is built only for a target that does so by itself.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    from edgekit.onboard.runner import by_name, feed

    assert graph.calibration is not None
    model = onnx.load(str(fp32), load_external_data=False)
    opset = max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=0)
    if opset < 13:
        raise UnsupportedModel(
            f"onnx int8 needs opset 13 or newer, the model has {opset} and cannot be raised: "
            "export it again with opset 17, or leave out int8"
        )
    contract = graph.contract()
    name_of = by_name([value.name for value in model.graph.input], contract)
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
        per_channel=graph.way != "plain",
        # x86 without VNNI adds pairs of uint8 × int8 products in 16 bits, and those of 8 bits
        # saturate there (ONNX Runtime's documentation, "Quantize ONNX models").
        reduce_range=not graph.wide_int8,
        calibrate_method=method,
        op_types_to_quantize=list(_WEIGHTED) if graph.way == "gentler" else None,
        extra_options={"MatMulConstBOnly": graph.way == "gentler"},
        nodes_to_exclude=[*keep_float, *_of_doubles(model)],
    )


def _of_doubles(model: Any) -> list[str]:
    """Return the nodes that compute in float64: the quantizer fails on some of them."""
    from onnx import TensorProto, shape_inference

    inner = shape_inference.infer_shapes(model).graph.value_info
    doubles = {v.name for v in inner if v.type.tensor_type.elem_type == TensorProto.DOUBLE}
    return [node.name for node in model.graph.node if doubles & {*node.input, *node.output}]
