"""`edgekit device`: virtual boards, installed, listed, checked, removed; board.py has real ones."""

from __future__ import annotations

from typing import Annotated

import typer

from edgekit.cli import completion

device = typer.Typer(
    name="device",
    help="Virtual boards: install, list, check, remove. Real ones: probe, provision, clean.",
    no_args_is_help=True,
)

Board = Annotated[
    str,
    typer.Argument(
        help="rpi3, rpi4, rpi5, rpi-zero2w, or your own TOML file.",
        autocompletion=completion.targets,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@device.command()
def install(
    board: Board,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Build a board's system and ARM runtimes in your cache; nothing needs root.

    Example: edgekit device install rpi4
    """
    from edgekit.cli.output import progress
    from edgekit.targets import load_target
    from edgekit.virtual.board import board_of
    from edgekit.virtual.sysroot import install as run

    with progress(quiet) as say:
        sysroot = run(
            board_of(load_target(board)),
            progress=lambda step, done, total: say("install", f"{step} ({done} of {total})"),
        )
    runtimes = ", ".join(
        f"{item.runtime} {item.version}" if not item.error else f"{item.runtime} ({item.error})"
        for item in sysroot.record.runtimes
    )
    print(f"{sysroot.board.name}: {sysroot.record.bytes / 1e6:,.0f} MB, {runtimes}")


@device.command(name="list")
def list_boards(as_json: Json = False) -> None:
    """List the virtual boards that are installed.

    Example: edgekit device list
    """
    from edgekit.cli.output import show
    from edgekit.virtual.sysroot import list_installed

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
    notes = () if rows else ("none: edgekit device install rpi4",)
    show("Virtual boards", rows, as_json=as_json, notes=notes)


@device.command()
def remove(board: Board) -> None:
    """Remove a virtual board from your cache.

    Example: edgekit device remove rpi4
    """
    from edgekit.virtual.sysroot import remove as run

    count = run(board)
    print(f"removed {board}" if count else f"{board} was not installed")


@device.command()
def check(
    board: Board,
    wheel: Annotated[
        list[str] | None, typer.Argument(help="More wheels: file names or name==version.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which wheels fit a board's Python, C library and instruction set, before copying any.

    Example: edgekit device check rpi4 onnxruntime==1.20.0
    """
    from edgekit.cli.output import show
    from edgekit.errors import DeviceError
    from edgekit.targets import load_target
    from edgekit.virtual.board import board_of
    from edgekit.virtual.locks import lock_path, read_lock
    from edgekit.virtual.oracle import check as run
    from edgekit.virtual.sysroot import installed

    profile = board_of(load_target(board))
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
        for fit in run(profile, read_lock(lock_path(profile.name)), record, wheel or ())
    ]
    notes = ["tried: imported on the board's emulated CPU; the others by their tags alone"]
    if record is None:
        notes.append(f"instruction sets need the board: edgekit device install {profile.name}")
    show(f"Wheels on {profile.title}", rows, as_json=as_json, notes=notes)
    if not all(row["fits"] for row in rows):
        raise typer.Exit(1)
