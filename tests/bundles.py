"""Bundles that cost nothing to prove, and boards that can run them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from null_artifacts import null_artifact
from sshd import Board

from edgekit.data.images import open_images
from edgekit.deployment.bundle import Bundle, BundleRequest, make_bundle


def null_bundle(folder: Path, pictures: Path, content: str = "nothing", **options: Any) -> Bundle:
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
