"""The executed predictor: what the board's own runtime executes under emulation, timed.

It needs the target's virtual board (`edgekit device install`) and a C compiler. Instructions and
cache lines are counted on one thread and follow the runtime's version; the constants that make
them seconds are a board's, fitted to runtimes that were measured there (fit.py).
"""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import grain
from edgekit.errors import UserError
from edgekit.files import sha256
from edgekit.latency_model import Accuracy, Method, Prediction, Setting
from edgekit.latency_model.analytic.predictor import HELD, OURS
from edgekit.latency_model.evidence import folder
from edgekit.latency_model.executed.coefficients import Constants, in_order, load
from edgekit.latency_model.executed.issue_table import core
from edgekit.latency_model.executed.model import terms
from edgekit.latency_model.executed.run import executed, why_not
from edgekit.latency_model.executed.sharing import EVEN, Sharing, of_ncnn
from edgekit.latency_model.operators import workload_of
from edgekit.targets import load_target

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

FILE = "executed.json"

THREADS_FACTOR = 1.5
"""A thread count that no row of the kernels has: the log interval is this many times as wide."""

KERNELS = {"ai_edge_litert": "litert", "tflite_runtime": "xnnpack"}
"""The runtimes of ours whose kernels the evidence has; of the others' it has none. LiteRT's rows
are of TFLite 2.18 of 2024, tflite-runtime's of 2.5 and of 2022: what has been gained since is in
the run, not in the constants."""


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
        cost = terms(
            work,
            operators,
            setting.threads,
            setting.clock_mhz,
            sharing=sharing_of(artifact, setting),
        )
        seconds = float(cost @ in_order(board.constants))
        kind = "int8" if grain(artifact.manifest.precision) == "int8" else "float"
        kernels = KERNELS.get(setting.runtime, setting.runtime)
        key = f"{kernels} {kind}"
        half, off = board.half[kind], board.off.get(key)
        doubts = []
        if off is None:
            doubts.append(f"{setting.runtime} has no {kind} row of its own on {board.core}")
            half = board.half_foreign[kind]
        elif abs(off) > half:
            doubts.append(f"{kernels}' own {kind} rows took {exp(off):.2f} times what is predicted")
        elif not HELD[0] <= board.covered[key] <= HELD[1]:
            held = f"{100 * board.covered[key]:.0f} %"
            doubts.append(f"such intervals held {held} of its families left out, not 85 to 95 %")
        half = max(half, abs(off or 0))
        if off is not None and setting.runtime in OURS:
            doubts.append("its rows are of an older release")
        if artifact.manifest.precision == "fp16-compute":
            doubts.append(
                "what it executes in half precision is counted, and timed by rows of float32"
            )
        if off is not None and setting.threads not in board.threads[key]:
            doubts.append("no such row has that many threads")
            half *= THREADS_FACTOR
        known = f"stands on {board.rows} rows of {', '.join(board.kernels)} on {board.core}"
        if foreign := _another_chip(board.board, setting):
            known += f"; they were measured on another chip of that core, {foreign}"
        if off is not None:
            known += f"; left out, {key} rows were missed by {board.mape[key]:.0%}"
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
        from edgekit.latency_model.executed.accuracy import (
            ablation_lines,
            leave_out,
            rebuild,
            summary,
        )

        boards = [board.board for board in self.known.boards]
        lines = [line for board in boards for line in summary(board, leave_out(board))]
        return rebuild(boards), (*lines, *ablation_lines(boards))

    def why_not(self, artifact: Artifact, setting: Setting) -> str | None:
        """Return in one line why an artifact cannot be predicted here; None where it can."""
        try:
            self._board(setting)
            return why_not(setting.target, artifact, setting.runtime)
        except UserError as error:
            return str(error)

    def _board(self, setting: Setting) -> Constants:
        core = setting.target.hardware.core
        for board in self.known.boards:
            if core and core.value == board.core:
                return board
        cores = ", ".join(board.core for board in self.known.boards)
        raise UserError(
            f"{setting.target.name}: the executed predictor knows only {cores}; use analytic"
        )


def sharing_of(artifact: Artifact, setting: Setting) -> Sharing:
    """Return how a runtime's threads share an artifact's work; evenly where nothing is known."""
    emulation = setting.target.emulation
    if artifact.manifest.backend != "ncnn" or setting.threads == 1 or emulation is None:
        return EVEN
    from edgekit.latency_model.operators.ncnn import operators_of

    held = grain(artifact.manifest.precision)
    dtype = {"int8": "int8", "half": "fp16"}.get(held, "fp32")
    layers = operators_of(artifact.path)[0]
    return of_ncnn(layers, dtype, setting.threads, core(emulation.qemu_cpu))


def _another_chip(board: str, setting: Setting) -> str:
    """Return the chip that the constants are of, where the target has another of that core."""
    of, its = load_target(board).hardware.soc, setting.target.hardware.soc
    return of.value if of and its and of.value != its.value else ""


def open_predictor(path: Path | None = None) -> ExecutedPredictor:
    """Return the predictor with the constants of `path`, those that ship where it is None."""
    return ExecutedPredictor(path or folder() / FILE)
