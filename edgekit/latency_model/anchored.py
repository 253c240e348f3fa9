"""Predictions moved by own measurements: one model timed on the board scales all others there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

from edgekit.artifact import Artifact, Precision, grain
from edgekit.latency_model import Accuracy, Method, Prediction, Predictor, Setting
from edgekit.latency_model.anchoring import Anchoring
from edgekit.latency_model.executed.predictor import KERNELS
from edgekit.measurement.summary import verdict

if TYPE_CHECKING:
    from edgekit.records import Measurement
    from edgekit.targets import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """A measured artifact: how many times what was predicted it took, as a log."""

    artifact: Artifact
    runtime: str
    kind: str
    threads: int
    log_factor: float


def kind_of(precision: Precision) -> str:
    """Return `int8`, or `float` for the others."""
    return "int8" if grain(precision) == "int8" else "float"


def anchors_of(
    measurements: Sequence[Measurement],
    artifacts: Sequence[Artifact],
    target: Target,
    predictor: Predictor,
) -> tuple[tuple[Anchor, ...], tuple[str, ...]]:
    """Return the measurements that can anchor, and one line on each that cannot."""
    by_sha = {artifact.sha256: artifact for artifact in artifacts}
    found: list[Anchor] = []
    left: list[str] = []
    for item in measurements:
        artifact = by_sha.get(item.artifact.sha256)
        doubt = verdict(item)
        if item.provenance != "measured" or item.target != target.name:
            left.append(f"{item.title}: {item.provenance} on {item.target}, not on {target.name}")
        elif artifact is None:
            left.append(f"{item.title}: its artifact is not among those given")
        elif doubt != "ok":
            left.append(f"{item.title}: {doubt}")
        else:
            setting = Setting(
                target=target,
                runtime=item.runtime,
                threads=item.threads,
                clock_mhz=clock_of(item, target),
            )
            predicted = predictor.predict(artifact, setting).seconds
            took = float(np.median([sample for r in item.rounds for sample in r.invoke_s]))
            kind = kind_of(item.artifact.precision)
            found.append(
                Anchor(
                    artifact=artifact,
                    runtime=item.runtime,
                    kind=kind,
                    threads=item.threads,
                    log_factor=log(took / predicted),
                )
            )
    return tuple(found), tuple(left)


def clock_of(item: Measurement, target: Target) -> float:
    """Return the clock in MHz a measurement ran at: the median of what the device reported.

    The target's own where the device could not tell.
    """
    ticks = [value for each in item.rounds for value in each.clock_mhz if value]
    nominal = target.hardware.clock_mhz
    return float(np.median(ticks)) if ticks else float(nominal.value if nominal else 0)


class AnchoredPredictor:
    """A predictor whose predictions are moved by own measurements of the same board and runtime.

    `known` is what anchors are worth.
    """

    def __init__(
        self, base: Predictor, anchors: Sequence[Anchor], known: Sequence[Anchoring]
    ) -> None:
        self.base, self.anchors, self.known = base, anchors, known
        self.name: Method = base.name
        self.coefficients = base.coefficients

    def predict(self, artifact: Artifact, setting: Setting) -> Prediction:
        """Return what one inference would take; as it was where no anchor speaks for it.

        An anchor speaks for its runtime in its arithmetic, and first for its own thread count.
        """
        found = self.base.predict(artifact, setting)
        kind = kind_of(artifact.manifest.precision)
        speaking = [
            anchor for anchor in self.anchors
            if (anchor.runtime, anchor.kind) == (setting.runtime, kind)
        ]  # fmt: skip
        known = [each for each in self.known if each.kind == kind]
        if not speaking or not known:
            return replace(found, why=f"{found.why}; no anchor of {setting.runtime} in {kind}")
        same = [anchor for anchor in speaking if anchor.threads == setting.threads]
        used = same or speaking
        models = {anchor.artifact.manifest.model for anchor in used}
        told = [each for each in known if each.anchors <= len(models)]
        worth = max(told or known[:1], key=lambda each: each.anchors)
        believed = worth.believed(KERNELS.get(setting.runtime, setting.runtime))
        moved = believed * float(np.mean([anchor.log_factor for anchor in used]))
        seconds = found.seconds * exp(moved)
        half, doubts = worth.narrower * log(found.high / found.seconds), []
        if not same:
            half *= 2
            doubts.append(f"no anchor has {setting.threads} threads")
        if not 0.85 <= worth.covered <= 0.95:
            doubts.append(f"such intervals held {worth.covered:.0%} of the evidence")
        said = (
            f"anchored by {len(models)} of your models, times {exp(moved):.2f}; on the evidence "
            f"that leaves {worth.mape:.1%} on average"
        )
        low, high = seconds * exp(-half), seconds * exp(half)
        return Prediction(
            seconds=seconds,
            low=low,
            high=high,
            coverage=found.coverage,
            calibrated=not doubts,
            why="; ".join([said, *doubts]),
            method=found.method,
        )

    def check(self) -> tuple[tuple[Accuracy, ...], tuple[str, ...]]:
        """Return the errors of the method without anchors, and their notes."""
        return self.base.check()
