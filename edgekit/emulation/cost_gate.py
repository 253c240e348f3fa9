"""The cost gate: instructions per inference held to a recorded baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.errors import BadResults
from edgekit.files import write_whole
from edgekit.json_files import Damaged, read_json
from edgekit.records import EmulationRecord

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One line of a cost baseline: what an inference cost when it was accepted."""

    target: str
    model: str
    backend: str
    precision: str
    runtime: str
    instructions_per_inference: int

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What tells one line from another."""
        return (self.target, self.model, self.backend, self.precision, self.runtime)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the gate says of one artifact; `passed` is None where the baseline has no such line."""

    label: str
    baseline: int | None
    now: int | None
    change_percent: float | None
    passed: bool | None


def costs(records: Sequence[EmulationRecord]) -> list[Cost]:
    """Return the counted records as baseline lines, by key."""
    lines = [
        Cost(
            target=record.target,
            model=record.artifact.model,
            backend=record.artifact.backend,
            precision=record.artifact.precision,
            runtime=record.runtime,
            instructions_per_inference=record.instructions_per_inference,
        )
        for record in records
        if record.instructions_per_inference is not None
    ]
    return sorted(lines, key=lambda line: line.key)


def read_baseline(path: Path) -> list[Cost]:
    """Return a baseline's lines. Raises BadResults where it is missing or damaged."""
    try:
        return read_json(path, list[Cost])
    except OSError as error:
        raise BadResults(
            f"no baseline at {path} ({error.strerror}): make one with --write-baseline {path}"
        ) from None
    except Damaged as error:
        raise BadResults(f"baseline {path} is damaged ({error}): write it again") from None


def write_baseline(path: Path, records: Sequence[EmulationRecord]) -> int:
    """Put the records' costs into the baseline, keeping its other lines; return how many."""
    kept = {line.key: line for line in (read_baseline(path) if path.exists() else [])}
    fresh = {line.key: line for line in costs(records)}
    lines = [line for _, line in sorted((kept | fresh).items())]
    write_whole(path, msgspec.json.format(msgspec.json.encode(lines), indent=1) + b"\n")
    return len(fresh)


def gate(
    records: Sequence[EmulationRecord], baseline: Sequence[Cost], max_increase: float
) -> list[Gate]:
    """Hold each record to the baseline: at most `max_increase` per cent more instructions.

    A record that died, or was not counted, fails where the baseline has its line.
    """
    accepted = {line.key: line.instructions_per_inference for line in baseline}
    verdicts = []
    for record in records:
        artifact, now = record.artifact, record.instructions_per_inference
        key = (record.target, artifact.model, artifact.backend, artifact.precision, record.runtime)
        before = accepted.get(key)
        change = 100 * (now / before - 1) if before and now else None
        passed = None if before is None else change is not None and change <= max_increase
        verdicts.append(
            Gate(
                label=" ".join(key), baseline=before, now=now, change_percent=change, passed=passed
            )
        )
    return verdicts
