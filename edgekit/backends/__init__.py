"""The backends: one file each, named by its stem, all with the same few members.

Listing names reads a folder, and the metadata of installed plug-ins; `load_backend` imports one
file, and no converter or runtime is imported before `build` runs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from edgekit.artifact import Feed, Precision
from edgekit.errors import UserError, did_you_mean
from edgekit.plugins import plugins
from edgekit.runtimes.table import RUNTIMES, runtimes_of

if TYPE_CHECKING:
    from edgekit.graph import ExportedGraph
    from edgekit.onboard.runner import Loader

MEMBERS = ("PRECISIONS", "RUNTIME", "EXTRA", "PACKAGES", "PROGRAM", "build")
"""What a plug-in's module must have: the members of `Backend`."""


@dataclass(frozen=True)
class Built:
    """What `build` wrote: file names, the one to load first, and what the artifact takes.

    `int8_layers`: names of the layers that run in int8, the guard's candidates for float.
    """

    files: tuple[str, ...]
    feed: Feed
    notes: tuple[str, ...] = ()
    int8_layers: tuple[str, ...] = ()


class Backend(Protocol):
    """One converter and the runtime its artifacts run in."""

    PRECISIONS: tuple[Precision, ...]
    """What it can build."""
    RUNTIME: str
    """The runner's name of the runtime that loads its artifacts by default."""
    EXTRA: str
    """The extra of our distribution that installs what it needs."""
    PACKAGES: tuple[str, ...]
    """The distributions whose versions go into the manifest."""
    PROGRAM: str
    """The module that runs its artifacts, on this machine only; empty for the runner.

    Needed where the runner does not know `RUNTIME`: it has `LOADERS` like the runner's RUNTIMES,
    and `python -m PROGRAM JOB.json` does what runner.py does (_torch_runtime.py shows it).
    """

    def build(
        self,
        graph: ExportedGraph,
        precision: Precision,
        folder: Path,
        keep_float: tuple[str, ...],
    ) -> Built:
        """Write the artifact's files into `folder`.

        `keep_float` names layers that an int8 artifact computes in float. Raises
        UnsupportedModel for an operator the backend cannot take.
        """


def ways_of(backend: Backend) -> dict[str, str]:
    """Return the ways a backend can build int8 in beside its usual one, and what each does.

    They are its `WAYS`, which it need not have: a name for `ExportedGraph.way`, and a few plain
    words for the manifest.
    """
    ways: dict[str, str] = getattr(backend, "WAYS", {})
    return ways


def own_names() -> list[str]:
    """Return the names of edgekit's own backends."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))


def backend_names() -> list[str]:
    """Return every backend's name, plug-ins' too."""
    return sorted((*own_names(), *plugins("backends", own_names())))


def runtime_for(backend: str, wanted: str | None) -> str:
    """Return the runner's name of the runtime for a backend: `wanted`, where it is one of its own.

    Another backend's `wanted`, or None, gives the default. Raises UserError for an unknown one.
    """
    if wanted is not None:
        known = [runtime.name for runtime in RUNTIMES]
        if wanted not in known:
            raise UserError(did_you_mean("runtime", wanted, known))
        if wanted in {runtime.name for runtime in runtimes_of(backend)}:
            return wanted
    return load_backend(backend).RUNTIME


def load_backend(name: str) -> Backend:
    """Return a backend by name.

    Raises UserError with the nearest names, BrokenPlugin for a plug-in that cannot be loaded.
    """
    if name in own_names():
        return cast(Backend, importlib.import_module(f"edgekit.backends.{name}"))
    plugin = plugins("backends").get(name)
    if plugin is None:
        raise UserError(did_you_mean("backend", name, backend_names()))
    return cast(Backend, plugin.load(MEMBERS))


def imports_of(backend: Backend) -> tuple[str, ...]:
    """Return the modules that a build imports: the backend's own before its libraries.

    openvino.py stops its converter from reporting, which works only before that is imported.
    """
    name: str = cast(ModuleType, backend).__name__
    return (name, *(package.replace("-", "_") for package in backend.PACKAGES))


def loader(backend: Backend) -> Loader:
    """Return what loads a backend's artifacts into this process."""
    from edgekit.onboard import runner

    if not backend.PROGRAM:
        return runner.RUNTIMES[backend.RUNTIME]
    loaders: dict[str, Loader] = importlib.import_module(backend.PROGRAM).LOADERS
    return loaders[backend.RUNTIME]
