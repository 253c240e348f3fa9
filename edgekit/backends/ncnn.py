"""ncnn: pnnx's converter on a traced network; int8 by a quantizer of ours (_ncnn_int8.py).

ncnn has no uint8 tensors. Its own `Mat.from_pixels` takes the raw pixels, N×H×W×C, puts the
channels apart and makes them float, in one pass; the normalisation is in the graph.

fp16 is not offered: ncnn's half-precision arithmetic was 21 % of the outputs' scale off on
multitask-cnn, on the emulated Cortex-A76. fp32 is true fp32: the runner turns off what rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.errors import UnsupportedModel, first_line
from edgekit.files import write_whole
from edgekit.graph.operator_errors import unsupported
from edgekit.scratch import run_leashed

if TYPE_CHECKING:
    from edgekit.backends._ncnn_files import Layer
    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
RUNTIME = "ncnn"
EXTRA = "ncnn"
PACKAGES = ("ncnn", "pnnx", "onnx", "onnxscript", "torch")
PROGRAM = ""

FILES = ("model.param", "model.bin")
FEW = 8
"""Images on which pnnx's network is held to the model at once."""
FAR = 1e-2
"""How far it may be there, of the outputs' largest value: more is no rounding."""
_WITHOUT = "leave out --backend ncnn"
PARAM, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"
"""What pnnx calls them."""


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.param and model.bin, taking uint8 pixels 1×H×W×C (float32 for a raw input)."""
    if graph.spec.tensors:
        taken = ", ".join(graph.spec.names)
        raise UnsupportedModel(f"ncnn takes one image, the model {taken}: leave out --backend ncnn")
    from edgekit.backends._ncnn_files import read_net, write_net
    from edgekit.backends._ncnn_int8 import quantizable, quantize

    scratch = graph.folder / "ncnn"
    param, weights = scratch / PARAM, scratch / WEIGHTS
    if not param.is_file():
        scratch.mkdir(exist_ok=True)
        _convert(graph, scratch)
    if precision == "fp32":
        for name, source in zip(FILES, (param, weights), strict=True):
            write_whole(folder / name, source.read_bytes())
        return Built(FILES, graph.feed)
    try:
        layers = read_net(param, weights)
    except ValueError as error:
        raise UnsupportedModel(f"ncnn int8 cannot take the model: {error}") from None
    names = tuple(layer.name for layer in layers if quantizable(layer))
    if not names:
        raise UnsupportedModel("ncnn int8 cannot take the model: no layer of it runs in int8")
    inputs = tuple(dict.fromkeys(layer.inputs[0] for layer in layers if layer.name in names))
    largest = _calibrate(graph, param, inputs)
    write_net(quantize(layers, largest, keep_float), *(folder / name for name in FILES))
    return Built(FILES, graph.feed, int8_layers=names)


def _convert(graph: ExportedGraph, scratch: Path) -> None:
    """Run pnnx in `scratch`, which gets model.ncnn.param and model.ncnn.bin.

    A torch network is given as a trace, and where that leaves a layer that ncnn does not have, as
    ONNX: pnnx knows a recurrent layer only there. Raises UnsupportedModel: the attempt's that
    names an operator, else the first one's.
    """
    import ncnn  # noqa: F401  (a missing runtime is told before the work)

    attempts = {"pt2": (_trace, _from_torch), "onnx": (_from_onnx,)}[graph.format]
    errors: list[UnsupportedModel] = []
    for attempt in attempts:
        try:
            given, shape, module = attempt(graph, scratch)
            _pnnx(scratch, given, shape)
            _check(graph, scratch / PARAM, module)
        except UnsupportedModel as error:
            (scratch / PARAM).unlink(missing_ok=True)
            errors.append(error)
        else:
            return
    raise next((error for error in errors if "operator" in str(error)), errors[0])


def _pnnx(scratch: Path, given: str, shape: tuple[int, ...]) -> None:
    """Run pnnx's program. It says little by its exit code: what it wrote is read.

    Its Python function ignores that code and runs a program it has written; it is not used.
    """
    import pnnx

    sizes = ",".join(map(str, shape))
    done = run_leashed([pnnx.EXEC_PATH, given, f"inputshape=[{sizes}]", "fp16=0"], scratch)
    print(done.stdout)  # into the step's log
    if done.returncode < 0:
        raise UnsupportedModel(
            f"ncnn's converter crashed on this network (signal {-done.returncode}): {_WITHOUT}"
        )
    if done.returncode or not all((scratch / name).is_file() for name in (PARAM, WEIGHTS)):
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {done.returncode}"
        raise UnsupportedModel(
            f"ncnn cannot convert the model: pnnx failed ({last[:200]}); {_WITHOUT}"
        )


def _check(graph: ExportedGraph, param: Path, module: Any) -> None:
    """Raise UnsupportedModel for a layer that ncnn does not have, or outputs that are missing."""
    import ncnn

    from edgekit.backends._ncnn_files import read_layers

    try:
        layers = read_layers(param)
    except ValueError as error:
        raise UnsupportedModel(f"ncnn cannot convert the model: {error}; {_WITHOUT}") from None
    for layer in layers:
        if ncnn.layer_to_index(layer.kind) < 0:
            # pnnx leaves torch's own name where ncnn has no layer: torch.fft_fft2, aten::lstm.
            operator = layer.kind.replace("::", ".").partition(".")[2].replace(".", "_")
            missing = RuntimeError(f"it has no layer for {layer.kind} (aten::{operator})")
            raise unsupported("ncnn", missing, module)
    made = {name for layer in layers for name in layer.outputs}
    if not made >= {"in0", *(f"out{index}" for index in range(len(graph.spec.outputs)))}:
        raise UnsupportedModel(
            f"ncnn cannot convert the model: pnnx lost its input or an output; {_WITHOUT}"
        )
    try:
        distance, largest = _distance(graph, param, layers)
    except ValueError as error:
        raise UnsupportedModel(
            f"ncnn cannot run what pnnx made of the model: {error}; {_WITHOUT}"
        ) from None
    if not distance <= max(FAR * largest, 1e-4):
        raise UnsupportedModel(
            f"pnnx changed the model: in float ncnn is {distance:.3g} off outputs of up to "
            f"{largest:.3g}; replace what it does not know, or leave out --backend ncnn"
        )


def _distance(graph: ExportedGraph, param: Path, layers: Sequence[Layer]) -> tuple[float, float]:
    """Return how far the float network is from the model on a few images, and its largest output.

    Outputs that differ from the model's by dimensions of 1 alone get its shapes, in the file too.
    Parity judges every artifact later; this one holds int8 to the model too, whose bar is looser,
    and gives the next attempt its turn. Raises ValueError for outputs of other shapes.
    """
    import numpy as np

    from edgekit.backends._ncnn_files import write_param
    from edgekit.backends._ncnn_trial import trial

    reference = graph.reference()
    names = [output.name for output in graph.spec.outputs]
    contract = {**graph.contract(), "outputs": names}
    found = trial(param, contract, graph.parity_pixels()[:FEW])
    shaped = _shaped(layers, [(found[name].shape[1:], reference[name].shape[1:]) for name in names])
    if shaped is not None:
        write_param(shaped, param)
        found = trial(param, contract, graph.parity_pixels()[:FEW])
    distances = []
    for name in names:
        value, wanted = found[name], reference[name][:FEW]
        if value.shape != wanted.shape:
            raise ValueError(f"output {name} has shape {value.shape[1:]}, not {wanted.shape[1:]}")
        distances.append(np.abs(value - wanted).max())
    return float(np.max(distances)), max(float(np.abs(reference[name]).max()) for name in names)


def _shaped(
    layers: Sequence[Layer], shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[Layer] | None:
    """Return the layers with a Reshape at each output that has but other dimensions of 1.

    `shapes` are those an output has and should have; None where there is nothing to do. ncnn has no
    batch; of a network whose tensors change places with it, as attention's do, pnnx keeps it in the
    output. A Reshape at the end moves no number.
    """
    from edgekit.backends._ncnn_files import reshape

    changed = list(layers)
    for index, (have, wanted) in enumerate(shapes):
        if have == wanted or [n for n in have if n > 1] != [n for n in wanted if n > 1]:
            continue
        if 0 < len(wanted) <= 4:
            end, made = f"out{index}", f"edgekit_made_{index}"
            changed = [layer.with_blob(end, made) for layer in changed]
            changed.append(reshape(f"edgekit_shape_{index}", made, end, wanted))
    return changed if len(changed) > len(layers) else None


def _module(graph: ExportedGraph) -> tuple[Any, Any]:
    """Return the baked network, which takes planes of pixels as floats, and one input of it."""
    import torch

    from edgekit.graph.contract import example_input, reference_input

    spec = graph.spec.image
    example = torch.full((1, spec.channels, spec.height, spec.width), 128.0)
    if graph.raw_input:
        example = reference_input(example_input(graph.spec), spec)
    return graph.baked_module(planes=True), example


def _trace(graph: ExportedGraph, scratch: Path) -> tuple[str, tuple[int, ...], Any]:
    """Write a torch network as TorchScript; return its file's name, input shape and module."""
    import torch

    module, example = _module(graph)
    try:
        with torch.no_grad():
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                module, (example,), check_trace=False
            )
            traced.save(str(scratch / "model.pt"))
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise unsupported("ncnn", error, module) from None
    return "model.pt", tuple(example.shape), module


def _from_torch(graph: ExportedGraph, scratch: Path) -> tuple[str, tuple[int, ...], Any]:
    """Write a torch network as ONNX; as `_trace`."""
    import torch

    from edgekit.backends.onnx import OPSET

    module, example = _module(graph)
    try:
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=OPSET, verbose=False
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise unsupported("ncnn", error, module) from None
    assert program is not None
    program.save(str(scratch / "model.onnx"))
    return "model.onnx", tuple(example.shape), module


def _from_onnx(graph: ExportedGraph, scratch: Path) -> tuple[str, tuple[int, ...], Any]:
    """Write an ONNX source behind the contract, planes of pixels in; as `_trace`."""
    import onnx
    from torch import nn

    from edgekit.backends.onnx import from_onnx

    model = from_onnx(graph, planes=True)
    onnx.save(model, str(scratch / "model.onnx"))
    stored = {tensor.name for tensor in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in stored)
    shape = tuple(d.dim_value for d in source.type.tensor_type.shape.dim)
    if not all(shape):
        raise UnsupportedModel("ncnn needs an .onnx whose input has a fixed shape")
    return "model.onnx", shape, nn.Module()


def _calibrate(graph: ExportedGraph, param: Path, blobs: tuple[str, ...]) -> dict[str, float]:
    """Return the largest absolute value of each blob over the calibration pixels, in float."""
    from edgekit.backends._ncnn_int8 import ranges
    from edgekit.onboard import runner

    contract = graph.contract()
    net = runner.ncnn_net(str(param), 1, keep_blobs=True)
    samples = (runner.feed(image, contract) for image in graph.calibration_pixels())
    try:
        return ranges(net, lambda tensor: runner.ncnn_input(tensor, contract), samples, blobs)
    except RuntimeError as error:
        raise UnsupportedModel(f"ncnn int8 cannot take the model: {first_line(error)}") from None
