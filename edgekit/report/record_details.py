"""What the page tells of a record on a click: every fact it holds, and the file it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit.files import sha256
from edgekit.paths import shelf
from edgekit.records import AnyRecord, Measurement, record_key
from edgekit.report.records import Saved
from edgekit.report.table import shown_cell

_RAW = frozenset({"rounds", "confusion", "weighed"})
"""Too long to read; their numbers are in the plots and the tables below them."""


@dataclass(frozen=True)
class Source:
    """A file a record was read from: its path in the results folder or in edgekit's own."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Details:
    """One record: `facts` are (name, value) as saved, `anchor` its id in the page."""

    key: str
    anchor: str
    title: str
    provenance: str
    facts: tuple[tuple[str, str], ...]
    sources: tuple[Source, ...]


def details(saved: Saved, results: Path) -> dict[str, Details]:
    """Return the details of every record by its `record_key`, in the tables' order."""
    records: tuple[AnyRecord, ...] = (
        *saved.measurements, *saved.accuracy, *saved.emulations, *saved.predictions,
        *saved.choices,
    )  # fmt: skip
    return {
        record_key(record): _details(record, f"record-{number}", saved, results)
        for number, record in enumerate(records, 1)
    }


def _details(record: AnyRecord, anchor: str, saved: Saved, results: Path) -> Details:
    key = record_key(record)
    facts = list(_flat("", {k: v for k, v in msgspec.to_builtins(record).items() if k not in _RAW}))
    if isinstance(record, Measurement):
        samples = sum(len(item.invoke_s) for item in record.rounds)
        facts.append(("raw samples", f"{samples:,} in {len(record.rounds)} rounds"))
    files = saved.files.get(key, ())
    return Details(
        key=key,
        anchor=anchor,
        title=key.partition("/")[2],
        provenance=record.provenance,
        facts=tuple(facts),
        sources=tuple(Source(_shown(path, results), sha256(path)) for path in files),
    )


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a record's facts one by one, nested ones as `artifact: bytes`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(": ".join(filter(None, (name, str(key).replace("_", " ")))), inner)
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value)) or "–"
    elif value is None or value == "":
        yield name, "–"
    else:
        counted = isinstance(value, int) and (isinstance(value, bool) or value > 9999)
        yield name, shown_cell(value) if counted else str(value)


def _shown(path: Path, results: Path) -> str:
    """Return a path without what is the reader's own machine."""
    for root in (results.resolve(), shelf("benchmarks").parent):
        if path.resolve().is_relative_to(root):
            return path.resolve().relative_to(root).as_posix()
    return path.name
