"""One .tflite model cut after each of its operators: how a runtime without a profiler is asked.

Cut here and not on the device: a board has the runtime, but not the flatbuffer schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import MissingPackage

MAX_BYTES = 64 * 2**20
"""A larger model is not cut: half of its operators' cuts are nearly as large as itself."""


def cut(model: Path, folder: Path) -> None:
    """Write `0000.tflite`, ... into `folder`: the model up to each of its operators, in order.

    Each has that operator's outputs as its own, and no weights but those it needs. Raises
    MissingPackage where ai-edge-litert, whose schema is used, is not installed.
    """
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError:
        raise MissingPackage("ai-edge-litert", "tflite") from None
    content = model.read_bytes()
    whole = schema.ModelT.InitFromPackedBuf(content, 0)
    whole.signatureDefs = None  # they name outputs that a cut does not have
    weights = [_data(buffer, content) for buffer in whole.buffers]
    graph = whole.subgraphs[0]
    operators = list(graph.operators)
    for index, last in enumerate(operators):
        graph.operators = operators[: index + 1]
        graph.outputs = list(last.outputs)
        needed = {graph.tensors[t].buffer for o in graph.operators for t in o.inputs if t >= 0}
        for number, buffer in enumerate(whole.buffers):
            buffer.data = weights[number] if number in needed else None
        builder = flatbuffers.Builder(1024)
        builder.Finish(whole.Pack(builder), b"TFL3")
        (folder / f"{index:04}.tflite").write_bytes(bytes(builder.Output()))


def _data(buffer: Any, content: bytes) -> Any:
    """Return a buffer's bytes; quantizers write them behind the flatbuffer."""
    import numpy as np

    if not buffer.size:
        return buffer.data
    start, size = int(buffer.offset), int(buffer.size)
    buffer.offset = buffer.size = 0
    return np.frombuffer(content[start : start + size], np.uint8)
