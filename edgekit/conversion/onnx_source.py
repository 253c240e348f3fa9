"""Reads an .onnx file made elsewhere: its shapes, its own answers, its graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.backends.onnx import inputs_of
from edgekit.conversion.calibration import Recipe
from edgekit.conversion.spec_files import check_batch, check_one, check_tensors, fix_sizes
from edgekit.errors import BadModel, MissingPackage, first_line
from edgekit.spec import DTYPES, InputSpec, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANY = "any"
"""What a free size without a name is called."""


def load(path: Path) -> Any:
    """Return the checked ModelProto, shapes inferred. Raises BadModel for anything else."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise MissingPackage("onnx", "onnx") from None
    missing = [name for name in _outside(path, onnx) if not (path.parent / name).is_file()]
    if missing:
        raise BadModel(
            f"{path} keeps its weights in {missing[0]}, which is not beside it: "
            f"copy that file into {path.parent.absolute()}"
        )
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
    except (DecodeError, onnx.checker.ValidationError, OSError, RuntimeError, ValueError) as error:
        raise BadModel(f"{path} is no valid .onnx ({first_line(error)}): export it again") from None


def _outside(path: Path, onnx: Any) -> list[str]:
    """Return the files beside a model in which it keeps weights; none where it is no model."""
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError):
        return []
    places = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(places)


def shapes(model: Any, path: Path, image: InputSpec | None) -> tuple[tuple[int, ...], int]:
    """Return the one input's shape, a free batch taken as 1, and the number of outputs.

    Other free sizes become, in the model as well, those of the spec's `image`. Raises BadModel
    where there is none.
    """
    import onnx

    inputs = inputs_of(model)
    if len(inputs) != 1:
        raise BadModel(
            f"{path} takes {len(inputs)} inputs: describe each with [[inputs]] in --spec "
            f"(`edgekit spec {path}` drafts it)"
        )
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = dtype_of(inputs[0])
        halves = {"float16", "bfloat16", "float64"}
        remedy = "export it in float32" if kind in halves else "give the float network itself"
        raise BadModel(f"{path} takes {kind}, not float32: {remedy}")
    shape = fix_sizes(sizes_of(inputs[0]), image, str(path))
    check_one(shape, str(path))
    for dimension, size in zip(tensor.shape.dim, shape, strict=True):
        dimension.dim_value = size
    return shape, len(model.graph.output)


def sizes_of(value: Any) -> list[int | str]:
    """Return a ValueInfoProto's sizes; a free one by its name."""
    dimensions = value.type.tensor_type.shape.dim
    return [d.dim_value if d.dim_value > 0 else d.dim_param or ANY for d in dimensions]


def dtype_of(value: Any) -> str:
    """Return a ValueInfoProto's type of numbers, as NumPy calls it."""
    import onnx

    kind: str = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return {"float": "float32", "double": "float64"}.get(kind, kind)


def take_tensors(model: Any, spec: ModelSpec, path: Path) -> None:
    """Hold a file's inputs to the spec's tensors, by name, and fix their free sizes.

    Raises BadModel, naming both shapes, where they differ.
    """
    if spec.input is not None:
        raise BadModel(
            f"{path} takes an image and more: say its inputs as tensors, or give the PyTorch model"
        )
    found = {value.name: value for value in inputs_of(model)}
    if set(found) != set(spec.names):
        raise BadModel(
            f"the spec names the inputs {', '.join(spec.names)}, {path} has {', '.join(found)}: "
            "name them as the file does"
        )
    shapes = [
        (name, tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim))
        for name, value in found.items()
    ]
    check_tensors(spec, shapes, str(path))
    for tensor in spec.tensors:
        dtype = dtype_of(found[tensor.name])
        if dtype != tensor.dtype:
            remedy = "edgekit takes no such input"
            if dtype in DTYPES:
                remedy = f'write dtype = "{dtype}" under it'
            raise BadModel(
                f"the spec says that '{tensor.name}' is {tensor.dtype}, {path} takes {dtype}: "
                f"{remedy}"
            )
        sizes = found[tensor.name].type.tensor_type.shape.dim
        for dimension, size in zip(sizes, tensor.shape, strict=True):
            dimension.dim_value = size


def pick(model: Any, spec: ModelSpec, path: Path) -> None:
    """Leave the outputs that the spec takes by name, in its order; all where it names none.

    Raises BadModel for a name that the file lacks.
    """
    if not any(output.path for output in spec.outputs):
        return
    found = {value.name: value for value in model.graph.output}
    wanted = [output.path or output.name for output in spec.outputs]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BadModel(
            f"the spec takes an output from {', '.join(missing)}, {path} has "
            f"{', '.join(found)}: name one of these in `from`"
        )
    chosen = [found[name] for name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(chosen)


def check_branches(model: Any, path: Path) -> None:
    """Raise BadModel for a graph that branches, where a branch does not fit its inputs' sizes.

    With free sizes ONNX Runtime leaves the branch that is not taken alone.
    """
    import onnxruntime

    if not any(node.op_type == "If" for node in model.graph.node):
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own classes have no common base but this
        raise BadModel(
            f"{path} has branches (If), and at the spec's sizes one of them does not fit: export "
            f"it for one case, without branches ({first_line(error)[-160:]})"
        ) from None


def content_hash(model: Any) -> str:
    """Return the SHA-256 of the graph with its weights, wherever the file keeps them."""
    import hashlib

    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def count_parameters(model: Any) -> int:
    """Return the number of float weights stored in the graph."""
    import math

    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    stored = (t for t in model.graph.initializer if t.data_type in floats)
    return sum(math.prod(tensor.dims) for tensor in stored)


def weights(model: Any) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield the name and values of each tensor that is stored in the graph."""
    from onnx import numpy_helper

    return ((tensor.name, numpy_helper.to_array(tensor)) for tensor in model.graph.initializer)


def reference(
    path: Path, samples: Any, spec: ModelSpec, names: list[str]
) -> dict[str, NDArray[np.generic]]:
    """Return ONNX Runtime's outputs of the file as it was given, with nothing optimised.

    `names` are the file's own names of the spec's outputs, in order. Raises BadModel where it does
    not run.
    """
    import numpy as np
    import onnxruntime

    from edgekit.graph import contract_of
    from edgekit.onboard.runner import by_name, feed, of_one

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    contract = contract_of(spec, "float32")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        name_of = by_name([value.name for value in session.get_inputs()], contract)
        rows = [session.run(names, name_of(feed(sample, contract))) for sample in samples]
    except Exception as error:  # its own classes have no common base but this
        raise BadModel(
            f"ONNX Runtime cannot run {path} on what the spec describes: {first_line(error)}"
        ) from None
    for value, output in zip(rows[0], spec.outputs, strict=True):
        check_batch(path.stem, output, value.shape)
    columns = (np.stack([*map(of_one, column)]) for column in zip(*rows, strict=True))
    return dict(zip((output.name for output in spec.outputs), columns, strict=True))


def no_statistics(recipe: Recipe, spec: ModelSpec) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return smooth noise: an .onnx file's batch norms are usually folded away already."""
    from torch import nn

    from edgekit.conversion.synthesis import synthesise

    return synthesise(nn.Identity(), spec.image, recipe)


def save(model: Any, path: Path) -> tuple[bool, ...]:
    """Write the graph with its batch fixed at 1, so that every backend sees one static shape.

    Returns of each output whether it ends in a softmax or a sigmoid.
    """
    import onnx

    from edgekit.graph.scores import onnx_endings

    for value in model.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and dimensions[0].dim_value < 1:
            dimensions[0].dim_value = 1
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, str(path))
    return onnx_endings(model)
