"""The models of bad_models.py behind manifests, as artifacts."""

from __future__ import annotations

from pathlib import Path

import bad_models
import onnx
from bad_models import Nodes

from edgekit.artifact import (
    Artifact,
    Feed,
    Manifest,
    ParityRecord,
    Precision,
    SourceRecord,
    record_files,
    write_manifest,
)
from edgekit.spec import InputSpec, OutputSpec

FILES = {"onnx": "model.onnx", "tflite": "model.tflite", "openvino": "model.xml"}


def artifact(
    folder: Path, backend: str, precision: Precision = "int8", feed: Feed = "uint8"
) -> Artifact:
    """Return what is in `folder` behind a manifest."""
    names = [FILES[backend], *(["model.bin"] if backend == "openvino" else [])]
    return write_manifest(
        folder,
        Manifest(
            model="bad",
            backend=backend,
            precision=precision,
            files=record_files(folder, tuple(names)),
            source=SourceRecord(
                kind="factory",
                locator="bad",
                sha256="0" * 64,
                parameters=1,
                macs=None,
                weights="random",
            ),
            input=InputSpec(bad_models.SIZE, bad_models.SIZE, layout="NHWC"),
            feed=feed,
            outputs=(OutputSpec("animal"),),
            calibration=None,
            tools={},
            parity=ParityRecord(images=(), outputs=(), bar="none", passed=True),
        ),
    )


def onnx_int8(folder: Path, middle: Nodes | None = None, exclude: tuple[str, ...] = ()) -> Artifact:
    bad_models.onnx_int8(bad_models.onnx_model(middle), folder / "model.onnx", exclude)
    return artifact(folder, "onnx")


def onnx_fp32(folder: Path, middle: Nodes | None = None) -> Artifact:
    onnx.save(bad_models.onnx_model(middle), str(folder / "model.onnx"))
    return artifact(folder, "onnx", "fp32")


def onnx_dynamic(folder: Path) -> Artifact:
    bad_models.onnx_dynamic(bad_models.onnx_model(), folder / "model.onnx")
    return artifact(folder, "onnx")


def tflite_fp32(folder: Path, *middle: str) -> Artifact:
    (folder / "model.tflite").write_bytes(bad_models.tflite_model(*middle))
    return artifact(folder, "tflite", "fp32", "float32")


def tflite_int8(folder: Path, *middle: str, static: bool = True, keep_float: str = "") -> Artifact:
    content = bad_models.tflite_model(*middle)
    model = folder / "model.tflite"
    bad_models.tflite_quantized(content, model, static=static, keep_float=keep_float)
    return artifact(folder, "tflite", feed="int8" if static else "float32")


def openvino_int8(
    folder: Path, middle: Nodes | None = None, exclude: tuple[str, ...] = ()
) -> Artifact:
    import openvino as ov

    source = folder.parent / f"{folder.name}.onnx"
    bad_models.onnx_int8(bad_models.onnx_model(middle), source, exclude)
    ov.save_model(ov.convert_model(source), folder / "model.xml")
    return artifact(folder, "openvino")


def openvino_fp32(folder: Path) -> Artifact:
    import openvino as ov

    source = folder.parent / f"{folder.name}.onnx"
    onnx.save(bad_models.onnx_model(), str(source))
    ov.save_model(ov.convert_model(source), folder / "model.xml", compress_to_fp16=False)
    return artifact(folder, "openvino", "fp32")
