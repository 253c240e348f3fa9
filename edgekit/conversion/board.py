"""What became of each artifact of a conversion on the board that it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.artifact import Artifact, ParityRecord
from edgekit.results import Provenance

Basis = Literal["measured", "predicted", "counted", "nothing"]
"""What artifacts are ranked by: times, measured or predicted, or counted instructions alone."""


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
