"""The analytic predictor: an artifact's own operators, priced by the coefficients of its runtime.

It runs nothing and needs no emulator. Which published rows speak for a runtime of ours is said in
SPEAKS_FOR, and every prediction repeats it.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UserError, did_you_mean
from edgekit.files import sha256
from edgekit.latency_model import Accuracy, Method, Prediction, Setting
from edgekit.latency_model.analytic import coefficients as files
from edgekit.latency_model.analytic.coefficients import (
    Coefficients,
    CoreCoefficients,
    GroupCoefficients,
)
from edgekit.latency_model.analytic.intervals import widened
from edgekit.latency_model.analytic.observations import Group, computed_in, terms
from edgekit.latency_model.evidence import ALL_CORES, folder
from edgekit.latency_model.operators import workload_of
from edgekit.latency_model.workload import Workload
from edgekit.runtimes.table import deployed

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

FILE = "analytic.json"

SPEAKS_FOR = {
    **{runtime.name: runtime.kernels for runtime in deployed()},
    **{kernels: (kernels,) for kernels in ("ruy", "armnn", "ncnn", "tengine")},
}
"""A runtime's kernels, the best evidence first. The last four are no runtime of ours: they let a
prediction be held to other people's measurements."""

HELD = (0.85, 0.95)
"""The share of left-out families that an interval must have held to be called calibrated; one of
90 % that held all of them is too wide, or they are too few to tell."""

FAR = 0.2
"""How much more of a network may be large convolutions than in any row before its group's errors
say nothing of it."""

OURS = tuple(runtime.name for runtime in deployed())
"""Runtimes that edgekit ships artifacts for: no published row is of the release a board gets."""

ARITHMETIC = {
    "fp32": "fp32",
    "fp16": "fp32",
    "fp16-compute": "fp32",
    "int8": "int8",
    "int8-dynamic": "int8",
}
"""What a precision is priced as. fp16 artifacts hold half-sized weights and compute in fp32; of
runtimes that compute in half precision no row is known, so fp16-compute is float32's price too."""

DOUBTS = {
    "fp16": "fp16 priced as fp32: its weights are half as large, and that is not in it",
    "fp16-compute": "no row of this runtime computes in half precision: priced as fp32",
    "int8-dynamic": "int8-dynamic priced as int8: what its ranges cost is not in it",
}
"""What a prediction says of a precision that has no price of its own."""


class AnalyticPredictor:
    """Prices operators by the coefficients in the file `path`."""

    name: Method = "analytic"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: Coefficients = files.load(path)
        self.coefficients = sha256(path)

    def predict(self, artifact: Artifact, setting: Setting) -> Prediction:
        """Return what one inference would take; see Predictor."""
        return self.price(workload_of(artifact), artifact.manifest.precision, setting)

    def price(self, work: Workload, precision: str, setting: Setting) -> Prediction:
        """Return the prediction for operators that were counted already.

        Raises UserError for a target whose core no row of the evidence has, or an unknown runtime.
        """
        if setting.runtime not in SPEAKS_FOR:
            raise UserError(did_you_mean("runtime", setting.runtime, list(SPEAKS_FOR)))
        core, own = core_of(setting), SPEAKS_FOR[setting.runtime][0]
        dtype = computed_in(own, core, ARITHMETIC[precision])
        found, doubts = self._stands_on(work, core, dtype, setting)
        kernels = found.kernels if isinstance(found, GroupCoefficients) else own
        group = Group(kernels=kernels, core=core, dtype=dtype, bits=64)
        prices, clock = files.in_order(found.coefficients), setting.clock_mhz
        seconds = float(terms(work, group, setting.threads, clock) @ prices)
        half = found.half
        if work.unseen:
            doubts.append(f"operators that no evidence has: {', '.join(work.unseen)}")
        threads = 0.0
        if setting.threads not in _threads(found):
            # The law shares work better than threads do: it keeps what was seen of its speed-ups.
            measured = float(terms(work, group, max(_threads(found)), clock) @ prices)
            seconds = measured * (seconds / measured) ** self.known.thread_share
            threads = self.known.thread_half
            doubts.append("no such row has that many threads")
        if precision in DOUBTS:
            doubts.append(DOUBTS[precision])
        half = widened(half, threads=threads, unseen=bool(work.unseen))
        return Prediction(
            seconds=seconds,
            low=seconds * exp(-half),
            high=seconds * exp(half),
            coverage=self.known.coverage,
            calibrated=not doubts,
            why="; ".join([_standing(found), *doubts]),
            method=self.name,
        )

    def kernels_for(self, work: Workload, precision: str, setting: Setting) -> str:
        """Return the kernels whose coefficients a prediction uses, or would belong to."""
        found, _ = self._stands_on(work, core_of(setting), ARITHMETIC[precision], setting)
        own = SPEAKS_FOR[setting.runtime][0]
        return found.kernels if isinstance(found, GroupCoefficients) else own

    def check(self) -> tuple[tuple[Accuracy, ...], tuple[str, ...]]:
        """Return the errors of left-out rows, rebuilt from the evidence, and their notes."""
        from edgekit.latency_model.analytic.accuracy import rebuild

        found = rebuild(self.known.folds)
        return found.rows, found.notes

    def _stands_on(
        self, work: Workload, core: str, dtype: str, setting: Setting
    ) -> tuple[GroupCoefficients | CoreCoefficients, list[str]]:
        """Return the coefficients to use and what is to be said against them."""
        for place, kernels in enumerate(SPEAKS_FOR[setting.runtime]):
            groups = [
                g
                for g in self.known.groups
                if (g.kernels, g.core, g.dtype) == (kernels, core, dtype)
            ]
            if not groups:
                continue
            found = max(groups, key=lambda group: group.bits)
            doubts = []
            if place:
                first = SPEAKS_FOR[setting.runtime][0]
                doubts.append(f"{first} has no {dtype} row on {core}; {kernels} shares its kernels")
                found = replace(found, half=max(found.half, self._foreign(core, dtype).half))
            if found.standing == "scaled":
                doubts.append(f"one family of networks only ({found.families[0]})")
            if found.bits != 64:
                doubts.append(f"its rows are of a {found.bits}-bit system")
            if not found.threads_stated:
                doubts.append("its rows do not state their threads")
            if found.covered is not None and not HELD[0] <= found.covered <= HELD[1]:
                doubts.append(
                    f"such intervals held {found.covered:.1%} of its families left out, not 85 to "
                    "95 %"
                )
            if setting.runtime in OURS and not found.user_rows:
                doubts.append("its rows are of an older release")
            if work.conv_share > found.conv_share + FAR:
                doubts.append(
                    f"{work.conv_share:.0%} of its multiply-accumulates are in convolutions "
                    f"larger than 1×1, at most {found.conv_share:.0%} in the rows"
                )
            if doubts:
                least = self.known.scaled_half[found.group.kind]
                found = replace(found, half=max(found.half, least))
            return found, doubts
        kernels = SPEAKS_FOR[setting.runtime][0]
        return self._foreign(core, dtype), [f"no {dtype} row of {kernels} on {core}"]

    def _foreign(self, core: str, dtype: str) -> CoreCoefficients:
        kind = Group(kernels="", core=core, dtype=dtype, bits=64).kind
        for item in self.known.cores:
            if (item.core, item.kind) == (core, kind):
                return item
        cores = sorted({item.core for item in self.known.cores})
        raise UserError(
            f"no evidence on {core or 'that core'}: latency is predicted for {', '.join(cores)}"
        )


def open_predictor(path: Path | None = None) -> AnalyticPredictor:
    """Return the predictor with the coefficients of `path`, those that ship where it is None.

    Raises UserError where the file is damaged.
    """
    return AnalyticPredictor(path or folder() / FILE)


def core_of(setting: Setting) -> str:
    """Return the target's core as the evidence spells it, '' where its profile names none."""
    core = setting.target.hardware.core
    return core.value if core else ""


def _threads(found: GroupCoefficients | CoreCoefficients) -> tuple[int, ...]:
    return found.threads if isinstance(found, GroupCoefficients) else (1, ALL_CORES)


def _standing(found: GroupCoefficients | CoreCoefficients) -> str:
    """Return in words what the prediction stands on."""
    if isinstance(found, CoreCoefficients):
        return f"stands on {', '.join(found.kernels)} ({found.kind}) on {found.core}"
    own = f", {found.user_rows} of them yours" if found.user_rows else ""
    families = len(found.families)
    missed = "" if found.mape is None else f"; left out, they were missed by {found.mape:.0%}"
    return (
        f"stands on {found.rows} rows{own} of {families} famil{'y' if families == 1 else 'ies'}, "
        f"{found.group.title}{missed}"
    )
