"""`edgekit bench --inventory`: one table with the rows of every board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgekit.deployment.rollout import Outcome
    from edgekit.measurement.bench import BenchRequest
    from edgekit.records import Measurement


def bench_boards(
    request: BenchRequest,
    inventory: Path,
    groups: Sequence[str],
    *,
    wide: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure on the inventory's boards and print a table a board.

    Exits with 1 where a board or a row failed; the others are measured all the same.
    """
    from edgekit.cli.output import progress, show, typed
    from edgekit.deployment.bench_fleet import bench_fleet
    from edgekit.deployment.inventory import read_inventory
    from edgekit.measurement.summary import summary_row
    from edgekit.report.measured_rows import short_rows

    hosts = read_inventory(inventory, groups)
    with progress(quiet or as_json) as say:
        outcomes = bench_fleet(request, hosts, say=say)
    table, failed = [], False
    for outcome in outcomes:
        board = {"device": str(outcome.host.address), "group": outcome.host.group}
        table += [{**board, **summary_row(row)} for row in outcome.result or ()]
        failed |= any(row.error for row in outcome.result or ())
        if outcome.error:
            table.append({**board, "verdict": f"failed: {outcome.error}"})
            failed = True
    notes = [line for o in outcomes for line in _notes(o)]
    notes.append(f"every sample is saved in {request.results}, a folder for each board")
    short = {_name(outcome): short_rows(outcome.result or ()) for outcome in outcomes}
    title, then = f"{len(hosts)} boards", f"edgekit report --results {typed(request.results)}"
    show(title, table, as_json=as_json, notes=notes, short=short, wide=wide, then=then)
    if failed:
        raise typer.Exit(1)


def _name(outcome: Outcome[list[Measurement]]) -> str:
    group = f" ({outcome.host.group})" if outcome.host.group else ""
    return f"{outcome.host.address}{group}"


def _notes(outcome: Outcome[list[Measurement]]) -> list[str]:
    """Return what a board's table must be read with: why it failed, its fastest, its doubts."""
    from edgekit.report.measured_rows import doubts, fastest

    lines = [f"failed: {outcome.error}"] if outcome.error else []
    rows = outcome.result or ()
    return [f"{outcome.host.address}: {line}" for line in (*lines, *fastest(rows), *doubts(rows))]
