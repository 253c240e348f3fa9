"""`edgekit bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.on_boards import Json

if TYPE_CHECKING:
    pass


def bundle(
    artifact: Annotated[Path, typer.Argument(help="An artifact that `edgekit convert` made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: model.ekb.")],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the application on boards. Default: the model's name."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Images for the test on the board. Default: crops of a sample picture."),
    ] = None,
    wheelhouse: Annotated[
        Path | None,
        typer.Option(help="Pack the boards' wheels too, from this folder or downloaded into it."),
    ] = None,
    max_p90: Annotated[
        float | None,
        typer.Option(
            help="A board refuses the bundle if its p90 is longer than this, in milliseconds."
        ),
    ] = None,
    sign: Annotated[Path | None, typer.Option(help="Sign with this OpenSSH private key.")] = None,
    release: Annotated[
        int | None,
        typer.Option(help="A number from 1 on; boards refuse one below what they served.", min=1),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Pack an artifact, its runner, its requirements and test images with answers into one file.

    Example: edgekit bundle out/mtc/onnx-int8 -o mtc.ekb --max-p90 25
    """
    from edgekit.artifact import load_artifact
    from edgekit.cli.output import show, typed
    from edgekit.data.inputs import inputs_of
    from edgekit.deployment.bundle import BundleRequest, make_bundle

    loaded = load_artifact(artifact)
    made = make_bundle(
        BundleRequest(
            artifact=loaded,
            output=output,
            images=inputs_of(images, [loaded]),
            name=name,
            wheelhouse=wheelhouse,
            max_p90_ms=max_p90,
            key=sign,
            release=release,
            force=force,
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
    show(
        "Bundle",
        [row],
        as_json=as_json,
        then=f"edgekit deploy {typed(made.path)} --to ssh://USER@HOST",
    )
