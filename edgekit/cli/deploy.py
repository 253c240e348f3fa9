"""`edgekit deploy`, `rollback` and `status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.on_boards import (
    AtOnce,
    Groups,
    Inventory,
    Json,
    Python,
    Quiet,
    To,
    boards_of,
    finish,
    hosts_of,
    on_all,
)

if TYPE_CHECKING:
    from edgekit.deployment.inventory import Host


def deploy(
    bundle: Annotated[Path, typer.Argument(help="A file that `edgekit bundle` made.")],
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    canary: Annotated[
        int,
        typer.Option(
            help="This many boards go first; if one fails, no other board is touched.", min=0
        ),
    ] = 0,
    at_once: AtOnce = 8,
    max_failures: Annotated[
        float, typer.Option(help="Stop if more than this share of the boards failed, 0 to 1.")
    ] = 0.1,
    max_p90: Annotated[
        float | None,
        typer.Option(
            help="Refuse the bundle on a board where p90 is longer than this, in milliseconds."
        ),
    ] = None,
    require_signature: Annotated[
        bool,
        typer.Option(
            "--require-signature", help="Refuse a bundle without the signature of a trusted key."
        ),
    ] = False,
    allow_older: Annotated[
        bool,
        typer.Option(
            "--allow-older", help="Accept a release older than one that the board has served."
        ),
    ] = False,
    keep: Annotated[int, typer.Option(help="How many versions a board keeps.", min=1)] = 3,
    service: Annotated[
        Path | None,
        typer.Option(help="A systemd user unit to install, and to restart with each version."),
    ] = None,
    python: Python = "python3",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a bundle to boards, test it there, and switch to it only if the test passes.

    If anything fails, the board keeps the version it had. Run the same command again to continue
    with the boards that are missing.
    Example: edgekit deploy mtc.ekb --to ssh://pi@raspberrypi.local
    """
    from edgekit.deployment.bundle import read_bundle
    from edgekit.deployment.deploy import Deployed, DeployRequest, check_unit
    from edgekit.deployment.deploy import deploy as run
    from edgekit.deployment.rollout import Plan
    from edgekit.progress import Say

    read = read_bundle(bundle)
    check_unit(service)

    def action(host: Host, say: Say) -> Deployed:
        limits = [limit for limit in (max_p90, host.max_p90_ms) if limit is not None]
        signed = require_signature or host.require_signature
        limit = min(limits, default=None)
        return run(
            DeployRequest(
                bundle=read,
                python=host.python,
                max_p90_ms=limit,
                require_signature=signed,
                allow_older=allow_older,
                keep=keep,
                service=service,
            ),
            host.address,
            say,
        )

    def row(result: Deployed) -> dict[str, Any]:
        return {
            "result": "already there" if result.already else "deployed",
            "version": result.version[:12],
            "before": (result.before or "")[:12] or None,
            "p90_ms": result.p90_ms,
            "signed_by": result.signed_by,
        }

    hosts = hosts_of(to, inventory, group, python)
    plan = Plan(canary=canary, at_once=at_once, max_failures=max_failures)
    rows, notes = on_all(hosts, action, plan, row, quiet or as_json)
    then = f"edgekit status {boards_of(to, inventory)}"
    finish(f"{read.name} {read.sha256[:12]}", rows, notes, as_json, then)


def rollback(
    app: Annotated[str, typer.Argument(help="The application, as `edgekit status` names it.")],
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    at_once: AtOnce = 8,
    python: Python = "python3",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Switch each board back to the previously deployed version.

    Example: edgekit rollback multitask-cnn-classification --to ssh://pi@raspberrypi.local
    """
    from edgekit.deployment.deploy import Deployed, roll_back
    from edgekit.deployment.rollout import Plan
    from edgekit.progress import Say

    def action(host: Host, say: Say) -> Deployed:
        say(str(host.address), "rollback")
        return roll_back(app, host.address, host.python, host.require_signature)

    def row(result: Deployed) -> dict[str, Any]:
        before = (result.before or "")[:12] or None
        return {"result": "rolled back", "version": result.version[:12], "before": before}

    hosts = hosts_of(to, inventory, group, python)
    rows, notes = on_all(
        hosts, action, Plan(canary=0, at_once=at_once, max_failures=1.0), row, quiet or as_json
    )
    finish(f"Rollback of {app}", rows, notes, as_json, f"edgekit status {boards_of(to, inventory)}")


def status(
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    at_once: AtOnce = 8,
    python: Python = "python3",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show which version each board uses, whether its files are intact, and earlier versions.

    Example: edgekit status --to ssh://pi@raspberrypi.local
    """
    from edgekit.cli.output import column_names, progress, show
    from edgekit.deployment.deploy import status as run
    from edgekit.deployment.rollout import Plan, roll_out
    from edgekit.progress import Say

    def action(host: Host, say: Say) -> list[dict[str, Any]]:
        say(str(host.address), "status")
        return run(host.address, host.python)

    hosts = hosts_of(to, inventory, group, python)
    with progress(quiet or as_json) as say:
        outcomes = roll_out(hosts, action, Plan(canary=0, at_once=at_once, max_failures=1.0), say)
    rows = []
    notes = [outcome.error for outcome in outcomes if outcome.error]
    for outcome in outcomes:
        board = {"board": str(outcome.host.address), "group": outcome.host.group or None}
        for app in outcome.result or ():
            rows.append(
                {
                    **board,
                    "app": app["app"],
                    "serves": app.get("label"),
                    "version": (app["active"] or "")[:12] or None,
                    "state": app.get("damage") or ("whole" if app["active"] else "nothing serves"),
                    "earlier": [version[:12] for version in app["earlier"]],
                }
            )
        if not outcome.result:
            rows.append({**board, "state": "not reached" if outcome.error else "nothing deployed"})
    columns = [
        name for name in column_names(rows) if any(row.get(name) is not None for row in rows)
    ]
    then = f"edgekit deploy BUNDLE {boards_of(to, inventory)}, or edgekit rollback APP"
    show("Boards", rows, as_json=as_json, notes=notes, columns=columns, then=then)
    if notes:
        raise typer.Exit(1)
