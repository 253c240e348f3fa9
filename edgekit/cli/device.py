"""`edgekit device`: virtual boards, and real ones over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli import completion

if TYPE_CHECKING:
    from edgekit.targets import DeviceFacts, Target

device = typer.Typer(
    name="device",
    help="Virtual boards: install, list, check, remove. Real ones: probe, provision, clean.",
    no_args_is_help=True,
)

Board = Annotated[
    str,
    typer.Argument(
        help="rpi3, rpi4, rpi5, rpi-zero2w, one with -trixie, or your own target file (TOML).",
        autocompletion=completion.targets,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
System = Annotated[
    str | None,
    typer.Option("--os", help="Its system, bookworm or trixie; the same as rpi4-trixie."),
]
Where = Annotated[str, typer.Argument(help="ssh://user@host:port; your ~/.ssh/config is used.")]
Claimed = Annotated[
    str | None,
    typer.Option(help="The board it should be, by name or TOML file; fails if it is another."),
]


@device.command()
def install(
    board: Board,
    system: System = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Install a virtual board in your cache: its system and ARM runtimes. No root needed.

    With --os trixie it is the target rpi4-trixie everywhere.
    Example: edgekit device install rpi4
    """
    from edgekit.cli.output import progress, tell
    from edgekit.devices.emulator.install import install as run
    from edgekit.devices.emulator.profile import board_of
    from edgekit.targets import load_target, with_system

    with progress(quiet) as say:
        sysroot = run(
            board_of(load_target(with_system(board, system))),
            progress=lambda step, done, total: say("install", f"{step} ({done} of {total})"),
        )
    runtimes = (
        f"{item.runtime} {item.version}" if not item.error else f"{item.runtime} ({item.error})"
        for item in sysroot.record.runtimes
    )
    tell(f"{sysroot.board.name}: {sysroot.record.bytes / 1e6:,.0f} MB")
    tell(*(f"  {runtime}" for runtime in runtimes))
    tell(f"next: edgekit bench ARTIFACT --target {board}")


@device.command(name="list")
def list_boards(as_json: Json = False) -> None:
    """List the virtual boards that are installed.

    Example: edgekit device list
    """
    from edgekit.cli.output import show
    from edgekit.devices.emulator.sysroot import list_installed

    rows = [
        {
            "board": record.board.name,
            "cpu": record.board.qemu_cpu,
            "runtimes": [f"{r.runtime} {r.version}" for r in record.runtimes if not r.error],
            "megabytes": round(record.bytes / 1e6),
            "path": str(folder),
        }
        for folder, record in list_installed()
    ]
    notes = () if rows else ("none is installed",)
    then = f"edgekit bench ARTIFACT --target {rows[0]['board']}" if rows else ""
    then = then or "edgekit device install rpi4"
    show("Virtual boards", rows, as_json=as_json, notes=notes, then=then)


@device.command()
def relock(
    board: Board,
    system: System = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Go back to the lock that edgekit ships.")
    ] = False,
) -> None:
    """Lock the runtimes of a board's system to what your package index has today, in your cache.

    For a wheel that is gone from the index, or a target of your own. The wheels are fetched once
    and their hashes written down; every install after that is held to them.
    Example: edgekit device relock rpi4
    """
    from edgekit.cli.output import tell
    from edgekit.devices.emulator.profile import board_of
    from edgekit.devices.emulator.relock import relock as run
    from edgekit.runtimes.locks import own_lock_path
    from edgekit.targets import load_target, with_system

    target = load_target(with_system(board, system))
    release = board_of(target).debian
    path = own_lock_path(release)
    if shipped:
        path.unlink(missing_ok=True)
        tell(
            f"{release}: the lock that edgekit ships is used",
            f"next: edgekit device install {board}",
        )
        return
    lock = run(target.software, path)
    named = ", ".join(dict.fromkeys(f"{wheel.name} {wheel.version}" for wheel in lock.wheels))
    tell(f"{path}: {named}", f"next: edgekit device install {board}")


@device.command()
def remove(board: Board, system: System = None) -> None:
    """Remove a virtual board from your cache.

    Example: edgekit device remove rpi4
    """
    from edgekit.cli.output import tell
    from edgekit.devices.emulator.install import remove as run
    from edgekit.targets import with_system

    name = with_system(board, system)
    count = run(name)
    tell(f"removed {name}" if count else f"{name} was not installed")
    tell(f"next: edgekit device install {board} brings it back")


@device.command()
def check(
    board: Board,
    wheel: Annotated[
        list[str] | None, typer.Argument(help="More wheels: file names or name==version.")
    ] = None,
    system: System = None,
    as_json: Json = False,
) -> None:
    """Check which wheels fit a board's Python, C library and CPU, before you copy any.

    Example: edgekit device check rpi4 onnxruntime==1.20.0
    """
    from edgekit.cli.output import show
    from edgekit.devices.emulator.profile import board_of
    from edgekit.devices.emulator.sysroot import installed, lock_of
    from edgekit.devices.emulator.wheel_check import check as run
    from edgekit.errors import DeviceError
    from edgekit.targets import load_target, with_system

    profile = board_of(load_target(with_system(board, system)))
    try:
        record = installed(profile).record
    except DeviceError:
        record = None
    rows = [
        {
            "wheel": fit.wheel,
            "fits": fit.fits,
            "tried": fit.tried,
            "reasons": "; ".join(fit.reasons) or None,
        }
        for fit in run(profile, lock_of(profile), record, wheel or ())
    ]
    notes = ["tried: imported on the board's emulated CPU; the others by their tags alone"]
    if record is None:
        notes.append(f"instruction sets need the board: edgekit device install {profile.name}")
    then = f"edgekit device provision ssh://USER@HOST --target {profile.name}"
    show(f"Wheels on {profile.title}", rows, as_json=as_json, notes=notes, then=then)
    if not all(row["fits"] for row in rows):
        raise typer.Exit(1)


@device.command()
def probe(address: Where, target: Claimed = None, as_json: Json = False) -> None:
    """Show what a board reports about itself; with --target, fail if it is another board.

    Example: edgekit device probe ssh://pi@raspberrypi.local --target rpi4
    """
    import msgspec

    from edgekit.cli.output import show

    facts, provenance = _facts(address, _target(target))
    row = {**msgspec.to_builtins(facts), "provenance": provenance}
    lines = [{"fact": name, "value": value} for name, value in row.items()]
    notes = () if provenance == "measured" else ("its CPU is emulated: it has no times of its own",)
    title, shown = f"{address}: {facts.title}", [row] if as_json else lines
    then = f"edgekit device provision {address}"
    show(title, shown, as_json=as_json, notes=notes, then=then)


@device.command()
def provision(
    address: Where,
    target: Claimed = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="onnxruntime, ai_edge_litert, openvino, ncnn (all four), tflite_runtime."
        ),
    ] = None,
    wheelhouse: Annotated[
        Path | None,
        typer.Option(
            help="Download the wheels into this folder here, so that the board needs no network."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Install the runtimes on a board, in ~/.edgekit only. No root needed; safe to repeat.

    Example: edgekit device provision ssh://pi@raspberrypi.local --wheelhouse wheels
    """
    from edgekit.cli.output import progress, show
    from edgekit.devices.ssh_link.address import parse_address
    from edgekit.devices.ssh_link.environment import DEFAULT_RUNTIMES
    from edgekit.devices.ssh_link.provision import provision as run

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
    then = f"edgekit bench ARTIFACT --target {target or 'TARGET'} --device {address}"
    show(f"{address}: {facts.title}", rows, as_json=as_json, then=then)


@device.command()
def clean(address: Where) -> None:
    """Remove ~/.edgekit from a board, and with it everything that edgekit put there.

    Example: edgekit device clean ssh://pi@raspberrypi.local
    """
    from edgekit.cli.output import tell
    from edgekit.devices.ssh_link.address import parse_address
    from edgekit.devices.ssh_link.provision import clean as run

    there = run(parse_address(address))
    tell(f"removed ~/.edgekit of {address}" if there else f"{address} has no ~/.edgekit")
    tell(f"next: edgekit device provision {address} installs the runtimes again")


def _target(name: str | None) -> Target | None:
    from edgekit.targets import load_target

    return load_target(name) if name else None


def _facts(address: str, target: Target | None) -> tuple[DeviceFacts, str]:
    """Return what the board reports and its provenance; BadTarget where it is not `target`."""
    from edgekit.devices.ssh import SshDevice
    from edgekit.devices.ssh_link.address import parse_address
    from edgekit.errors import BadTarget
    from edgekit.session import probe as run
    from edgekit.session import put_runner
    from edgekit.targets import matches

    device = SshDevice(parse_address(address))
    try:
        put_runner(device)
        facts = run(device)
        if target and (reasons := matches(target, facts)):
            raise BadTarget(
                f"{device.name} is not {target.name} ({target.title}): {'; '.join(reasons)}. "
                "Leave out --target, or name the board that it is"
            )
        return facts, device.provenance
    finally:
        device.close()
