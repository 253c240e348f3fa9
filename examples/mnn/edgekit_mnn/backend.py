"""MNN: edgekit's own ONNX file, converted by MNN's converter as a library."""

from __future__ import annotations

from pathlib import Path

from edgekit.artifact import Precision
from edgekit.backends import Built, onnx
from edgekit.errors import UnsupportedModel
from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32",)
RUNTIME = "mnn"
EXTRA = ""
PACKAGES = ("MNN", *onnx.PACKAGES)
PROGRAM = "edgekit_mnn.runtime"


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.mnn, taking what the ONNX file takes.

    Raises UnsupportedModel where MNN cannot.
    """
    # First the package: where it is missing, its name is the one to install.
    import MNN  # noqa: F401  # isort: skip
    import _tools  # MNN's converter, a module beside it

    if graph.spec.tensors:
        raise UnsupportedModel("mnn takes one image here: leave out --backend mnn")
    scratch = graph.folder / "mnn"
    scratch.mkdir(exist_ok=True)
    made = onnx.build(graph, "fp32", scratch, ())
    source, target = scratch / made.files[0], folder / "model.mnn"
    options = {"-f": "ONNX", "--modelFile": source, "--MNNModel": target, "--bizCode": "edgekit"}
    words = [str(word) for option in options.items() for word in option]
    if not _tools.mnnconvert(["mnnconvert", *words]) or not target.is_file():
        raise UnsupportedModel("mnn cannot convert the model: edgekit's log has what MNN said")
    return Built(("model.mnn",), made.feed)
