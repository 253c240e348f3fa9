"""What became of each artifact of a conversion on the board that it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from edgekit.artifact import Artifact, ParityRecord
from edgekit.records import Basis, ChoiceRecord, Provenance, Result, WeighedArtifact, artifact_facts


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one inference takes on the board: seconds with their interval, and instructions.

    One thread. Seconds are measured on a board that is there, predicted for an emulated one;
    `doubt` says why they are missing. Instructions are an emulated board's.
    """

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    instructions: int | None = None
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One artifact on the board.

    `fault` says why it may not be shipped there: it died, or does not compute the model; else it is
    empty. `parity` is the board's own answers held to the source model's. `lost` is the accuracy,
    or agreement, in percentage points that it loses on `judged` images, None where that was not
    asked because a cheaper artifact holds.
    """

    artifact: Artifact
    runtime: str
    fault: str = ""
    parity: ParityRecord | None = None
    cost: Cost = Cost()
    lost: float | None = None
    judged: int = 0

    @property
    def name(self) -> str:
        """`tflite-int8`."""
        return f"{self.artifact.manifest.backend}-{self.artifact.manifest.precision}"


@dataclass(frozen=True, kw_only=True)
class OnBoard:
    """What a board made of a conversion's artifacts, and the one to ship, where that was asked.

    `device` is where they ran, with its `provenance`. `pick` is None where none was asked for, or
    none loses `max_drop` points or less. `labelled` tells whether accuracy was judged by labels.
    """

    target: str
    title: str
    device: str
    provenance: Provenance
    trials: tuple[Trial, ...]
    basis: Basis = "nothing"
    asked: bool = False
    max_drop: float = 0.0
    labelled: bool = False
    pick: Trial | None = None
    notes: tuple[str, ...] = ()

    def result(self, trial: Trial) -> Result:
        """Return what became of an artifact, in a word."""
        if trial.fault:
            return "failed"
        if self.pick is trial:
            return "ship"
        if not self.asked:
            return "ok"
        if trial.lost is not None and trial.lost > self.max_drop:
            return "inaccurate"
        return "slower"

    def choice(self, command: str) -> ChoiceRecord:
        """Return the record of what was weighed. Raises ValueError where nothing ran there."""
        if not self.trials:
            raise ValueError(f"nothing ran on {self.target}")
        return ChoiceRecord(
            model=self.trials[0].artifact.manifest.model,
            target=self.target,
            device=self.device,
            provenance=self.provenance,
            basis=self.basis,
            max_drop=self.max_drop,
            labelled=self.labelled,
            weighed=tuple(self._weighed(trial) for trial in self.trials),
            notes=self.notes,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
        )

    def _weighed(self, trial: Trial) -> WeighedArtifact:
        cost = trial.cost
        return WeighedArtifact(
            artifact=artifact_facts(trial.artifact),
            runtime=trial.runtime,
            result=self.result(trial),
            fault=trial.fault,
            doubt=cost.doubt,
            seconds=cost.seconds,
            low=cost.low,
            high=cost.high,
            instructions=cost.instructions,
            lost=trial.lost,
            judged=trial.judged,
        )
