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
    from edgekit.report.formats import Told
    from edgekit.report.records import Saved

__all__ = ["FORMATS", "Table", "build_tables", "write_report"]


def build_tables(results: str | Path = RESULTS, *, shipped: bool = False) -> tuple[Table, ...]:
    """Return every table that the saved results under `results` give, with all columns.

    `shipped` adds the accuracy records that come with edgekit.
    Raises BadResults where there are none, or where one contradicts the target it names.
    """
    from edgekit.report.records import load_saved

    return tables_of(load_saved(Path(results), shipped=shipped))


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


def short_tables(saved: Saved, *, paper: bool = False) -> tuple[Table, ...]:
    """Return what a person reads: a table a model and target, and with `paper` the paper's two."""
    from edgekit.report.paper_tables import paper_tables
    from edgekit.report.target_tables import target_tables

    return (*(paper_tables(saved) if paper else ()), *target_tables(saved))


def write_report(
    tables: Iterable[Table],
    folder: str | Path,
    formats: Sequence[str],
    *,
    short: Sequence[Table] | None = None,
    summary: Sequence[Told] = (),
) -> list[Path]:
    """Write each table in each format as `folder/<table>.<ending>`, whole, and return the paths.

    With `short`, Markdown and LaTeX, which people read, hold those tables instead, and a
    `report.md` holds the `summary` and all of them. Files of an earlier report are replaced.
    Raises UserError, before anything is written, for a format that does not exist.
    """
    from edgekit.files import write_whole
    from edgekit.report.formats import markdown, markdown_summary

    chosen = {name: format_named(name) for name in dict.fromkeys(formats)}
    full, paths = list(tables), []
    if short is not None and "markdown" in chosen:
        path = Path(folder) / "report.md"
        write_whole(path, "\n".join([markdown_summary(summary), *map(markdown, short)]))
        paths.append(path)
    for name, item in chosen.items():
        if short is not None and name == "markdown":
            continue
        for table in short if short is not None and item.for_people else full:
            paths.append(Path(folder) / f"{table.name}{item.suffix}")
            write_whole(paths[-1], item.render(table))
    return paths
