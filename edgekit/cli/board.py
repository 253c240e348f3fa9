"""`edgekit device probe`, `provision` and `clean`: real boards over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit.targets import DeviceFacts, Target

Where = Annotated[str, typer.Argument(help="ssh://user@host:port; your ~/.ssh/config counts.")]
Claimed = Annotated[
    str | None, typer.Option(help="What the board should be, by name or TOML file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def probe(address: Where, target: Claimed = None, as_json: Json = False) -> None:
    """Print what a board says of itself; with --target, fail where it cannot be that.

    Example: edgekit device probe ssh://pi@raspberrypi.local --target rpi4
    """
    import msgspec

    from edgekit.cli.output import show

    facts, provenance = _facts(address, _target(target))
    row = {**msgspec.to_builtins(facts), "provenance": provenance}
    lines = [{"fact": name, "value": value} for name, value in row.items()]
    notes = () if provenance == "measured" else ("its CPU is emulated: it has no times of its own",)
    show(f"{address}: {facts.title}", [row] if as_json else lines, as_json=as_json, notes=notes)


def provision(
    address: Where,
    target: Claimed = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help="onnxruntime, ai_edge_litert, openvino (all three), tflite_runtime."),
    ] = None,
    wheelhouse: Annotated[
        Path | None,
        typer.Option(help="Fetch the board's wheels into this folder here; it installs offline."),
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Give a board the runtimes, in ~/.edgekit alone; nothing needs root, and it can be repeated.

    Example: edgekit device provision ssh://pi@raspberrypi.local --wheelhouse wheels
    """
    from edgekit.cli.output import progress, show
    from edgekit.ssh.address import parse_address
    from edgekit.ssh.environment import DEFAULT_RUNTIMES
    from edgekit.ssh.provision import provision as run

    profile = _target(target)
    facts, _ = _facts(address, profile)
    with progress(quiet or as_json) as say:
        made = run(
            parse_address(address),
            facts,
            target=profile,
            runtimes=runtime or DEFAULT_RUNTIMES,
            wheelhouse=wheelhouse,
            say=say,
        )
    rows = [
        {
            "environment": f"~/.edgekit/env/{item.environment.folder}",
            "python": item.environment.python,
            "wheels": [f"{wheel.name} {wheel.version}" for wheel in item.environment.wheels],
            "kept": item.kept,
        }
        for item in made
    ]
    show(f"{address}: {facts.title}", rows, as_json=as_json)


def clean(address: Where) -> None:
    """Remove ~/.edgekit, and so all that edgekit ever put there, from a board.

    Example: edgekit device clean ssh://pi@raspberrypi.local
    """
    from edgekit.ssh.address import parse_address
    from edgekit.ssh.provision import clean as run

    there = run(parse_address(address))
    print(f"removed ~/.edgekit of {address}" if there else f"{address} has no ~/.edgekit")


def _target(name: str | None) -> Target | None:
    from edgekit.targets import load_target

    return load_target(name) if name else None


def _facts(address: str, target: Target | None) -> tuple[DeviceFacts, str]:
    """Return what the board reports and its provenance; BadTarget where it is not `target`."""
    from edgekit.devices import probe as run
    from edgekit.devices import put_runner
    from edgekit.devices.ssh import SshDevice
    from edgekit.ssh.address import parse_address
    from edgekit.targets import check_device

    device = SshDevice(parse_address(address))
    try:
        put_runner(device)
        facts = run(device)
        if target:
            check_device(target, facts, device.name)
        return facts, device.provenance
    finally:
        device.close()
