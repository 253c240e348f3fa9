"""What PyTorch alone gives, as reference rows for benchmarks: the baked network saved as .pt2.

Not for deployment: no board runs it. Benchmarks load it by edgekit/backends/_torch_runtime.py, in
eager PyTorch or, with `--runtime`, in AOTInductor or ExecuTorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.errors import UnsupportedModel

if TYPE_CHECKING:
    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32",)
RUNTIME = "torch"
EXTRA = "torch"
PACKAGES = ("torch",)
PROGRAM = "edgekit.backends._torch_runtime"


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.pt2, taking uint8 pixels 1×H×W×C (float32 for a raw input)."""
    import torch

    if graph.format == "onnx":
        raise UnsupportedModel("torch cannot run an .onnx source: leave out --backend torch")
    program = torch.export.export(graph.baked_module(), graph.examples())
    torch.export.save(program, folder / "model.pt2")
    return Built(("model.pt2",), graph.feed)
