"""Saved results: one JSON file a measurement or accuracy record, read back with no model at hand.

edgekit-results/<run>/<label>.json        a Measurement: raw samples, from which all else follows
edgekit-results/accuracy/<label>.json     an AccuracyRecord; its label begins with a model's folder
edgekit-results/emulation/<label>.json    an EmulationRecord
edgekit-results/prediction/<label>.json   a PredictionRecord
edgekit-results/choice/<label>.json       a ChoiceRecord
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import msgspec

from edgekit.errors import BadResults
from edgekit.files import write_whole
from edgekit.json_files import Damaged, read_json
from edgekit.records import (
    SCHEMA,
    AccuracyRecord,
    AnyRecord,
    ChoiceRecord,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    record_key,
)

Record = TypeVar(
    "Record", Measurement, AccuracyRecord, EmulationRecord, PredictionRecord, ChoiceRecord
)


@dataclass(frozen=True, slots=True)
class _Head:
    """What tells the files apart, read before the rest."""

    kind: str
    schema: int


def save(record: AnyRecord, folder: Path) -> Path:
    """Write a record to its place under `folder`, whole; an older file of it is replaced."""
    _check_place(record)
    path = folder / f"{record_key(record)}.json"
    write_whole(path, msgspec.json.encode(record) + b"\n")
    return path


def load_results(folder: Path) -> tuple[list[Measurement], list[str]]:
    """Return every measurement under `folder`, sorted by path, and one line per unreadable file.

    Raises BadResults where `folder` does not exist.
    """
    return _records(load_files(folder, Measurement))


def load_accuracy(folder: Path) -> tuple[list[AccuracyRecord], list[str]]:
    """Return every accuracy record under `folder`, as load_results does measurements."""
    return _records(load_files(folder, AccuracyRecord))


def load_measurement(path: str | Path) -> Measurement:
    """Return the measurement saved in the file `path`. Raises BadResults in one line."""
    return _decode(Path(path), Measurement)


def load_files(folder: Path, record: type[Record]) -> tuple[list[tuple[Path, Record]], list[str]]:
    """Return every record of a kind under `folder` with its file, as load_results does.

    Raises BadResults where `folder` does not exist.
    """
    if not folder.is_dir():
        raise BadResults(f"no results at {folder}: make some with `edgekit bench`")
    kind = next(item.default for item in fields(record) if item.name == "kind")
    records: list[tuple[Path, Record]] = []
    problems: list[str] = []
    for path in sorted(folder.rglob("[!.]*.json")):
        try:
            if _head(path).kind == kind:
                records.append((path, _decode(path, record)))
        except BadResults as error:
            problems.append(str(error))
    return records, problems


def _records(
    loaded: tuple[list[tuple[Path, Record]], list[str]],
) -> tuple[list[Record], list[str]]:
    found, problems = loaded
    return [record for _, record in found], problems


def _head(path: Path) -> _Head:
    head = _decoded(path, _Head)
    if head.schema > SCHEMA:
        raise BadResults(f"{path} has schema {head.schema}, newer than {SCHEMA}: update edgekit")
    return head


def _decode(path: Path, record: type[Record]) -> Record:
    _head(path)
    found = _decoded(path, record)
    try:
        _check_place(found)
    except BadResults as error:
        raise BadResults(f"{path}: {error}") from None
    return found


def _check_place(record: AnyRecord) -> None:
    """Raise BadResults where a record's run or label would be written outside its folder."""
    for part in record_key(record).split("/"):
        if part in {"", ".", ".."} or not part.isprintable() or "\\" in part or len(part) > 250:
            raise BadResults(f"its place {record_key(record)!r} leads elsewhere: remove it")


_T = TypeVar("_T")


def _decoded(path: Path, kind: type[_T]) -> _T:
    try:
        return read_json(path, kind)
    except FileNotFoundError:
        raise BadResults(f"no result at {path}: make one with `edgekit bench`") from None
    except (OSError, Damaged) as error:
        reason = " ".join(str(error).split())
        raise BadResults(f"{path} is damaged ({reason}): measure again or remove it") from None
