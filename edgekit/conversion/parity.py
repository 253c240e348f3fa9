"""Parity: does an artifact compute what the source model computes, on real images?"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import OutputParity, ParityRecord, Precision
from edgekit.outputs import Outputs

if TYPE_CHECKING:
    from edgekit.onboard.runner import Loader


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

    from edgekit.onboard import runner

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
        return ParityRecord(
            images=images,
            outputs=records,
            bar=bar,
            passed=all(isfinite(r.max_abs_diff) for r in records),
        )
    judges = {"fp32": _judge_fp32, "fp16": _judge_fp16, "int8": _judge_int8}
    bar, passed = judges[precision](records, reference, min_agreement)
    return ParityRecord(images=images, outputs=records, bar=bar, passed=passed)


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
