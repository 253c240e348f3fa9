"""Parity: does an artifact compute what the source model computes, on real images?"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import OutputParity, ParityRecord, Precision
from edgekit.errors import DeviceError
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.runner import Loader

Outputs = dict[str, "NDArray[np.float32]"]
"""Output name → (N, …) float32."""

FP32_MAX_ABS_DIFF = 1e-4
"""Rounding in another order, no more; in units of the outputs."""
FP32_RELATIVE = 1e-3
"""So that a network whose outputs are all tiny does not pass for nothing."""
FP16_RELATIVE = 5e-3
"""Weights of 11 significant bits: distances are held to this share of the reference's spread."""
INT8_AGREEMENT = 0.9
"""The share of images whose decision must survive int8."""
INT8_RELATIVE = 0.1
"""The distance allowed to an int8 output that decides nothing, of its largest value."""


def artifact_outputs(model: str, load: Loader, feed: str, spec: Any, pixels: Any) -> Outputs:
    """Run an artifact in this process on uint8 N×H×W×C pixels, by the runner's own code."""
    import numpy as np

    from edgekit import runner

    manifest = {
        "feed": feed,
        "input": msgspec.to_builtins(spec.input),
        "outputs": [msgspec.to_builtins(output) for output in spec.outputs],
    }
    invoke = load(model, manifest, 1)
    rows = [[np.array(v[0]) for v in invoke(runner.feed(image, manifest))] for image in pixels]
    return {
        output.name: np.stack([row[index] for row in rows])
        for index, output in enumerate(spec.outputs)
    }


def read_outputs(path: Path, specs: Sequence[OutputSpec], count: int) -> Outputs:
    """Return the outputs a runner saved for `count` images.

    Raises DeviceError where the file is damaged, lacks an output, or has another number of images:
    what a device sends is not trusted.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as saved:
            outputs = {spec.name: saved[spec.name] for spec in specs}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DeviceError(f"the runner's {path.name} cannot be read: {error}") from None
    for name, value in outputs.items():
        if value.ndim < 1 or len(value) != count:
            raise DeviceError(f"the runner's '{name}' is {value.shape}, not for {count} images")
    return outputs


def decisions(values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64] | None:
    """Return the class index of each image, (N,), or None where an output decides nothing.

    `values` is (N, …). A plain tensor of two or more values is read as scores: its argmax.
    """
    import numpy as np

    flat = values.reshape(len(values), -1)
    index: NDArray[np.int64]
    if output.kind == "regression":
        rounded = np.floor(flat[:, 0] + 0.5)
        index = np.clip(rounded, 0, len(output.labels) - 1).astype(np.int64)
        return index
    if flat.shape[1] < 2:
        return None
    index = flat.argmax(axis=1)
    return index


def compare_outputs(
    ours: Outputs, reference: Outputs, outputs: tuple[OutputSpec, ...]
) -> tuple[OutputParity, ...]:
    """Return each output's distance and agreement. Raises ValueError where shapes differ."""
    import numpy as np

    records = []
    for output in outputs:
        mine, theirs = ours[output.name], reference[output.name]
        if mine.shape != theirs.shape:
            raise ValueError(f"output '{output.name}' is {mine.shape}, the model's {theirs.shape}")
        distance = np.abs(mine.astype(np.float64) - theirs)
        decided, expected = decisions(mine, output), decisions(theirs, output)
        agreement = None
        if decided is not None and expected is not None:
            agreement = float((decided == expected).mean())
        records.append(
            OutputParity(output.name, float(distance.max()), float(distance.mean()), agreement)
        )
    return tuple(records)


def judge(
    records: tuple[OutputParity, ...],
    reference: Outputs,
    precision: Precision,
    images: tuple[str, ...],
    min_agreement: float = INT8_AGREEMENT,
    *,
    random_weights: bool = False,
) -> ParityRecord:
    """Return the parity record of an artifact: its distances and whether they pass its bar.

    With `random_weights` an int8 artifact is only held to finite outputs: an untrained network's
    scores are all but tied, and which one wins says nothing. NaN anywhere fails: no comparison
    with it is true.
    """
    if random_weights and precision == "int8":
        bar = "finite outputs only: random weights decide nothing"
        return ParityRecord(images, records, bar, all(isfinite(r.max_abs_diff) for r in records))
    judges = {"fp32": _judge_fp32, "fp16": _judge_fp16, "int8": _judge_int8}
    bar, passed = judges[precision](records, reference, min_agreement)
    return ParityRecord(images, records, bar, passed)


def largest(reference: Outputs, record: OutputParity) -> float:
    """Return the largest absolute value of a reference output over the images."""
    return float(abs(reference[record.name]).max())


def _judge_fp32(
    records: tuple[OutputParity, ...], reference: Outputs, min_agreement: float
) -> tuple[str, bool]:
    bar = (
        f"max abs difference ≤ {FP32_MAX_ABS_DIFF:g}, "
        f"and ≤ {FP32_RELATIVE:g} of the output's largest value"
    )
    return bar, all(
        record.max_abs_diff <= min(FP32_MAX_ABS_DIFF, FP32_RELATIVE * largest(reference, record))
        for record in records
    )


def _judge_fp16(
    records: tuple[OutputParity, ...], reference: Outputs, min_agreement: float
) -> tuple[str, bool]:
    bar = f"max abs difference ≤ {FP16_RELATIVE:g} of the output's largest value"
    return bar, all(
        record.max_abs_diff <= FP16_RELATIVE * largest(reference, record) for record in records
    )


def _judge_int8(
    records: tuple[OutputParity, ...], reference: Outputs, min_agreement: float
) -> tuple[str, bool]:
    """Hold every output to the agreement; one that decides nothing, to a tenth of its size."""
    bar = f"agreement ≥ {min_agreement:.0%} on every output"
    return bar, all(
        record.agreement >= min_agreement
        if record.agreement is not None
        else record.max_abs_diff <= INT8_RELATIVE * largest(reference, record)
        for record in records
    )
