"""A bundle: one file with an artifact and all that a board needs to prove it and to run it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.artifact import MANIFEST, Artifact
from edgekit.data.images import ImageSet
from edgekit.deployment.golden import write_golden
from edgekit.deployment.keys import sign
from edgekit.deployment.requirements import write_requirements
from edgekit.errors import BadBundle, OutputExists, UserError
from edgekit.files import file_whole, sha256
from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import (
    SCHEMA,
    Head,
    check_app,
    open_bundle,
    parse_index,
    write_bundle,
)
from edgekit.paths import ONBOARD
from edgekit.session import RUNNER
from edgekit.version import __version__


@dataclass(frozen=True, kw_only=True)
class BundleRequest:
    """What goes into a bundle.

    `name` is the application's on the board: bundles of one name are versions of each other.
    `images` are decoded and stored for the golden test. `wheelhouse` is a folder of wheels, to
    which missing ones are fetched. `max_p90_ms`: the board refuses to switch above it. `key`: an
    OpenSSH private key. `release`: a number from 1 on; a board that has served one refuses lower
    ones, so that an old signed bundle cannot be sent in a new one's place.
    """

    artifact: Artifact
    output: Path
    images: ImageSet
    name: str | None = None
    wheelhouse: Path | None = None
    max_p90_ms: float | None = None
    key: Path | None = None
    release: int | None = None
    force: bool = False


@dataclass(frozen=True)
class Bundle:
    """A bundle file that was read and found in order."""

    path: Path
    sha256: str
    head: Head

    @property
    def name(self) -> str:
        """The application it is a version of."""
        return str(self.head.index["name"])


def make_bundle(request: BundleRequest) -> Bundle:
    """Write the bundle, whole or not at all; equal input gives equal bytes.

    Raises UserError for a name or limit that cannot be, OutputExists, MissingPackage where this
    machine lacks the runtime that computes the golden answers.
    """
    if request.output.exists() and not request.force:
        raise OutputExists(f"{request.output} exists and is kept: add --force to replace it")
    if request.max_p90_ms is not None and not 0 < request.max_p90_ms < float("inf"):
        raise UserError(f"--max-p90 {request.max_p90_ms}: give milliseconds above 0")
    name = _app(request)
    request.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=request.output.parent) as scratch:
        folder = Path(scratch) / "content"
        folder.mkdir()
        artifact = request.artifact
        for file in (MANIFEST, *(record.name for record in artifact.manifest.files)):
            shutil.copyfile(artifact.folder / file, folder / file)
        shutil.copyfile(ONBOARD / RUNNER, folder / RUNNER)
        write_golden(artifact, request.images, folder / "golden")
        platforms = write_requirements(artifact, folder, request.wheelhouse)
        index = {
            "schema": SCHEMA,
            "name": name,
            "label": artifact.label,
            "artifact": artifact.sha256,
            "max_p90_ms": request.max_p90_ms,
            "platforms": platforms,
            "edgekit": __version__,
            "files": _files(folder),
        }
        if request.release is not None:
            index["release"] = request.release
        head = _head(index, request.key)
        with file_whole(request.output) as out:
            write_bundle(out, head, folder)
    return read_bundle(request.output)


def read_bundle(path: Path) -> Bundle:
    """Return the bundle at `path`, its head checked. Raises BadBundle in one line."""
    if not path.is_file():
        raise BadBundle(f"no bundle at {path}: make one with `edgekit bundle ARTIFACT -o {path}`")
    try:
        head = open_bundle(path)
    except Refused as refused:
        raise BadBundle(f"{path}: {refused}") from None
    return Bundle(path, sha256(path), head)


def _app(request: BundleRequest) -> str:
    """Return the application's name: the one given, or made from the model's."""
    own = re.sub(r"[^a-z0-9._-]+", "-", request.artifact.manifest.model.lower()).strip("-._")
    try:
        return check_app(own if request.name is None else request.name)
    except Refused as refused:
        raise UserError(f"{refused} (--name)") from None


def _files(folder: Path) -> list[dict[str, Any]]:
    paths: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "name": path.relative_to(folder).as_posix(),
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in paths
    ]


def _head(index: dict[str, Any], key: Path | None) -> Head:
    """Return the head of `index`, signed where there is a key; read as a board will read it."""
    data = json.dumps(index, indent=1).encode() + b"\n"
    try:
        parsed, files = parse_index(data)
    except Refused as refused:
        raise UserError(f"this artifact cannot be bundled: {refused}") from None
    return Head(parsed, data, sign(data, key) if key else None, files)
