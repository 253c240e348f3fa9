"""Reads an artifact's operator list from its model file: one file a backend, named as the backend.

What a runtime fuses into a neighbour (activations, a bias, quantize pairs) or does by pointer
(reshapes) is no operator here; what the evidence's networks do not have is counted and named.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from edgekit.errors import BadArtifact, EdgekitError, MissingPackage, UserError
from edgekit.latency_model.workload import Workload

if TYPE_CHECKING:
    from edgekit.artifact import Artifact


class Reader(Protocol):
    """One backend's file format."""

    EXTRA: str
    """The extra of our distribution that installs what it needs."""

    def read(self, path: Path) -> Workload:
        """Return what the network in `path` has to do. Raises any error for a damaged file."""


def workload_of(artifact: Artifact) -> Workload:
    """Return what one inference of `artifact` has to do, batch 1.

    Raises UserError for a backend that no board runs, BadArtifact for a file that cannot be read
    or has no fixed shapes, MissingPackage where the format's package is not installed.
    """
    backend = artifact.manifest.backend
    if backend not in readers():
        known = ", ".join(readers())
        raise UserError(f"{artifact.label}: no board runs it; latency is predicted for {known}")
    reader = cast(Reader, importlib.import_module(f"{__name__}.{backend}"))
    try:
        work = reader.read(artifact.path)
    except ModuleNotFoundError as error:
        raise MissingPackage(error.name or backend, reader.EXTRA) from None
    except EdgekitError:
        raise
    except Exception as error:  # a converter's file may be wrong in as many ways as it likes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadArtifact(f"{artifact.path}: its operators cannot be read ({reason})") from None
    if not work.operators:
        raise BadArtifact(f"{artifact.path} has no operator to price: convert again")
    return work


def readers() -> list[str]:
    """Return the backends whose files can be read."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
