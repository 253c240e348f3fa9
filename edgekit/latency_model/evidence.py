"""The published measurements on Raspberry Pis that ship with edgekit, each with its source.

benchmarks/evidence/latency.csv    one row a published latency; README.md there explains the traps
benchmarks/evidence/features.csv   what each network has to do, counted from its shapes
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from edgekit.errors import BadResults
from edgekit.files import sha256
from edgekit.latency_model.workload import NUMBER_BYTES, UNCOUNTED, Workload
from edgekit.paths import shelf

ALL_CORES = 4
"""Cores of every board of the evidence but the Zero W; what a source means by 'multi-threaded'."""

DOUBTS = ("DERIVED", "excerpt", "assumed", "timing scope unstated", "clock could be")
"""What the notes say of a row that counts less: a rate of one decimal turned over, a page that was
not opened, a precision that was guessed, a clock that is one of two. So does a row that states no
threads. A nominal clock is no doubt: most sources give none."""
DOUBTFUL = 0.25
"""The share of a plain row's say that such a row has. Set before the first fit that used it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One published latency: `latency_ms` of one inference, batch 1, and who measured it.

    `threads` is None where the source does not say. `clock_mhz` is the board's nominal clock where
    the source gives none; `notes` tells which. `os_bits` is 32, 64 or None.
    """

    board: str
    core: str
    clock_mhz: float
    os_bits: int | None
    runtime: str
    runtime_version: str
    model: str
    input: str
    dtype: str
    threads: int | None
    latency_ms: float
    source_repo: str
    source_path: str
    notes: str

    @property
    def trust(self) -> float:
        """How much the row counts in a fit: 1, or DOUBTFUL where its source leaves much open."""
        doubtful = self.threads is None or any(mark in self.notes for mark in DOUBTS)
        return DOUBTFUL if doubtful else 1.0


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the evidence: its family, and what one inference of it has to do.

    A family is one published design in all its widths, depths, input sizes and heads; a detector
    belongs to its backbone's.
    """

    family: str
    workload: Workload


def folder() -> Path:
    """Return the folder the evidence ships in."""
    return shelf("benchmarks") / "evidence"


def fingerprint(place: Path | None = None) -> str:
    """Return one SHA-256 over the rows and the features, which a fit names as what it saw."""
    where = place or folder()
    parts = "".join(sha256(where / name) for name in ("latency.csv", "features.csv"))
    return hashlib.sha256(parts.encode()).hexdigest()


def load_rows(place: Path | None = None, **wanted: object) -> tuple[Row, ...]:
    """Return the rows, those whose fields equal `wanted`: `load_rows(core="Cortex-A72")`.

    Raises BadResults for a row that is no latency, with its line, TypeError for an unknown field.
    """
    names = {item.name for item in fields(Row)}
    if unknown := set(wanted) - names:
        raise TypeError(f"rows have no {', '.join(sorted(unknown))}; they have {sorted(names)}")
    path = (place or folder()) / "latency.csv"
    rows = tuple(_row(path, number, record) for number, record in _records(path))
    return tuple(
        row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())
    )


def load_networks(place: Path | None = None) -> dict[tuple[str, str], Network]:
    """Return the counted networks by (model, runtime); runtime is '' where it makes no difference.

    Raises BadResults for a line that is no count.
    """
    path = (place or folder()) / "features.csv"
    counts = [item.name for item in fields(Workload) if item.name not in UNCOUNTED]
    networks = {}
    for number, record in _records(path):
        try:
            workload = Workload(**{name: int(record[name]) for name in counts})  # type: ignore[arg-type]
            networks[record["model"], record["runtime"]] = Network(record["family"], workload)
        except (KeyError, TypeError, ValueError) as error:
            raise BadResults(
                f"{path} line {number}: {error}: write it with benchmarks/scripts/features.py"
            ) from None
    return networks


def network_of(row: Row, networks: Mapping[tuple[str, str], Network]) -> Network | None:
    """Return the network a row measured, None where nobody has counted it."""
    return networks.get((row.model, row.runtime)) or networks.get((row.model, ""))


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from enumerate(csv.DictReader(file), start=2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadResults(f"{path} cannot be read ({error}): install edgekit again") from None


def _row(path: Path, number: int, record: Mapping[str, str]) -> Row:
    try:
        core = re.search(r"\(\d+x ([\w-]+)\)", record["soc"])
        if core is None:
            raise ValueError(f"soc {record['soc']!r} names no core")
        bits, threads = record["os_bits"], record["threads"]
        row = Row(
            board=record["board"],
            core=core.group(1),
            clock_mhz=float(record["clock_mhz"]),
            os_bits=None if bits == "unstated" else int(bits),
            runtime=record["runtime"],
            runtime_version=record["runtime_version"],
            model=record["model"],
            input=record["input"],
            dtype=record["dtype"],
            threads=None if threads == "unstated" else int(threads),
            latency_ms=float(record["latency_ms"]),
            source_repo=record["source_repo"],
            source_path=record["source_path"],
            notes=record["notes"],
        )
        if not (0 < row.latency_ms < float("inf") and 0 < row.clock_mhz < float("inf")):
            raise ValueError("latency and clock must be above 0")
        if row.dtype not in NUMBER_BYTES or record["batch"] != "1":
            raise ValueError(f"dtype {row.dtype!r}, batch {record['batch']!r}: not comparable")
        if not (row.source_repo and row.source_path):
            raise ValueError("no source")
    except (KeyError, TypeError, ValueError) as error:
        raise BadResults(f"{path} line {number}: {error}: mend or remove that row") from None
    return row
