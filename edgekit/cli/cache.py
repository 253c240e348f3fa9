"""`edgekit cache`."""

from __future__ import annotations

from typing import Annotated

import typer

cache = typer.Typer(
    name="cache", help="What edgekit keeps on this machine: show, clear.", no_args_is_help=True
)


@cache.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what lies in the cache folder, how large it is, and whether it holds pictures.

    Example: edgekit cache show
    """
    from edgekit.cached import parts
    from edgekit.cli.output import show as print_table
    from edgekit.paths import cache_folder
    from edgekit.report import cells

    found = parts()
    rows = [{"name": p.name, "bytes": p.bytes, "what": p.purpose, "holds": p.holds} for p in found]
    short = [
        {"name": p.name, "size": cells.size(p.bytes), "what": p.purpose, "holds": p.holds}
        for p in found
    ]
    notes = [
        f"{cache_folder()}: {cells.size(sum(p.bytes for p in found))}",
        "decoded and reframed images lie here as pixels: faces too, if your datasets hold faces",
    ]
    then = "edgekit cache clear: what is made again by itself; or edgekit cache clear NAME"
    if not found:
        then = "edgekit convert multitask-cnn -o out"
        notes = [f"{cache_folder()} is empty"]
    print_table("Cache", rows, as_json=as_json, notes=notes, short=short, then=then)


@cache.command()
def clear(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Parts, as `edgekit cache show` names them; none: all but the costly."),
    ] = None,
) -> None:
    """Remove parts of the cache. Without names, emulated boards and trained weights stay.

    Example: edgekit cache clear decoded
    """
    from edgekit.cached import clear as run
    from edgekit.cached import parts
    from edgekit.cli.output import tell
    from edgekit.report import cells

    removed = run(names or [])
    for part in removed:
        tell(f"removed {part.name}, {cells.size(part.bytes)}")
    kept = [part.name for part in parts()]
    tell(f"kept: {', '.join(kept)}" if kept else "the cache is empty")
    tell("next: edgekit cache show")
