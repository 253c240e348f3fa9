"""The null backend: answers zeros, so that a benchmark shows what the harness itself costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.files import write_whole

if TYPE_CHECKING:
    from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32",)
RUNTIME = "null"
EXTRA = ""
PACKAGES: tuple[str, ...] = ()
PROGRAM = ""


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write a file that says what it is; there is nothing to load."""
    write_whole(folder / "model.null", "edgekit null model: answers zeros\n")
    return Built(("model.null",), graph.feed)
