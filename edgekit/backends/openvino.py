"""OpenVINO: its own converter on the exported program; int8 by NNCF's post-training quantizer.

fp16 stores the weights in half precision; the CPU plugin computes in float32 all the same, but for
fp16-compute, which is the same file: the runner asks the plugin for half precision.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.graph.operator_errors import unsupported
from edgekit.onboard.runner import WIDE_INT8, adds_in_32_bits

if TYPE_CHECKING:
    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "fp16-compute", "int8")
RUNTIME = "openvino"
EXTRA = "openvino"
PACKAGES = ("openvino", "nncf", "torch")
PROGRAM = ""

# Its converter and NNCF send every use to Google's counters, by a process a message, and leave
# files in ~/intel. Both do without this package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_QUANTIZED = ("Convolution", "GroupConvolution", "MatMul")
_ATTENTION = ("ScaledDotProductAttention", "Softmax")
WAYS = {
    "gentler": "ranges need not lie around 0, and attention's products are in float, which may be "
    "slower",
    "plain": "ranges leave out rare values, as by NNCF's own default",
}


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.xml and model.bin, taking uint8 pixels 1×H×W×C (float32 for a raw input)."""
    import openvino as ov

    model = _float(graph)
    layers: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if precision == "int8":
        notes = (WIDE_INT8,) if _wide(graph) else ()
        layers = _layers(model)
        model = _quantize(graph, model, [layers[layer] for layer in keep_float])
    ov.save_model(
        model, folder / "model.xml", compress_to_fp16=precision in {"fp16", "fp16-compute"}
    )
    files = ("model.xml", "model.bin")
    return Built(files, graph.feed, notes, int8_layers=tuple(layers))


def _float(graph: ExportedGraph) -> Any:
    """Return the network in float32 as an ov.Model, converted once for every precision."""
    import openvino as ov

    shared = graph.folder / "openvino-fp32.xml"
    if not shared.is_file():
        model = {"pt2": _from_torch, "onnx": _from_onnx}[graph.format](graph)
        for port, output in zip(model.outputs, graph.spec.outputs, strict=True):
            port.get_tensor().set_names({output.name})
        ov.save_model(model, shared, compress_to_fp16=False)
    return ov.Core().read_model(shared)


def _from_torch(graph: ExportedGraph) -> Any:
    """Return the baked network as an ov.Model of static shape."""
    import openvino as ov
    import torch

    examples = graph.examples()
    module = graph.baked_module()
    program = torch.export.export(module, examples)
    kept, places = _distinct_outputs(program)
    if len(kept) < len(places):
        program = torch.export.export(_chosen(module, kept), examples)
    try:
        model = ov.convert_model(program)
    except Exception as error:  # its frontends raise a dozen classes of their own
        raise unsupported("openvino", error, module) from None
    model.reshape({place: list(example.shape) for place, example in enumerate(examples)})
    for port, name in zip(model.inputs, graph.spec.names, strict=True):
        port.get_tensor().set_names({name})
    if len(kept) < len(places):
        _repeat_outputs(model, places)
    return model


def _distinct_outputs(program: Any) -> tuple[list[int], list[int]]:
    """Return the outputs to convert, and where in that list each output is found.

    OpenVINO's converter removes copies first, and then fails on a tensor that is returned twice.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    kept: list[int] = []
    places: list[int] = []
    sources: list[str] = []
    for index, name in enumerate(program.graph_signature.user_outputs):
        node = nodes[name]
        while str(node.target).split(".")[:2] in (["aten", "clone"], ["aten", "alias"]):
            node = node.args[0]
        if node.name not in sources:
            sources.append(node.name)
            kept.append(index)
        places.append(sources.index(node.name))
    return kept, places


def _chosen(module: Any, kept: list[int]) -> Any:
    """Return a module that answers only some of another's outputs."""
    from torch import nn

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            answer = self.inner(*inputs)
            return tuple(answer[index] for index in kept)

    return Chosen()


def _repeat_outputs(model: Any, places: list[int]) -> None:
    """Give an ov.Model the outputs at these places of its own, some of them twice."""
    from openvino import opset13

    results = model.get_results()
    sources = [results[place].input(0).get_source_output() for place in places]
    for result in results:
        model.remove_result(result)
    model.add_results([opset13.result(source) for source in sources])


def _from_onnx(graph: ExportedGraph) -> Any:
    """Return an ONNX source behind the contract, by OpenVINO's own preprocessing steps."""
    import openvino as ov
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model = ov.convert_model(graph.path)
    if graph.raw_input or graph.spec.input is None:
        return model
    spec = graph.spec.image
    steps = PrePostProcessor(model)
    source = steps.input()
    source.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    source.model().set_layout(ov.Layout(spec.layout))
    source.preprocess().convert_element_type(ov.Type.f32)
    if spec.colour == "BGR":
        source.tensor().set_color_format(ColorFormat.RGB)
        source.preprocess().convert_color(ColorFormat.BGR)
    source.preprocess().mean(list(spec.mean)).scale(list(spec.std))
    return steps.build()


def _layers(model: Any) -> dict[str, str]:
    """Return the name in this very model of each operator worth quantizing, by `Type#n`.

    OpenVINO numbers names through a whole process: another conversion gives others.
    """
    operators = [op for op in model.get_ordered_ops() if op.get_type_name() in _QUANTIZED]
    return {f"{op.get_type_name()}#{n}": op.get_friendly_name() for n, op in enumerate(operators)}


def _quantize(graph: ExportedGraph, model: Any, keep_float: list[str]) -> Any:
    """Return the int8 model, by NNCF with its defaults (fast bias correction) but for two things.

    Weights have 7 bits, for an x86 CPU without VNNI adds two products of uint8 × int8 in 16 bits:
    8-bit weights saturate there, and the answers are wrong. NNCF's own default spares the first
    layer only. They have 8 bits where neither the target's CPU nor this one, which proves the
    artifact, adds so; the runner refuses such a file elsewhere.

    Ranges hold every value that calibration saw; NNCF's own default, the plain way, clips what
    only some images reach. The gentler way gives activations a zero of their own; in a network
    with attention it is NNCF's mode for transformers, which does the same, smooths the layers'
    inputs and leaves attention's own products in float.
    """
    import nncf
    from nncf.quantization.range_estimator import (
        RangeEstimatorParameters,
        RangeEstimatorParametersSet,
    )

    from edgekit.onboard.runner import by_name, feed

    contract = graph.contract()
    several = len(graph.spec.names) > 1
    name_of = by_name([port.get_any_name() for port in model.inputs] if several else [""], contract)
    samples = [feed(sample, contract) for sample in graph.calibration_samples()]
    attends = any(op.get_type_name() in _ATTENTION for op in model.get_ops())
    gentler = graph.way == "gentler"
    return nncf.quantize(
        model,
        nncf.Dataset(
            [name_of(s) if several else s[0] if isinstance(s, list) else s for s in samples]
        ),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED if gentler else None,
        model_type=nncf.ModelType.TRANSFORMER if gentler and attends else None,
        ignored_scope=nncf.IgnoredScope(names=[*keep_float, *_embeddings(model)], validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=(
                RangeEstimatorParameters()
                if graph.way == "plain"
                else RangeEstimatorParametersSet.MINMAX
            ),
            overflow_fix=nncf.OverflowFix.DISABLE if _wide(graph) else nncf.OverflowFix.ENABLE,
        ),
    )


def _embeddings(model: Any) -> list[str]:
    """Return the names of lookups in stored tables: NNCF 3.4 fails on some of them (KeyError)."""
    return [
        op.get_friendly_name()
        for op in model.get_ops()
        if op.get_type_name() == "Gather"
        and op.input_value(0).get_node().get_type_name() == "Constant"
        and op.input_value(0).get_element_type().is_real()
    ]


def _wide(graph: ExportedGraph) -> bool:
    """Tell whether int8 weights may have 8 bits, for the target's CPU and for this one."""
    return graph.wide_int8 and adds_in_32_bits()
