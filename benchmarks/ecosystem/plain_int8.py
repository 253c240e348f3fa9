"""int8 as each runtime's own quantizer makes it by default, and its distance to the model.

The plain path: the bare exported network, normalised calibration samples, no option changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def outputs(backend: str, graph: Any) -> dict[str, np.ndarray]:
    """Return the outputs on the parity samples. Raises whatever the libraries raise."""
    from edgekit.graph.contract import Flat, example_inputs, reference_inputs

    if backend not in MAKERS:
        raise LookupError("it has no quantizer in Python")
    module = Flat(torch.export.load(graph.path).module())
    examples = example_inputs(graph.spec, raw=True)

    def arrays(sample: Any) -> list[np.ndarray]:
        return [value.numpy() for value in reference_inputs(graph.spec, sample)]

    calibration = [arrays(sample) for sample in graph.calibration_samples()]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run = MAKERS[backend](module, examples, calibration, Path(folder))
        rows = [run(arrays(sample)) for sample in graph.parity_samples()]
    columns = (np.concatenate(column) for column in zip(*rows, strict=True))
    names = (output.name for output in graph.spec.outputs)
    return dict(zip(names, columns, strict=True))


def distances(found: dict[str, np.ndarray], graph: Any) -> dict[str, float]:
    """Return each output's RMS distance to the model's as a share of its spread over images."""
    shares = {}
    for name, reference in graph.reference().items():
        exact = reference.astype(np.float64)
        difference = found[name].astype(np.float64).reshape(exact.shape) - exact
        spread = exact.std(axis=0)
        unit = np.sqrt(np.square(spread).mean()) or 1.0
        shares[name] = round(float(np.sqrt(np.square(difference).mean()) / unit), 5)
    return shares


def intervals(
    ours: dict[str, np.ndarray], default: dict[str, np.ndarray], graph: Any
) -> dict[str, list[float]]:
    """Return by output how many times as far ours is as the default, a 95 % interval: low, high.

    A paired bootstrap over the judged samples: it says what these few can tell.
    """
    found = {}
    for name, reference in graph.reference().items():
        exact = reference.astype(np.float64)
        squares = [
            np.square(each[name].astype(np.float64).reshape(exact.shape) - exact)
            .reshape(len(exact), -1)
            .mean(1)
            for each in (ours, default)
        ]
        drawn = np.random.default_rng(0).integers(0, len(exact), (10_000, len(exact)))
        mine, theirs = (each[drawn].mean(1) + 1e-30 for each in squares)
        ends = np.percentile(np.sqrt(mine / theirs), (2.5, 97.5))
        found[name] = [round(float(end), 4) for end in ends]
    return found


Run = Callable[[list[np.ndarray]], list[np.ndarray]]


def _onnx(module: Any, examples: Any, calibration: Any, folder: Path) -> Run:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    exported, quantized = str(folder / "model.onnx"), str(folder / "int8.onnx")
    torch.onnx.export(module, examples, dynamo=True, verbose=False).save(exported)
    names = [i.name for i in onnxruntime.InferenceSession(exported).get_inputs()]

    class Reader(CalibrationDataReader):
        left = iter(calibration)

        def get_next(self) -> Any:
            values = next(self.left, None)
            return None if values is None else dict(zip(names, values, strict=True))

    quantize_static(exported, quantized, Reader())
    session = onnxruntime.InferenceSession(quantized)
    return lambda values: session.run(None, dict(zip(names, values, strict=True)))


def _tflite(module: Any, examples: Any, calibration: Any, folder: Path) -> Run:
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    exported, quantized = folder / "model.tflite", folder / "int8.tflite"
    litert_torch.convert(module, examples).export(str(exported))
    maker = quantizer.Quantizer(str(exported), recipe.static_wi8_ai8())
    signatures = Interpreter(str(exported)).get_signature_list()
    (signature, ends), *_ = signatures.items()
    names = sorted(ends["inputs"], key=lambda name: int(name.rpartition("_")[2]))
    samples = [dict(zip(names, values, strict=True)) for values in calibration]
    result = maker.quantize(maker.calibrate({signature: samples}))
    quantized.write_bytes(bytes(result.quantized_model))
    runner = Interpreter(str(quantized)).get_signature_runner(signature)
    told = runner.get_input_details(), runner.get_output_details()

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        fed = {name: _round(v, told[0][name]) for name, v in zip(names, values, strict=True)}
        answer = runner(**fed)
        ordered = sorted(answer, key=lambda name: int(name.rpartition("_")[2]))
        return [_real(answer[name], told[1][name]) for name in ordered]

    return run


def _round(value: np.ndarray, detail: Any) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return value.astype(detail["dtype"])
    scale, zero = detail["quantization"]
    rounded: np.ndarray = np.clip(np.round(value / scale) + zero, -128, 127).astype(np.int8)
    return rounded


def _real(value: np.ndarray, detail: Any) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return value
    scale, zero = detail["quantization"]
    real: np.ndarray = (value.astype(np.float32) - zero) * scale
    return real


def _openvino(module: Any, examples: Any, calibration: Any, folder: Path) -> Run:
    import nncf
    import openvino as ov

    model = ov.convert_model(torch.export.export(module, examples))
    model.reshape({place: list(value.shape) for place, value in enumerate(examples)})
    compiled = ov.compile_model(nncf.quantize(model, nncf.Dataset(calibration)), "CPU")
    return lambda values: list(compiled(values).values())


MAKERS = {"onnx": _onnx, "tflite": _tflite, "openvino": _openvino}
