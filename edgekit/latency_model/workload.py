"""What one inference has to do, by kind of operator: the facts a latency is predicted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["conv", "pointwise", "depthwise", "dense", "other"]

NUMBER_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of one number of an activation or weight in a precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """One operator that a runtime executes; one inference, batch 1. All are counts, not bytes.

    `macs` are multiply-accumulates. `inputs` and `outputs` count the numbers of the activations it
    reads and writes, `weights` those of its constants. `patches` counts the numbers of the windows
    a convolution larger than 1×1 gathers before it multiplies (im2col). `winograd` is true where
    Winograd's algorithm applies: 3×3 at stride 1, eight channels or more on both sides. `other` is
    all that has no multiply-accumulates: pooling, additions, activations that no runtime fuses.
    `channels` are the output channels of a convolution, of one of its groups where it has several
    and is not depthwise, and 0 of what is none;
    `joins` is true of what only puts whole channels beside or apart from each other.
    """

    kind: Kind
    macs: int
    inputs: int
    outputs: int
    weights: int = 0
    patches: int = 0
    winograd: bool = False
    channels: int = 0
    joins: bool = False


UNCOUNTED = ("unseen", "roundings")
"""The fields of a workload that are no counts of work: the evidence does not have them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The sums over a network's operators that the analytic predictor knows. Counts, no bytes.

    `winograd_macs` are those of `conv_macs` that Winograd's algorithm may compute.
    `depthwise_numbers` and `other_numbers` are read and written by depthwise and by `other`
    operators. `dense_weights` are those used once an inference (fully connected, or a convolution
    of one position), `weights` all the others. `operators` leaves out what a runtime fuses into
    its neighbour or does by pointer. `unseen` names operators that no network of the evidence has.
    `roundings` tells an int8 network from one that keeps more in float: the operators of the file
    that round numbers to integers or back, or that compute in integers, whichever a format has. No
    price depends on it, and two formats of a network may differ in it.
    """

    conv_macs: int
    pointwise_macs: int
    depthwise_macs: int
    dense_macs: int
    depthwise_numbers: int
    other_numbers: int
    patches: int
    weights: int
    dense_weights: int
    operators: int
    winograd_macs: int = 0
    unseen: tuple[str, ...] = ()
    roundings: int = field(default=0, compare=False)

    @property
    def macs(self) -> int:
        """All multiply-accumulates."""
        return self.conv_macs + self.pointwise_macs + self.depthwise_macs + self.dense_macs

    @property
    def conv_share(self) -> float:
        """The share of them, 0 to 1, in convolutions larger than 1×1."""
        return self.conv_macs / self.macs if self.macs else 0.0


def total(
    operators: Iterable[Operator], unseen: Iterable[str] = (), roundings: int = 0
) -> Workload:
    """Return the sums over `operators`."""
    by_kind: dict[Kind, list[Operator]] = {}
    for item in operators:
        by_kind.setdefault(item.kind, []).append(item)

    def macs(kind: Kind) -> int:
        return sum(item.macs for item in by_kind.get(kind, ()))

    def numbers(kind: Kind) -> int:
        return sum(item.inputs + item.outputs for item in by_kind.get(kind, ()))

    items = [item for several in by_kind.values() for item in several]
    dense = sum(item.weights for item in by_kind.get("dense", ()))
    return Workload(
        conv_macs=macs("conv"),
        pointwise_macs=macs("pointwise"),
        depthwise_macs=macs("depthwise"),
        dense_macs=macs("dense"),
        depthwise_numbers=numbers("depthwise"),
        other_numbers=numbers("other"),
        patches=sum(item.patches for item in items),
        weights=sum(item.weights for item in items) - dense,
        dense_weights=dense,
        operators=len(items),
        winograd_macs=sum(item.macs for item in items if item.winograd),
        unseen=tuple(sorted(set(unseen))),
        roundings=roundings,
    )


def convolution(
    inputs: int, outputs: int, *, area: int, channels: int, group_inputs: int, groups: int
) -> Operator:
    """Return a convolution as an operator, its kind by its shape.

    `inputs` and `outputs` count numbers, `area` is the window's, `channels` are the outputs',
    `group_inputs` how many input channels one output sees.
    """
    macs = outputs * area * group_inputs
    weights = channels * area * group_inputs
    positions = outputs // channels
    if positions == 1:
        return Operator(kind="dense", macs=macs, inputs=inputs, outputs=outputs, weights=weights)
    depthwise = group_inputs == 1 and groups > 1
    kind: Kind = "pointwise" if area == 1 else "depthwise" if depthwise else "conv"
    gathers = kind == "conv"
    # Where the positions are nearly as many as before, the stride is 1.
    alike = inputs < 2 * positions * group_inputs * groups
    winograd = gathers and area == 9 and groups == 1 and alike and min(channels, group_inputs) >= 8
    return Operator(
        kind=kind,
        macs=macs,
        inputs=inputs,
        outputs=outputs,
        weights=weights,
        patches=positions * area * group_inputs * groups if gathers else 0,
        winograd=winograd,
        channels=channels if kind == "depthwise" else channels // groups,
    )
