"""Small convolutional ONNX artifacts, made in milliseconds, and measurements of them on a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgekit.artifact import (
    Artifact,
    Manifest,
    OutputParity,
    ParityRecord,
    SourceRecord,
    record_files,
    write_manifest,
)
from edgekit.spec import InputSpec, OutputSpec


def onnx_artifact(
    folder: Path, model: str, channels: Sequence[int], *, size: int = 32, last: str = ""
) -> Artifact:
    """Write a chain of 3×3 and 1×1 convolutions; `last` is one more operator at the end."""
    folder.mkdir(parents=True)
    nodes, weights, before, value = [], [], 3, "image"
    for index, out in enumerate(channels):
        kernel = 1 if index % 2 else 3
        shape = (out, before, kernel, kernel)
        weights.append(
            helper.make_tensor(f"w{index}", TensorProto.FLOAT, shape, np.zeros(shape).ravel())
        )
        nodes.append(
            helper.make_node("Conv", [value, f"w{index}"], [f"c{index}"], pads=[kernel // 2] * 4)
        )
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        before, value = out, f"r{index}"
    if last:
        nodes.append(helper.make_node(last, [value], ["last"]))
        value = "last"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, (1, before, size, size))],
        weights,
    )
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    return write_manifest(
        folder,
        Manifest(
            model=model,
            backend="onnx",
            precision="fp32",
            files=record_files(folder, ["model.onnx"]),
            source=SourceRecord(
                kind="factory",
                locator=model,
                sha256="0" * 64,
                parameters=1,
                macs=None,
                weights="random",
            ),
            input=InputSpec(size, size),
            feed="float32",
            outputs=(OutputSpec("map", "tensor"),),
            calibration=None,
            tools={"edgekit": "0"},
            parity=ParityRecord(
                images=("a" * 64,),
                outputs=(
                    OutputParity(name="map", max_abs_diff=0.0, mean_abs_diff=0.0, agreement=None),
                ),
                bar="none",
                passed=True,
            ),
        ),
    )
