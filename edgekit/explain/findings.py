"""The rules: each looks at what was executed and says what slows it, where, and the remedy.

Nothing is guessed from the model file: what a runtime fuses away or moves out is no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgekit.artifact import Precision
from edgekit.explain.operators import LAYOUT, RUN_TIME_QUANTIZED, Operator

Severity = Literal["warning", "board", "note"]
"""`warning`: the artifact can be made faster. `board`: a limit of the hardware. `note`: a fact."""

LARGE = 0.05
"""The share of the cost, or of the bytes written where that is not known, that makes a warning."""
TINY = 0.02
"""Below this share of the bytes written a time is mostly the profiler's own: never a warning."""

XNNPACK = "XNNPACK"
TFLITE_OUTSIDE = "built-in kernels"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing found. `share` is its part of all operators' cost, 0 to 1: of their time, or of
    their instructions where an emulator counted; None where neither is known."""

    severity: Severity
    what: str
    where: str
    share: float | None
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the rules look at. `dot_product`: whether the target has it for int8; None: unknown.

    `pixels`: whether an image goes in, for which the contract prepares it in the graph.
    """

    operators: tuple[Operator, ...]
    precision: Precision
    target: str
    dot_product: bool | None
    pixels: bool = True

    @property
    def body(self) -> tuple[Operator, ...]:
        """The operators from the first convolution or matrix product on.

        What stands before is the contract's input stage: cast, normalise, quantize the pixels.
        """
        first = next((i for i, o in enumerate(self.operators) if o.is_product), 0)
        return self.operators[first:]

    @property
    def products(self) -> tuple[Operator, ...]:
        """The convolutions and matrix products."""
        return tuple(operator for operator in self.operators if operator.is_product)

    def share(self, operators: Sequence[Operator]) -> float | None:
        """Return the operators' part of the cost, or None where it is not known."""
        total = sum(operator.cost or 0 for operator in self.operators)
        return sum(operator.cost or 0 for operator in operators) / total if total else None

    def severity(self, operators: Sequence[Operator]) -> Severity:
        """Return `warning` for operators that cost a part worth saving, else `note`."""
        total = sum(operator.bytes_written for operator in self.operators)
        written = sum(operator.bytes_written for operator in operators) / max(total, 1)
        share = self.share(operators)
        cost = written if share is None else share
        return "warning" if cost >= LARGE and written >= TINY else "note"

    def finding(
        self, severity: Severity, what: str, operators: Sequence[Operator], remedy: str
    ) -> Finding:
        """Return a finding on these operators."""
        return Finding(
            severity=severity,
            what=what,
            where=_named(operators),
            share=self.share(operators),
            remedy=remedy,
        )


def judge(case: Case) -> tuple[Finding, ...]:
    """Return every rule's findings: warnings first, then the board's limits, then notes."""
    found = [finding for rule in RULES for finding in rule(case)]
    order = {"warning": 0, "board": 1, "note": 2}
    return tuple(sorted(found, key=lambda f: (order[f.severity], -(f.share or 0))))


def float_products(case: Case) -> Iterator[Finding]:
    """Convolutions and matrix products of an int8 artifact that ran in float."""
    if case.precision != "int8":
        return
    fallen = [o for o in case.products if o.arithmetic == "float"]
    if not fallen:
        return
    yield case.finding(
        "warning",
        f"{len(fallen)} of {len(case.products)} convolutions and matrix products of this int8 "
        "artifact ran in float",
        fallen,
        "quantize them and their neighbours; where the guard kept them in float (manifest, notes) "
        "raise --max-drop; where this runtime lacks them in int8 here, take another backend",
    )


def float_halves(case: Case) -> Iterator[Finding]:
    """Convolutions and matrix products of an artifact for half precision that ran in float32."""
    fallen = [o for o in case.products if o.arithmetic == "float"]
    if case.precision != "fp16-compute" or not fallen:
        return
    if len(fallen) == len(case.products):
        yield case.finding(
            "board",
            "computed in float32: this CPU, or this runtime, has no half-precision arithmetic",
            fallen,
            "the costs are float32's; LiteRT and OpenVINO on a Pi 5 have it: "
            "edgekit explain ARTIFACT --target rpi5",
        )
        return
    yield case.finding(
        "warning",
        f"{len(fallen)} of {len(case.products)} convolutions and matrix products ran in float32, "
        "not in half precision",
        fallen,
        "bench the fp32 artifact beside it and ship the faster",
    )


def islands(case: Case) -> Iterator[Finding]:
    """Float runs between int8 operators: values are dequantized, computed, quantized again."""
    if case.precision != "int8":
        return
    for island in _islands(case.body):
        work = [o for o in island if o.arithmetic == "float"]
        if any(o.is_product for o in work):
            continue  # float_products says it, and its remedy takes the conversions away too
        severity = case.severity(island)
        if not work:
            yield case.finding(
                severity,
                "values are dequantized and at once quantized again",
                island,
                "give both sides one scale and zero point: the pair then falls away",
            )
            continue
        yield case.finding(
            severity,
            f"island of float between int8 layers: {_kinds(work)}",
            island,
            f"replace {_kinds(work)} by what this runtime has in int8, move it to the end of the "
            "network, or keep its neighbours in float too",
        )


def run_time_quantized(case: Case) -> Iterator[Finding]:
    """Activations that are quantized at each call, or not at all: dynamic-range artifacts."""
    found = [
        o
        for o in case.operators
        if o.kind in RUN_TIME_QUANTIZED or (o.is_product and o.arithmetic == "hybrid")
    ]
    if found:
        yield case.finding(
            "warning" if case.precision == "int8" else "note",
            f"int8 weights with float activations (dynamic range): {_kinds(found)}",
            found,
            "quantize statically: edgekit convert --precision int8 --calibration IMAGES",
        )


def outside_delegate(case: Case) -> Iterator[Finding]:
    """Operators of TFLite that the XNNPACK delegate did not take."""
    outside = [o for o in case.body if o.place == TFLITE_OUTSIDE]
    if not outside:
        return
    if not any(o.place == XNNPACK for o in case.operators):
        yield case.finding(
            "warning",
            "the XNNPACK delegate took no operator at all",
            outside,
            "use a runtime built with XNNPACK (ai-edge-litert is), and a model of static shapes",
        )
        return
    places = [operator.place for operator in case.body]
    parts = sum(a != b for a, b in pairwise(places)) // 2 + 1
    yield case.finding(
        case.severity(outside),
        f"outside XNNPACK, cutting its part in {parts}: {_kinds(outside)}",
        outside,
        f"replace {_kinds(outside)} by operators XNNPACK has; built-in kernels are slower, and "
        "every change of hands costs a copy",
    )


def batch_norms(case: Case) -> Iterator[Finding]:
    """Batch norms that run as operators of their own."""
    alone = [o for o in case.operators if o.kind == "BatchNormalization"]
    for first, second in pairwise(case.body):
        if first.kind == "MUL" and second.kind in {"ADD", "SUB"}:
            alone += [first, second] if _per_channel(first) and _per_channel(second) else []
    if alone:
        yield case.finding(
            "warning",
            "batch norm runs by itself, one more pass over its tensor",
            alone,
            "put it right behind a convolution with nothing between: conversion in eval mode then "
            "folds it into the weights",
        )


def layouts(case: Case) -> Iterator[Finding]:
    """Operators in the body that only reorder memory."""
    moved = [o for o in case.body if o.kind in LAYOUT]
    if moved:
        yield case.finding(
            case.severity(moved),
            f"layout changes that compute nothing: {_kinds(moved)}",
            moved,
            "keep one layout throughout: take out permute/transpose pairs from the model, or the "
            "operator between them that forces the other layout",
        )


def no_dot_product(case: Case) -> Iterator[Finding]:
    """A target whose cores lack the int8 dot product."""
    multiplied = [o for o in case.products if o.arithmetic in {"int8", "hybrid"}]
    if multiplied and case.dot_product is False:
        yield case.finding(
            "board",
            f"{case.target} has no int8 dot product (Arm asimddp, x86 VNNI): each int8 product "
            "takes several instructions, and int8 may gain little",
            multiplied,
            "bench the fp32 artifact beside it and ship the faster; rpi5 is a board that has it",
        )


def input_stage(case: Case) -> Iterator[Finding]:
    """What runs before the first layer: the input contract's cast and normalisation."""
    before = case.operators[: len(case.operators) - len(case.body)]
    if before and case.pixels:
        yield case.finding(
            "note",
            f"pixels are prepared in the graph: {_kinds(before)}",
            before,
            "one whole-numbered mean and one std for all channels let int8 TFLite do without it",
        )


RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    float_products,
    float_halves,
    islands,
    run_time_quantized,
    outside_delegate,
    batch_norms,
    layouts,
    no_dot_product,
    input_stage,
)


def _islands(body: Sequence[Operator]) -> Iterator[list[Operator]]:
    """Yield each run of float operators that int8 ones enclose and that ends by quantizing."""
    run: list[Operator] = []
    inside = False
    for operator in body:
        if operator.arithmetic == "int8":
            if inside and any(o.arithmetic == "quantize" for o in run):
                yield run
            run, inside = [], True
        elif operator.arithmetic != "other":
            run.append(operator)


def _per_channel(operator: Operator) -> bool:
    """Tell whether an operator joins a tensor with one value a channel (channels last)."""
    if not operator.outputs or len(operator.inputs) < 2 or not operator.outputs[0].shape:
        return False
    channels = operator.outputs[0].shape[-1]
    sizes = [tensor.numbers for tensor in operator.inputs]
    return channels > 1 and channels in sizes and operator.outputs[0].numbers > channels


def _kinds(operators: Sequence[Operator]) -> str:
    counts = Counter(operator.kind for operator in operators)
    return ", ".join(f"{kind} ×{n}" if n > 1 else kind for kind, n in counts.items())


def _named(operators: Sequence[Operator], listed: int = 3) -> str:
    names = [operator.name for operator in operators[:listed]]
    more = len(operators) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
