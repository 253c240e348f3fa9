"""Options and steps of the commands that work on many boards: deploy, rollback, status, trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgekit.deployment.inventory import Host
    from edgekit.deployment.rollout import Action, Plan


To = Annotated[list[str] | None, typer.Option(help="ssh://user@host; repeat for more boards.")]
Inventory = Annotated[Path | None, typer.Option(help="A fleet file (TOML), instead of --to.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="Only these groups of the fleet; repeat for more."),
]
Python = Annotated[str, typer.Option(help="Python on the boards, by name or path.")]
AtOnce = Annotated[int, typer.Option(help="How many boards to work on at once.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def hosts_of(
    to: list[str] | None, inventory: Path | None, groups: list[str] | None, python: str
) -> list[Host]:
    """Return the boards named by --to or by --inventory. Raises UserError for both or neither."""
    from edgekit.deployment.inventory import Host, read_inventory
    from edgekit.devices.ssh_link.address import parse_address
    from edgekit.errors import UserError

    if bool(to) == (inventory is not None):
        raise UserError("which boards? give --to ssh://user@host, or --inventory fleet.toml")
    if inventory is not None:
        return read_inventory(inventory, groups or ())
    addresses = dict.fromkeys(parse_address(text) for text in to or ())
    return [Host(address=address, python=python) for address in addresses]


def on_all(
    hosts: list[Host], action: Action[Any], plan: Plan, row: Any, quiet: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Carry `action` out; return a table row a board, and the errors as notes."""
    from edgekit.cli.output import progress
    from edgekit.deployment.rollout import roll_out

    with progress(quiet) as say:
        outcomes = roll_out(hosts, action, plan, say)
    rows = []
    for outcome in outcomes:
        found = {"result": "failed" if outcome.error else "not begun"}
        if outcome.result is not None:
            found = row(outcome.result)
        board = {"board": str(outcome.host.address), "group": outcome.host.group or None}
        rows.append({**board, **found, "error": outcome.error})
    return rows, [outcome.error for outcome in outcomes if outcome.error]


def boards_of(to: list[str] | None, inventory: Path | None) -> str:
    """Return the options that named the boards, for the next command."""
    named = [*(f"--to {address}" for address in to or ())]
    return " ".join(named + ([f"--inventory {inventory}"] if inventory else []))


def finish(
    title: str, rows: list[dict[str, Any]], notes: list[str], as_json: bool, then: str = ""
) -> None:
    """Print the table; a person reads the errors below it. Exit 1 where a board is missing."""
    from edgekit.cli.output import column_names, show

    columns = [
        name
        for name in column_names(rows)
        if name != "error" and any(row.get(name) is not None for row in rows)
    ]
    missing = any(row["error"] or row["result"] == "not begun" for row in rows)
    if missing:
        then = "mend what is said above, then the same command: it goes on with the boards missing"
    show(title, rows, as_json=as_json, notes=notes, columns=columns, then=then)
    if missing:
        raise typer.Exit(1)
