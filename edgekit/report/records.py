"""What a report is made of: saved measurements that may bear their target's name, and accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import BadResults, BrokenPlugin
from edgekit.evaluation.assessment import Assessment
from edgekit.json_files import Damaged, read_json
from edgekit.paths import shelf
from edgekit.records import (
    AccuracyRecord,
    AnyRecord,
    ChoiceRecord,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    record_key,
)
from edgekit.results import load_files
from edgekit.targets import Target, load_target, matches, target_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """The records of a report, in a fixed order, and one line on each file that cannot be used.

    `files` are the files of each record by its `record_key`: one, or more where copies lie about.
    """

    measurements: tuple[Measurement, ...]
    accuracy: tuple[AccuracyRecord, ...]
    emulations: tuple[EmulationRecord, ...]
    predictions: tuple[PredictionRecord, ...]
    problems: tuple[str, ...]
    files: dict[str, tuple[Path, ...]]
    choices: tuple[ChoiceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class _Training:
    """What a report reads of a training run: its confusion, which old accuracy records lack."""

    command: str
    test: Assessment


def load_saved(folder: Path, *, shipped: bool = False) -> Saved:
    """Return the records under `folder`, with `shipped` also the accuracy that edgekit ships.

    A record of the user's replaces the shipped one of the same model, data and protocol, and a
    newer one of the user's an older. Raises BadResults where `folder` holds no record, or one
    that `check_target` refuses.
    """
    measured, damaged = load_files(folder, Measurement)
    own, damaged_accuracy = load_files(folder, AccuracyRecord)
    emulated, damaged_emulations = load_files(folder, EmulationRecord)
    predicted, damaged_predictions = load_files(folder, PredictionRecord)
    chosen, damaged_choices = load_files(folder, ChoiceRecord)
    damaged = list(
        dict.fromkeys(
            (
                *damaged,
                *damaged_accuracy,
                *damaged_emulations,
                *damaged_predictions,
                *damaged_choices,
            )
        )
    )
    if not (measured or own or emulated or predicted or chosen):
        reason = f" ({damaged[0]})" if damaged else ""
        raise BadResults(f"no results in {folder}{reason}: run `edgekit bench` first")
    measurements = [record for _, record in measured]
    targets = {name: _profile(name) for name in {m.target for m in measurements}}
    for measurement in measurements:
        _check(measurement, targets[measurement.target])
    own.sort(key=lambda item: item[1].created)
    accuracy = {
        record.label: (path, record) for path, record in (*(_shipped() if shipped else ()), *own)
    }
    return Saved(
        measurements=tuple(measurements),
        accuracy=tuple(_with_confusion(*accuracy[label]) for label in sorted(accuracy)),
        emulations=tuple(record for _, record in emulated),
        predictions=tuple(record for _, record in predicted),
        problems=(*damaged, *_unchecked(measurements)),
        files=_files((*measured, *accuracy.values(), *emulated, *predicted, *chosen)),
        choices=tuple(record for _, record in chosen),
    )


def _shipped() -> list[tuple[Path, AccuracyRecord]]:
    """Return the accuracy that ships with edgekit, of artifacts and of the trained networks."""
    folders = (shelf("benchmarks") / "records" / "accuracy", shelf("benchmarks") / "training")
    # benchmarks/training also holds files that are not records: ignore read errors there.
    return [item for folder in folders for item in load_files(folder, AccuracyRecord)[0]]


def _files(found: Iterable[tuple[Path, AnyRecord]]) -> dict[str, tuple[Path, ...]]:
    files: dict[str, tuple[Path, ...]] = {}
    for path, record in found:
        files[record_key(record)] = (*files.get(record_key(record), ()), path)
    return files


def _with_confusion(path: Path, record: AccuracyRecord) -> AccuracyRecord:
    """Return a record with the confusion of its training run, where that lies beside it.

    A torch model's record of before they held it is `torch-fp32.json`, its run is
    `training.json`; the commands must be equal.
    """
    run = path.with_name(path.name.replace("torch-fp32.json", "training.json"))
    if record.confusion or run == path or not run.is_file():
        return record
    try:
        training = read_json(run, _Training)
    except Damaged:
        return record
    if training.command != record.command:
        return record
    return replace(record, confusion=tuple(item.matrix for item in training.test.scores))


def check_target(measurement: Measurement) -> None:
    """Raise BadResults where a measurement names a target that its device was not.

    Only what ran in real time is held to it: emulated and predicted numbers are made elsewhere,
    and say so.
    """
    _check(measurement, _profile(measurement.target))


def _check(measurement: Measurement, target: Target | None) -> None:
    if measurement.provenance in {"emulated", "predicted"} or target is None:
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
