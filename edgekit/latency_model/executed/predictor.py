"""The executed predictor: what the board's own runtime executes under emulation, timed.

It needs the target's virtual board (`edgekit device install`) and a C compiler. Instructions and
cache lines are counted on one thread and follow the runtime's version; the constants that make
them seconds are a board's, fitted to runtimes that were measured there (fit.py).
"""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import UserError
from edgekit.files import sha256
from edgekit.latency_model import Accuracy, Method, Prediction, Setting
from edgekit.latency_model.analytic.intervals import widened
from edgekit.latency_model.analytic.predictor import OURS
from edgekit.latency_model.evidence import folder
from edgekit.latency_model.executed.coefficients import Constants, in_order, load
from edgekit.latency_model.executed.model import terms
from edgekit.latency_model.executed.run import executed
from edgekit.latency_model.operators import workload_of
from edgekit.runtimes.table import find_runtime

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

FILE = "executed.json"

MEASURED_THREADS = (1, 4)


class ExecutedPredictor:
    """Times what an emulated run executes."""

    name: Method = "executed"

    def __init__(self, path: Path) -> None:
        self.known = load(path)
        self.coefficients = sha256(path)

    def predict(self, artifact: Artifact, setting: Setting) -> Prediction:
        """Return what one inference would take; see Predictor.

        Raises DeviceError where the virtual board is not installed, with the command that does it.
        """
        board = self._board(setting)
        operators = workload_of(artifact).operators
        work = executed(setting.target, artifact, setting.runtime)
        cost = terms(work, operators, setting.threads, setting.clock_mhz)
        seconds = float(cost @ in_order(board.constants))
        kind = "int8" if artifact.manifest.precision == "int8" else "float"
        runtime = find_runtime(setting.runtime)
        # The rows are of 2022: what a library has gained since is in the run, not in these.
        kernels = runtime.kernels[0] if runtime and runtime.kernels else setting.runtime
        half, off = board.half[kind], board.off.get(f"{kernels} {kind}")
        doubts = []
        if off is None:
            doubts.append(f"{setting.runtime} has no {kind} row of its own")
        elif abs(off) > half:
            doubts.append(f"{kernels}' own {kind} rows took {exp(off):.2f} times what is predicted")
        if setting.runtime in OURS:
            doubts.append("its rows are of an older release")
        half = widened(max(half, abs(off or 0)), unseen=bool(doubts))
        if setting.threads not in MEASURED_THREADS:
            doubts.append(f"no row has {setting.threads} threads")
            half = widened(half, unseen=True)
        known = f"stands on {board.rows} rows of {', '.join(board.kernels)} on {board.core}"
        return Prediction(
            seconds=seconds,
            low=seconds * exp(-half),
            high=seconds * exp(half),
            coverage=self.known.coverage,
            calibrated=not doubts,
            why="; ".join([known, *doubts]),
            method=self.name,
        )

    def check(self) -> tuple[tuple[Accuracy, ...], tuple[str, ...]]:
        """Return the errors of left-out rows, rebuilt from counts and evidence, and their notes."""
        from edgekit.latency_model.executed.accuracy import ablation_lines, rebuild

        boards = [board.board for board in self.known.boards]
        return rebuild(boards), ablation_lines(boards)

    def _board(self, setting: Setting) -> Constants:
        core = setting.target.hardware.core
        for board in self.known.boards:
            if core and core.value == board.core:
                return board
        cores = ", ".join(board.core for board in self.known.boards)
        raise UserError(
            f"{setting.target.name}: the executed predictor knows only {cores}; use analytic"
        )


def open_predictor(path: Path | None = None) -> ExecutedPredictor:
    """Return the predictor with the constants of `path`, those that ship where it is None."""
    return ExecutedPredictor(path or folder() / FILE)
