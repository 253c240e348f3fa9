"""The report: the paper's tables II and III and the artifacts, rebuilt from saved results alone.

results folder ──┐           accuracy.py, parameters.py, latency.py,
benchmarks/    ──┼─ records.py → predicted.py, artifacts.py → Table → formats.py → files
zoo/systems.toml ┘         └ plots/ → Plot ───────────────┴─ page.py → one HTML file
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.paths import RESULTS
from edgekit.report.formats import FORMATS, format_named
from edgekit.report.table import Table

if TYPE_CHECKING:
    from edgekit.report.records import Saved

__all__ = ["FORMATS", "Table", "build_tables", "write_report"]


def build_tables(results: str | Path = RESULTS) -> tuple[Table, ...]:
    """Return every table that the saved results under `results` give.

    Raises BadResults where there are none, or where one contradicts the target it names.
    """
    from edgekit.report.records import load_saved

    return tables_of(load_saved(Path(results)))


def tables_of(saved: Saved) -> tuple[Table, ...]:
    """Return every table that these records give."""
    from edgekit.report.accuracy import accuracy_table
    from edgekit.report.artifacts import artifacts_table
    from edgekit.report.latency import latency_table
    from edgekit.report.parameters import parameters_table
    from edgekit.report.predicted import predicted_table

    return (
        accuracy_table(saved.accuracy),
        parameters_table(),
        latency_table(saved.measurements),
        *((predicted_table(saved.predictions),) if saved.predictions else ()),
        artifacts_table(saved.measurements, saved.emulations, saved.problems),
    )


def write_report(tables: Iterable[Table], folder: str | Path, formats: Sequence[str]) -> list[Path]:
    """Write each table in each format as `folder/<table>.<ending>`, whole, and return the paths.

    Files of an earlier report are replaced. Raises UserError, before anything is written, for a
    format that does not exist.
    """
    from edgekit.files import write_whole

    chosen = [format_named(name) for name in dict.fromkeys(formats)]
    paths = []
    for table in tables:
        for item in chosen:
            paths.append(Path(folder) / f"{table.name}{item.suffix}")
            write_whole(paths[-1], item.render(table))
    return paths
