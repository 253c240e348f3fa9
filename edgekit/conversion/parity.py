"""Parity: does an artifact compute what the source model computes, on real images?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import Feed, Grain, OutputParity, ParityRecord, Precision, grain
from edgekit.conversion.doubts import constant, doubts_of
from edgekit.graph import Noise, contract_of
from edgekit.kinds import Kind, kind_of
from edgekit.onboard.runner import METRICS, Distances, read_with
from edgekit.outputs import Outputs, compare_outputs, ties
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.onboard.runner import Loader


FP32_NOISE = 4.0
"""fp32 may differ by this many times PyTorch's own distance from float64. A runtime adds and
multiplies in another order, so it is about as far from float64 as PyTorch is, on another side; some
kernels (Winograd's) round a few times more."""
FP32_OF_LARGEST = 2.0**-16
"""And by this share of the output's largest value, 128 times the last bit of a float32: where
PyTorch's sums happen to be nearly exact, a runtime that adds thousands of values one after another
is further off. Converters that compute something else are off by 1e-3 and more."""
FP32_OF_ONE = 2.0**-22
"""Probabilities may also be off by this, four last bits of 0.5: runtimes compute a sigmoid as 0.5
and a remainder, so that a probability of 1e-5 has the absolute rounding of one of a half."""
FP32_UNMEASURED = 2e-4
"""The share of the largest value instead of both, where the model cannot be run in float64."""
FP32_SPREAD = 1e-3
"""And every slice of a plain tensor may be off by this share of its own spread (RMS), beside
FP32_NOISE times PyTorch's own: small quantities beside large ones are held to their own size."""
FP16_OF_LARGEST = 5e-3
"""Weights of 11 significant bits: distances are held to this share of the largest value."""
FP16_SPREAD = 0.05
"""And every slice of a plain tensor to this share of its own spread (RMS)."""
HALF_OF_LARGEST = 0.03
"""The same, beside equal decisions, where sums of hundreds of products are rounded to 11 bits at
every step: sound kernels were 0.002 to 0.012 off on an emulated Cortex-A76, a wrong one 0.2."""
HALF_SPREAD = 0.1
"""And the share of its own spread for every slice of a plain tensor."""
INT8_AGREEMENT = 0.9
"""The share of images whose decision must survive int8."""
INT8_SPREAD = 0.2
"""The RMS distance allowed to a slice of a plain int8 tensor, as a share of its own spread. Numbers
rounded to k steps over their range are off by 1/k of their spread: at 0.2 about five steps are
left. Sound int8 networks are at 0.01 to 0.15, scores that share a scale with boxes at 0.5 on."""
FLOAT_MATCHED = 0.999
"""The share of boxes, less the distances of their scores, that fp32 and fp16 must keep."""
EQUAL_VALUES = 0.999
"""The share of integers and booleans that must be equal in fp32 and fp16: a tie may turn over."""
MIXED_RANGES = 30.0
"""A slice this many times smaller than the largest gets fewer than nine of int8's 255 steps."""


def artifact_outputs(model: str, load: Loader, feed: Feed, spec: Any, pixels: Any) -> Outputs:
    """Run an artifact in this process on pixels or arrays by name, by the runner's own code."""
    import numpy as np

    from edgekit.onboard import runner

    manifest = {
        **contract_of(spec, feed),
        "outputs": [msgspec.to_builtins(output) for output in spec.outputs],
    }
    invoke = load(model, manifest, 1)
    rows = [
        [np.array(runner.of_one(v), np.float32) for v in invoke(runner.feed(image, manifest))]
        for image in pixels
    ]
    return {
        output.name: np.stack([row[index] for row in rows])
        for index, output in enumerate(spec.outputs)
    }


def judge(
    ours: Outputs,
    reference: Outputs,
    outputs: tuple[OutputSpec, ...],
    precision: Precision,
    images: tuple[str, ...],
    min_agreement: float = INT8_AGREEMENT,
    *,
    noise: Mapping[str, Noise] | None = None,
    random_weights: bool = False,
) -> ParityRecord:
    """Return the parity record of an artifact: its distances, and whether each output passes.

    `noise` is PyTorch's own rounding by output; empty or None where it is not known.

    - fp32, any output: max |difference| ≤ FP32_NOISE × noise + FP32_OF_LARGEST × largest value;
      of probabilities at least FP32_OF_ONE; without noise ≤ FP32_UNMEASURED × largest value.
    - fp16: ≤ FP16_OF_LARGEST × largest value; fp16-compute: ≤ HALF_OF_LARGEST × largest value.
    - int8, an output that decides: `min_agreement` of the decisions are the same, or changed
      between two that the model itself nearly ties (outputs.ties).
    - int8, an output whose kind has a metric (edgekit/kinds): at least the kind's own bar.
    - int8, a value: within INT8_SPREAD of its spread.
    - a plain tensor, in every precision: each slice along its channels or its last axis is within
      a share of its own spread (runner.Distances; FP32_SPREAD, FP16_SPREAD, INT8_SPREAD).
    - an output that holds a detection's boxes or classes: nothing of its own in int8.
    - boxes that the network sorted itself, in every precision: by the metric of a detection, since
      two that are equally sure may change places; FLOAT_MATCHED in fp32 and fp16.
    - integers and booleans: EQUAL_VALUES of them are equal, in int8 `min_agreement`.

    NaN and infinity never pass. With `random_weights` an int8 artifact is held to nothing else: an
    untrained network's scores are all but tied, and which one wins says nothing. An output that is
    the same on every image must keep that value (int8: to 2 % of its largest), and a doubt is
    recorded: it proves little.
    Raises ValueError where shapes differ.
    """
    case = _Case(
        precision=grain(precision),
        min_agreement=min_agreement,
        images=len(images),
        noise=noise or {},
        random_weights=random_weights,
    )
    records = compare_outputs(ours, reference, outputs)
    sorted_parts = {part for output in outputs if output.sorted for part in output.parts}
    parts = {part for output in outputs for part in output.parts}
    apart = parts if case.precision == "int8" else sorted_parts
    judged = [
        _finite(record, ours[output.name], output) or _Judged(record, "")
        if output.name in apart
        else _judge(case, record, ours, reference, output)
        for record, output in zip(records, outputs, strict=True)
    ]
    faults = tuple(fault for item in judged for fault in item.faults)
    doubts = () if random_weights else (*doubts_of(reference, outputs), *_told_ties(judged, images))
    return ParityRecord(
        images=images,
        outputs=tuple(item.record for item in judged),
        bar="; ".join(dict.fromkeys(item.bar for item in judged if item.bar)),
        passed=not faults,
        faults=faults,
        doubts=doubts,
    )


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What all outputs of one artifact are judged by."""

    precision: Grain
    min_agreement: float
    images: int
    noise: Mapping[str, Noise]
    random_weights: bool


@dataclass(frozen=True)
class _Judged:
    """One output's record, the bar it was held to, and what did not pass."""

    record: OutputParity
    bar: str
    faults: tuple[str, ...] = ()


def _finite(record: OutputParity, ours: NDArray[np.float32], output: OutputSpec) -> _Judged | None:
    """Return the fault of an output that holds NaN or infinity, None where it holds none."""
    import numpy as np

    bad = int((~np.isfinite(ours)).reshape(len(ours), -1).any(axis=1).sum())
    fault = f"'{output.name}' is NaN or infinite on {bad} of {len(ours)} images"
    return _Judged(record, "finite outputs", (fault,)) if bad else None


def _judge(
    case: _Case,
    record: OutputParity,
    all_ours: Outputs,
    all_reference: Outputs,
    output: OutputSpec,
) -> _Judged:
    """Judge one output; its name leads every fault."""
    name, ours, reference = f"'{output.name}'", all_ours[output.name], all_reference[output.name]
    if broken := _finite(record, ours, output):
        return broken
    if case.random_weights and case.precision == "int8":
        return _Judged(record, "finite outputs only: random weights decide nothing")
    kind = kind_of(output)
    by_metric = output.sorted or (case.precision == "int8" and kind.JUDGED_BY == "metric")
    if reference.dtype.kind in "biu" and not by_metric:
        return _judge_integers(case, record, ours, reference, name)
    if by_metric:
        least = kind.LEAST if case.precision == "int8" else FLOAT_MATCHED
        judged = _judge_metric(kind, record, all_ours, all_reference, output, least)
    elif case.precision != "int8":
        judged = _judge_largest(case, record, reference, output)
        if case.precision == "half" and record.agreement is not None:
            decided = _judge_decisions(case, judged.record, ours, reference, output)
            judged = _Judged(
                decided.record,
                f"{judged.bar}; {decided.bar}",
                (*judged.faults, *decided.faults),
            )
    elif record.agreement is None:
        judged = _Judged(record, "")
    else:
        judged = _judge_decisions(case, record, ours, reference, output)
    by_spread = kind.JUDGED_BY == "spread" or constant(reference)
    if output.kind == "tensor" or (case.precision == "int8" and by_spread):
        judged = _judge_slices(case, judged, ours, reference, output)
    return judged


def _judge_decisions(
    case: _Case,
    record: OutputParity,
    ours: NDArray[np.float32],
    reference: NDArray[np.generic],
    output: OutputSpec,
) -> _Judged:
    """Hold int8's decisions to the model's; one that changed between near ties costs nothing."""
    tied = ties(ours, reference, output)  # type: ignore[arg-type]
    count = 0 if tied is None else int(tied.sum())
    share, least = record.agreement or 0.0, case.min_agreement
    excused = f", and {count} changed between near ties" if count else ""
    fault = (
        f"'{output.name}': {share:.1%} of the decisions are the same{excused}, {least:.0%} needed"
    )
    return _Judged(
        replace(record, ties=count),
        f"agreement ≥ {least:.0%}, near ties aside",
        () if share + count / case.images >= least else (fault,),
    )


def _judge_metric(
    kind: Kind,
    record: OutputParity,
    ours: Outputs,
    reference: Outputs,
    output: OutputSpec,
    least: float,
) -> _Judged:
    """Hold an output to what the users of its kind judge by."""
    name, metric = METRICS[output.kind]
    told = msgspec.to_builtins(output)
    score = metric(read_with(told, ours), read_with(told, reference), told)
    fault = f"'{output.name}': {name} {score:.3g}{kind.UNIT}, {least:g}{kind.UNIT} needed"
    return _Judged(
        replace(record, metric=name, score=score),
        f"{name} ≥ {least:g}{kind.UNIT}",
        () if score >= least else (fault,),
    )


def _judge_integers(
    case: _Case,
    record: OutputParity,
    ours: NDArray[np.float32],
    reference: NDArray[np.generic],
    name: str,
) -> _Judged:
    """Hold classes, indices and masks to equal values: a distance between them means nothing."""
    share = float((ours == reference).mean())
    least = case.min_agreement if case.precision == "int8" else EQUAL_VALUES
    fault = f"{name}: {share:.2%} of the values are the same, {least:.1%} needed"
    return _Judged(
        replace(record, agreement=None, equal=share),
        f"equal values ≥ {least:.1%}",
        () if share >= least else (fault,),
    )


def _judge_largest(
    case: _Case, record: OutputParity, reference: NDArray[np.generic], output: OutputSpec
) -> _Judged:
    """Hold the largest difference of an fp32 or fp16 output to its rounding."""
    largest = float(abs(reference).max())
    noise = case.noise.get(record.name)
    if case.precision in {"fp16", "half"}:
        share = FP16_OF_LARGEST if case.precision == "fp16" else HALF_OF_LARGEST
        allowed, why = share * largest, f"{share:g} of the largest value"
    elif noise is None:
        allowed, why = FP32_UNMEASURED * largest, f"{FP32_UNMEASURED:g} of the largest value"
    else:
        allowed = FP32_NOISE * noise.max_abs_diff + FP32_OF_LARGEST * largest
        why = (
            f"{FP32_NOISE:g} × PyTorch's own rounding + {FP32_OF_LARGEST:.2g} of the largest value"
        )
        if output.scores == "probabilities" and allowed < FP32_OF_ONE:
            allowed, why = FP32_OF_ONE, "the rounding of a probability of a half"
    fault = f"'{record.name}' is {record.max_abs_diff:.3g} off, {allowed:.3g} allowed ({why})"
    return _Judged(
        replace(record, allowed=allowed),
        f"max abs difference ≤ {why}",
        () if record.max_abs_diff <= allowed else (fault,),
    )


def _judge_slices(
    case: _Case,
    judged: _Judged,
    ours: NDArray[np.float32],
    reference: NDArray[np.generic],
    output: OutputSpec,
) -> _Judged:
    """Hold every slice of a plain tensor to its own spread."""
    allowed = {
        "fp32": FP32_SPREAD, "fp16": FP16_SPREAD, "half": HALF_SPREAD, "int8": INT8_SPREAD,
    }[case.precision]  # fmt: skip
    noise = case.noise.get(output.name)
    if case.precision == "fp32" and noise is not None:
        allowed += FP32_NOISE * noise.relative
    one_range = output.scores == "probabilities" or constant(reference)
    distances = Distances(ours, reference, one_range)
    bar = f"RMS difference ≤ {allowed:.2g} of each slice's own spread"
    faults = _slice_faults(distances, f"'{output.name}'", allowed, case.precision)
    return _Judged(
        replace(judged.record, relative=distances.worst),
        "; ".join(filter(None, (judged.bar, bar))),
        (*judged.faults, *faults),
    )


def _slice_faults(distances: Distances, name: str, allowed: float, precision: Grain) -> list[str]:
    """Return a line for the axis whose slices are worst, or for the whole, or nothing."""
    limit = f"{allowed:.2g} of the spread allowed"
    for axis, (found, tops) in sorted(
        distances.axes.items(), key=lambda item: -float(item[1][0].max())
    ):
        failed = [index for index, value in enumerate(found) if not value <= allowed]
        if not failed:
            continue
        where = f"{name}, {_ranges(failed)} of {len(found)} along axis {axis}"
        reach, largest = float(tops[failed].max()), float(tops.max())
        if precision == "int8" and reach * MIXED_RANGES < largest:
            return [
                f"{where}: values up to {reach:.3g} share one int8 scale with values up to "
                f"{largest:.4g}, and are lost: split boxes from scores, that is, let forward "
                "return the small values as an output of their own"
            ]
        return [f"{where}: off by {float(found.max()):.2g} of their spread (RMS), {limit}"]
    if not distances.whole <= allowed:
        return [f"{name}: off by {distances.whole:.2g} of its spread (RMS), {limit}"]
    return []


def _ranges(indices: list[int]) -> str:
    """Return `index 3` or `indices 4-83, 90` for ascending numbers."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    shown = ", ".join(words[:5]) + (", …" if len(words) > 5 else "")
    return f"{'index' if len(indices) == 1 else 'indices'} {shown}"


def _told_ties(judged: Iterable[_Judged], images: tuple[str, ...]) -> list[str]:
    """Return a line for every output with decisions that changed between near ties."""
    return [
        f"'{item.record.name}': {item.record.ties} of {len(images)} decisions changed between "
        "classes that the model itself nearly ties; these do not count"
        for item in judged
        if item.record.ties
    ]
