"""`edgekit bench --inventory`: one table with the rows of every board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgekit.measurement.bench import BenchRequest


def bench_boards(
    request: BenchRequest,
    inventory: Path,
    groups: Sequence[str],
    *,
    columns: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure on the inventory's boards and print a row an artifact and board.

    Exits with 1 where a board or a row failed; the others are measured all the same.
    """
    from edgekit.cli.output import progress, show
    from edgekit.deployment.bench_fleet import bench_fleet
    from edgekit.deployment.inventory import read_inventory
    from edgekit.measurement.summary import summary_row

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
    notes = (f"raw samples of every board in a folder of {request.results}",)
    shown = ("device", "group", *columns)
    show(f"{len(hosts)} boards", table, as_json=as_json, notes=notes, columns=shown)
    if failed:
        raise typer.Exit(1)
