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
from edgekit.results import Measurement, Round, artifact_facts
from edgekit.spec import InputSpec, OutputSpec
from edgekit.targets import DeviceFacts

PI4 = DeviceFacts(
    machine="aarch64",
    cpu_model="0xd08",
    cores=4,
    memory_bytes=4 * 2**30,
    python="3.11.2",
    glibc="2.36",
    os="Debian 12",
    cpu_features=("asimd", "crc32"),
    board="Raspberry Pi 4 Model B Rev 1.4",
    clock_mhz=1500.0,
)


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


def measured(artifact: Artifact, seconds: float, threads: int = 1) -> Measurement:
    """Return what `edgekit bench` saves of an artifact that takes `seconds` on a Raspberry Pi 4."""
    rounds = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(1.0, 0.005, 60)
        samples = tuple(float(value) for value in seconds * noise)
        rounds.append(
            Round(
                load_s=0.1,
                first_s=0.01,
                warmup_s=samples[:3],
                invoke_s=samples,
                end_to_end_s=samples,
                settled=True,
                peak_memory_bytes=50_000_000,
                clock_mhz=(1500.0,) * 4,
                temperature_c=(50.0,) * 4,
                throttled=("0x0",) * 4,
            )
        )
    return Measurement(
        label=f"{artifact.manifest.model}-onnx-fp32",
        run="20261124T000000Z-abc",
        artifact=artifact_facts(artifact),
        target="rpi4",
        device="ssh://pi@board",
        facts=PI4,
        provenance="measured",
        runtime="onnxruntime",
        runtime_version="1.0",
        threads=threads,
        cores=(),
        images="f" * 64,
        wanted_rounds=3,
        min_seconds=0.1,
        min_count=22,
        created="2026-11-24T00:00:00+00:00",
        command="edgekit bench",
        rounds=tuple(rounds),
    )
