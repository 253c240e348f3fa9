"""What a report is made of: saved measurements that may bear their target's name, and accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BadResults, BrokenPlugin
from edgekit.results import (
    AccuracyRecord,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    load_accuracy,
    load_emulation,
    load_predictions,
    load_results,
)
from edgekit.shelf import shelf
from edgekit.targets import Target, load_target, matches, target_names


@dataclass(frozen=True, slots=True)
class Saved:
    """The records of a report, in a fixed order, and one line on each file that cannot be used."""

    measurements: tuple[Measurement, ...]
    accuracy: tuple[AccuracyRecord, ...]
    emulations: tuple[EmulationRecord, ...]
    predictions: tuple[PredictionRecord, ...]
    problems: tuple[str, ...]


def load_saved(folder: Path) -> Saved:
    """Return the records under `folder`, and the accuracy records that ship with edgekit.

    A record of the user's replaces the shipped one of the same model, data and protocol. Raises
    BadResults where `folder` holds no record, or one that `check_target` refuses.
    """
    measurements, damaged = load_results(folder)
    own, damaged_accuracy = load_accuracy(folder)
    emulations, damaged_emulations = load_emulation(folder)
    predictions, damaged_predictions = load_predictions(folder)
    problems = (*damaged, *damaged_accuracy, *damaged_emulations, *damaged_predictions)
    damaged = list(dict.fromkeys(problems))
    if not (measurements or own or emulations or predictions):
        reason = f" ({damaged[0]})" if damaged else ""
        raise BadResults(f"no results in {folder}{reason}: run `edgekit bench` first")
    for measurement in measurements:
        check_target(measurement)
    # Beside the shipped records lie split lists, which are none: what is unread there is no news.
    shipped, _ = load_accuracy(shelf("benchmarks") / "accuracy")
    accuracy = {record.label: record for record in (*shipped, *own)}
    return Saved(
        tuple(measurements),
        tuple(accuracy[label] for label in sorted(accuracy)),
        tuple(emulations),
        tuple(predictions),
        (*damaged, *_unchecked(measurements)),
    )


def check_target(measurement: Measurement) -> None:
    """Raise BadResults where a measurement names a target that its device was not.

    Only what ran in real time is held to it: emulated and predicted numbers are made elsewhere,
    and say so.
    """
    if measurement.provenance in {"emulated", "predicted"}:
        return
    target = _profile(measurement.target)
    if target is None:
        return
    if reasons := matches(target, measurement.facts):
        raise BadResults(
            f"{measurement.run}/{measurement.label} is saved as {measurement.target}, but its "
            f"device was not ({'; '.join(reasons)}): remove that file or measure again"
        )


def has_times(measurement: Measurement) -> bool:
    """Tell whether its seconds mean anything: under emulation they are the emulator's."""
    return measurement.provenance != "emulated"


def table_order(measurement: Measurement) -> tuple[str | int, ...]:
    """Return what measurements are sorted by in every table: the board first, then the artifact."""
    artifact = measurement.artifact
    place = (measurement.target, measurement.device, measurement.provenance)
    program = (artifact.backend, artifact.precision, measurement.runtime, measurement.threads)
    return (*place, artifact.model, *program, measurement.run, measurement.label)


def _unchecked(measurements: list[Measurement]) -> list[str]:
    names = sorted({measurement.target for measurement in measurements})
    return [
        f"target {name}: no such profile is here, so its device is unchecked"
        for name in names
        if _profile(name) is None
    ]


def _profile(name: str) -> Target | None:
    """Return a target, or None where no one here knows it: the user's file, a broken plug-in's."""
    try:
        return load_target(name) if name in target_names() else None
    except BrokenPlugin:
        return None
