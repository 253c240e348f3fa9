"""`edgekit bundle`, `deploy`, `rollback`, `status` and `keys`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgekit.fleet.inventory import Host
    from edgekit.fleet.rollout import Action, Plan

To = Annotated[list[str] | None, typer.Option(help="ssh://user@host; repeat for more boards.")]
Inventory = Annotated[Path | None, typer.Option(help="The fleet's TOML file, instead of --to.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only these of its groups.")]
Python = Annotated[str, typer.Option(help="The boards' own Python, by name or path.")]
AtOnce = Annotated[int, typer.Option(help="Boards at work together.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

keys = typer.Typer(name="keys", help="Keys that sign bundles: make, trust.", no_args_is_help=True)


def bundle(
    artifact: Annotated[Path, typer.Argument(help="An artifact that `edgekit convert` made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: model.ekb.")],
    name: Annotated[
        str | None, typer.Option(help="The application's name on boards; the model's by default.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Images of the golden test; the sample picture's crops.")
    ] = None,
    wheelhouse: Annotated[
        Path | None, typer.Option(help="Put the boards' wheels in, from this folder or fetched.")
    ] = None,
    max_p90: Annotated[
        float | None, typer.Option(help="Milliseconds a board's p90 may take, or it refuses.")
    ] = None,
    sign: Annotated[Path | None, typer.Option(help="Sign with this OpenSSH private key.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Pack an artifact with its runner, locked requirements and golden answers into one file.

    Example: edgekit bundle out/mtc/onnx-int8 -o mtc.ekb --max-p90 25
    """
    from edgekit.artifact import load_artifact
    from edgekit.bundle import BundleRequest, make_bundle
    from edgekit.cli.output import show
    from edgekit.images import open_images
    from edgekit.sample_images import sample_images

    made = make_bundle(
        BundleRequest(
            load_artifact(artifact),
            output,
            open_images(images) if images else sample_images(),
            name,
            wheelhouse,
            max_p90,
            sign,
            force,
        )
    )
    row = {
        "name": made.name,
        "artifact": made.head.index["label"],
        "version": made.sha256[:12],
        "files": len(made.head.files),
        "size_bytes": made.head.size,
        "signed": made.head.signature is not None,
        "max_p90_ms": made.head.index["max_p90_ms"],
        "path": str(made.path),
    }
    show("Bundle", [row], as_json=as_json, notes=(f"edgekit deploy {made.path} --to ssh://…",))


def deploy(
    bundle: Annotated[Path, typer.Argument(help="A file that `edgekit bundle` made.")],
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    canary: Annotated[
        int, typer.Option(help="Boards that go first; none follows if one fails.", min=0)
    ] = 0,
    at_once: AtOnce = 8,
    max_failures: Annotated[
        float, typer.Option(help="Begin no further board above this share of failures.")
    ] = 0.1,
    max_p90: Annotated[
        float | None, typer.Option(help="Milliseconds the p90 may take on a board.")
    ] = None,
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="Refuse what no trusted key has signed.")
    ] = False,
    keep: Annotated[int, typer.Option(help="Versions a board keeps.", min=1)] = 3,
    python: Python = "python3",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a bundle to boards, prove it there, then let it serve; on any failure the old one does.

    The same call again goes on where it stopped, with the boards that are missing.
    Example: edgekit deploy mtc.ekb --to ssh://pi@raspberrypi.local
    """
    from edgekit.bundle import read_bundle
    from edgekit.deploy import Deployed, DeployRequest
    from edgekit.deploy import deploy as run
    from edgekit.fleet.rollout import Plan, Say

    read = read_bundle(bundle)

    def action(host: Host, say: Say) -> Deployed:
        limits = [limit for limit in (max_p90, host.max_p90_ms) if limit is not None]
        signed = require_signature or host.require_signature
        limit = min(limits, default=None)
        return run(DeployRequest(read, host.python, limit, signed, keep), host.address, say)

    def row(result: Deployed) -> dict[str, Any]:
        return {
            "result": "already there" if result.already else "deployed",
            "version": result.version[:12],
            "before": (result.before or "")[:12] or None,
            "p90_ms": result.p90_ms,
            "signed_by": result.signed_by,
        }

    hosts = _hosts(to, inventory, group, python)
    plan = Plan(canary, at_once, max_failures)
    rows, notes = _on_all(hosts, action, plan, row, quiet or as_json)
    _finish(f"{read.name} {read.sha256[:12]}", rows, notes, as_json)


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
    """Let the version serve that served before, on every board named.

    Example: edgekit rollback multitask-cnn-classification --to ssh://pi@raspberrypi.local
    """
    from edgekit.deploy import Deployed, roll_back
    from edgekit.fleet.rollout import Plan, Say

    def action(host: Host, say: Say) -> Deployed:
        say(str(host.address), "rollback")
        return roll_back(app, host.address, host.python)

    def row(result: Deployed) -> dict[str, Any]:
        before = (result.before or "")[:12] or None
        return {"result": "rolled back", "version": result.version[:12], "before": before}

    hosts = _hosts(to, inventory, group, python)
    rows, notes = _on_all(hosts, action, Plan(0, at_once, 1.0), row, quiet or as_json)
    _finish(f"Rollback of {app}", rows, notes, as_json)


def status(
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    at_once: AtOnce = 8,
    python: Python = "python3",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what serves on boards, whether every file of it is whole, and what could serve again.

    Example: edgekit status --to ssh://pi@raspberrypi.local
    """
    from edgekit.cli.output import progress, show
    from edgekit.deploy import status as run
    from edgekit.fleet.rollout import Plan, Say, roll_out

    def action(host: Host, say: Say) -> list[dict[str, Any]]:
        say(str(host.address), "status")
        return run(host.address, host.python)

    hosts = _hosts(to, inventory, group, python)
    with progress(quiet or as_json) as say:
        outcomes = roll_out(hosts, action, Plan(0, at_once, 1.0), say)
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
    show("Boards", rows, as_json=as_json, notes=notes)
    if notes:
        raise typer.Exit(1)


@keys.command()
def new(
    path: Annotated[Path, typer.Argument(help="The private half's file; the public is PATH.pub.")],
) -> None:
    """Make an ed25519 key pair that signs bundles; an existing file is never overwritten.

    It has no passphrase: `ssh-keygen -p -f PATH` gives it one.
    Example: edgekit keys new release
    """
    from edgekit.bundle.keys import new_key

    print(f"{path} (keep it to yourself), {new_key(path)} (edgekit keys trust it --to boards)")


@keys.command()
def trust(
    public: Annotated[Path, typer.Argument(help="A public key, like release.pub.")],
    to: To = None,
    inventory: Inventory = None,
    group: Groups = None,
    at_once: AtOnce = 8,
    python: Python = "python3",
    as_json: Json = False,
) -> None:
    """Let boards take bundles signed by this key, and from now on no unsigned ones.

    Example: edgekit keys trust release.pub --to ssh://pi@raspberrypi.local
    """
    from edgekit.bundle.keys import trusted_line
    from edgekit.deploy import trust as run
    from edgekit.fleet.rollout import Plan, Say

    line = trusted_line(public)

    def action(host: Host, say: Say) -> str:
        say(str(host.address), "trust")
        run(line, host.address, host.python)
        return line.split()[0]

    hosts = _hosts(to, inventory, group, python)
    plan = Plan(0, at_once, 1.0)
    rows, notes = _on_all(
        hosts, action, plan, lambda name: {"result": "trusted", "signer": name}, True
    )
    _finish(f"Trust {public.name}", rows, notes, as_json)


def _hosts(
    to: list[str] | None, inventory: Path | None, groups: list[str] | None, python: str
) -> list[Host]:
    """Return the boards named by --to or by --inventory. Raises UserError for both or neither."""
    from edgekit.errors import UserError
    from edgekit.fleet.inventory import Host, read_inventory
    from edgekit.ssh.address import parse_address

    if bool(to) == (inventory is not None):
        raise UserError("which boards? give --to ssh://user@host, or --inventory fleet.toml")
    if inventory is not None:
        return read_inventory(inventory, groups or ())
    addresses = dict.fromkeys(parse_address(text) for text in to or ())
    return [Host(address, python=python) for address in addresses]


def _on_all(
    hosts: list[Host], action: Action[Any], plan: Plan, row: Any, quiet: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Carry `action` out; return a table row a board, and the errors as notes."""
    from edgekit.cli.output import progress
    from edgekit.fleet.rollout import roll_out

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


def _finish(title: str, rows: list[dict[str, Any]], notes: list[str], as_json: bool) -> None:
    """Print the table; a person reads the errors below it. Exit 1 where a board is missing."""
    from edgekit.cli.output import column_names, show

    columns = [name for name in column_names(rows) if name != "error"]
    show(title, rows, as_json=as_json, notes=notes, columns=columns)
    if any(row["error"] or row["result"] == "not begun" for row in rows):
        raise typer.Exit(1)
