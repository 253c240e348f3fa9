"""Bundles that cost nothing to prove, and boards that can run them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from sshd import Board

from edgekit.artifact import (
    Artifact,
    Manifest,
    OutputParity,
    ParityRecord,
    SourceRecord,
    record_files,
    write_manifest,
)
from edgekit.data.images import open_images
from edgekit.deployment.bundle import Bundle, BundleRequest, make_bundle
from edgekit.spec import InputSpec, OutputSpec

APP = "cats"


def null_artifact(folder: Path, model: str = APP, content: str = "nothing") -> Artifact:
    """An artifact that answers zeros: what is measured is the harness."""
    folder.mkdir(parents=True)
    (folder / "model.null").write_text(f"{content} of {model}")
    return write_manifest(
        folder,
        Manifest(
            model=model,
            backend="null",
            precision="fp32",
            files=record_files(folder, ["model.null"]),
            source=SourceRecord(
                kind="zoo", locator=model, sha256="0" * 64, parameters=1, macs=1, weights="random"
            ),
            input=InputSpec(8, 8),
            feed="uint8",
            outputs=(OutputSpec("age", "classification", ("young", "old")),),
            calibration=None,
            tools={"edgekit": "0"},
            parity=ParityRecord(
                images=("a" * 64,),
                outputs=(
                    OutputParity(name="age", max_abs_diff=0.0, mean_abs_diff=0.0, agreement=1.0),
                ),
                bar="none",
                passed=True,
            ),
        ),
    )


def null_bundle(
    folder: Path, pictures: Path, content: str = "nothing", **options: object
) -> Bundle:
    """A bundle of one, in `folder`; other content makes another version."""
    artifact = null_artifact(folder / "artifact", content=content)
    request = BundleRequest(
        artifact=artifact, output=folder / "cats.ekb", images=open_images(pictures), **options
    )
    return make_bundle(request)


def give_python(board: Board) -> None:
    """Let the board's `python3` be one with NumPy and Pillow."""
    program = board.home / "bin" / "python3"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    program.chmod(0o755)
