"""Table II of the seed paper: the printed accuracy beside ours, each with its data and protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgekit import zoo
from edgekit.records import AccuracyRecord, record_key
from edgekit.report.seed_paper import (
    erratum_notes,
    published_notes,
    reconstruction_notes,
    system_of,
)
from edgekit.report.table import Cell, Table
from edgekit.runtimes.table import role_of
from edgekit.zoo import System

_OWN = (
    "age_accuracy",
    "age_accuracy_low",
    "age_accuracy_high",
    "age_1off",
    "age_1off_low",
    "age_1off_high",
    "gender_accuracy",
    "gender_accuracy_low",
    "gender_accuracy_high",
    "dataset",
    "split",
    "protocol",
    "images",
    "device",
    "runtime",
    "provenance",
)
COLUMNS = (
    "system",
    "variant",
    "system_provenance",
    "backend",
    "precision",
    "published_age_accuracy",
    "published_age_spread",
    "published_gender_accuracy",
    "published_gender_spread",
    "published_dataset",
    "published_source",
    *_OWN,
)


def accuracy_table(records: Sequence[AccuracyRecord]) -> Table:
    """Return the rows of each system, torch model first and its artifacts beneath, then the rest.

    A system without a record of ours has one row, its own columns empty.
    """
    pairs: list[tuple[System | None, AccuracyRecord | None]] = []
    for system in zoo.systems().values():
        own = [record for record in records if _system_name(record) == system.name]
        pairs += [(system, record) for record in _ordered(own)] or [(system, None)]
    others = [record for record in records if system_of(record.model) is None]
    pairs += [(None, record) for record in _ordered(others)]
    return Table(
        name="table-2-accuracy",
        title="Table II, accuracy in per cent",
        columns=COLUMNS,
        rows=tuple(_row(system, record) for system, record in pairs),
        notes=_notes(records),
        sources=tuple(record_key(record) if record else None for _, record in pairs),
    )


def _row(system: System | None, record: AccuracyRecord | None) -> dict[str, Cell]:
    row: dict[str, Cell] = dict.fromkeys(COLUMNS)
    if system is not None:
        published = system.published
        row |= {
            "system": system.name,
            "system_provenance": ", ".join(system.provenance),
            "published_age_accuracy": published.age.percent,
            "published_age_spread": published.age.spread,
            "published_gender_accuracy": published.gender.percent,
            "published_gender_spread": published.gender.spread,
            "published_dataset": "Adience",
            "published_source": published.source,
        }
    if record is not None:
        name, variant = system_of(record.model) or (record.model, None)
        row |= {
            "system": name,
            "variant": variant,
            "backend": record.backend,
            "precision": record.precision,
        }
        row |= {column: getattr(record, column) for column in _OWN}
    return row


def _ordered(records: Iterable[AccuracyRecord]) -> list[AccuracyRecord]:
    return sorted(
        records,
        key=lambda r: (
            r.model,
            r.dataset,
            r.protocol,
            r.split,
            role_of(r.backend) != "reference",
            r.label,
        ),
    )


def _system_name(record: AccuracyRecord) -> str | None:
    found = system_of(record.model)
    return found[0] if found else None


def _notes(records: Sequence[AccuracyRecord]) -> tuple[str, ...]:
    # Not by `dataset`, which is the name of the user's folder: the protocol says what was judged.
    other = sorted({r.protocol for r in records if not r.protocol.startswith("Adience ")})
    differ = (
        f"Our numbers are on {', '.join(other)}, the published ones on Adience: the two differ in "
        "data and protocol and do not rank against each other.",
    )
    return (
        "published_*: as the seed paper prints it, with the ± spread where it prints one",
        "_low and _high: 95 % interval; an empty cell means that we have no such number",
        *(differ if other else ()),
        *published_notes(),
        *erratum_notes("Table II"),
        *reconstruction_notes(),
    )
