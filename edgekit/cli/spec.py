"""`edgekit spec`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def spec(
    file: Annotated[Path, typer.Argument(help="An .onnx or a .pt2 file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here. Default: print it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .pt2 that could run code when it is opened.")
    ] = False,
) -> None:
    """Draft the spec of a network from a file: what goes in, what comes out, what you must add.

    Example: edgekit spec model.onnx -o spec.toml
    """
    from edgekit.cli.output import tell, typed
    from edgekit.conversion.draft import draft
    from edgekit.errors import UserError
    from edgekit.files import write_whole

    text = draft(file, trust=trust)
    if output is None:
        tell(*text.splitlines())
        return
    if output.exists() and not force:
        raise UserError(
            f"{output} exists and is kept: add --force to replace it, or choose another"
        )
    write_whole(output, text)
    tell(
        f"{output} is written: check its lines",
        f"next: edgekit convert {typed(file)} --spec {typed(output)}",
    )
