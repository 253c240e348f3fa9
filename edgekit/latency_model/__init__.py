"""The latency of an artifact on a board that is not here, and how wrong that may be.

artifact file ── operators/ ─▶ Workload ─┐
benchmarks/evidence/ ── analytic/fit.py ─▶ coefficients ─▶ analytic/ ─┐
emulated run ─▶ instructions × core model ───────────────▶ executed/ ─┴▶ Prediction

A predictor is one folder here, named by its method, whose `predictor.py` has `open_predictor()`;
nothing heavy is imported before it is opened. Every second is the p50 of one inference, batch 1,
input tensor to outputs, after the warm-up.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.targets import Target

Method = Literal["analytic", "executed"]
METHODS: tuple[Method, ...] = get_args(Method)
"""The predictors there are, each a folder here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where an inference would run: a board, the runner's name of a runtime, threads, clock.

    `clock_mhz` is the cores' clock while it runs, the target profile's where the user names none.
    """

    target: Target
    runtime: str
    threads: int
    clock_mhz: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The latency a model of a board gives, in seconds; nobody measured it.

    `low` and `high` hold a measured p50 with the probability `coverage` (a share, 0 to 1), as found
    on left-out evidence. `calibrated` is False where no evidence is alike enough to say so; the
    interval is then widened by a stated rule, and `why` says what is missing. Where it is True
    `why` names the evidence it stands on.
    """

    seconds: float
    low: float
    high: float
    coverage: float
    calibrated: bool
    why: str
    method: Method

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.seconds <= self.high:
            raise ValueError(f"not an interval: {self.low} to {self.high} around {self.seconds}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """How wrong a predictor is on one group of evidence rows, each predicted without its family.

    `within_10`, `within_20` and `covered` are shares of `rows`, 0 to 1; `mape` and `constant_mape`
    are mean absolute errors as shares of the measured latency; `constant_mape` is the error of a
    one-parameter baseline, seconds per multiply-accumulate, on the same rows left out the same
    way.
    """

    method: Method
    board: str
    runtime: str
    dtype: str
    threads: str
    rows: int
    models: int
    families: int
    mape: float
    within_10: float
    within_20: float
    covered: float
    constant_mape: float | None
    note: str = ""


class Predictor(Protocol):
    """One way to a latency. `coefficients` is the SHA-256 of the file of numbers it read."""

    name: Method
    coefficients: str

    def predict(self, artifact: Artifact, setting: Setting) -> Prediction:
        """Return what one inference would take.

        Raises BadArtifact where the model file cannot be read, UserError where the predictor
        knows nothing at all of the board or the runtime, MissingPackage where it needs one.
        """

    def check(self) -> tuple[tuple[Accuracy, ...], tuple[str, ...]]:
        """Return its errors, rebuilt from the evidence that ships with edgekit, and their notes."""


def open_predictor(method: Method) -> Predictor:
    """Return the predictor of that name, its coefficients read and verified.

    Raises UserError where the coefficients are damaged.
    """
    module = importlib.import_module(f"edgekit.latency_model.{method}.predictor")
    return cast(Predictor, module.open_predictor())
