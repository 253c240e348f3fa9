"""`edgekit keys`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.on_boards import (
    AtOnce,
    Groups,
    Inventory,
    Json,
    Python,
    To,
    finish,
    hosts_of,
    on_all,
)

if TYPE_CHECKING:
    from edgekit.deployment.inventory import Host


keys = typer.Typer(name="keys", help="Keys that sign bundles: make, trust.", no_args_is_help=True)


@keys.command()
def new(
    path: Annotated[
        Path, typer.Argument(help="File of the private key; the public key is PATH.pub.")
    ],
) -> None:
    """Make an ed25519 key pair that signs bundles; an existing file is never overwritten.

    It has no passphrase: `ssh-keygen -p -f PATH` gives it one.
    Example: edgekit keys new release
    """
    from edgekit.cli.output import tell
    from edgekit.deployment.keys import new_key

    public = new_key(path)
    tell(f"{path} (keep it to yourself), {public}")
    tell(f"next: edgekit keys trust {public} --to ssh://USER@HOST")


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
    from edgekit.deployment.deploy import trust as run
    from edgekit.deployment.keys import trusted_line
    from edgekit.deployment.rollout import Plan
    from edgekit.progress import Say

    line = trusted_line(public)

    def action(host: Host, say: Say) -> str:
        say(str(host.address), "trust")
        run(line, host.address, host.python)
        return line.split()[0]

    hosts = hosts_of(to, inventory, group, python)
    plan = Plan(canary=0, at_once=at_once, max_failures=1.0)
    rows, notes = on_all(
        hosts, action, plan, lambda name: {"result": "trusted", "signer": name}, True
    )
    then = "edgekit bundle ARTIFACT -o model.ekb --sign PRIVATE_KEY"
    finish(f"Trust {public.name}", rows, notes, as_json, then)
