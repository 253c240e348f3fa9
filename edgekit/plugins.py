"""Backends, targets, datasets and sources from other packages, found by their entry points.

    [project.entry-points."edgekit.backends"]      a module with the members of backends.Backend
    [project.entry-points."edgekit.targets"]       the package that holds NAME.toml
    [project.entry-points."edgekit.datasets"]      a module with the members of data.Reader
    [project.entry-points."edgekit.sources"]       one of conversion.libraries.Library

Names are listed from installed metadata, and nothing is imported. A name of edgekit's own is never
taken over. A plug-in that cannot be loaded costs whoever asks for it one line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from edgekit.errors import BrokenPlugin

Kind = Literal["backends", "targets", "datasets", "sources"]
KINDS: tuple[Kind, ...] = ("backends", "targets", "datasets", "sources")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """One entry point: its name, and the package and version that brought it."""

    kind: Kind
    name: str
    package: str
    entry: EntryPoint

    @property
    def title(self) -> str:
        """`backend acme of acme-edgekit 0.1`."""
        return f"{self.kind.removesuffix('s')} {self.name} of {self.package}"

    def load(self, members: Sequence[str]) -> Any:
        """Import the module and return it.

        Raises BrokenPlugin where that fails, or where it lacks one of `members`.
        """
        try:
            module = self.entry.load()
        except Exception as error:  # another's code: anything may come out of it
            raise self.broken(f"{type(error).__name__}: {error}") from error
        if missing := [name for name in members if not hasattr(module, name)]:
            raise self.broken(f"it has no {', '.join(missing)}")
        return module

    def file(self, name: str) -> Path:
        """Return a data file beside the package's code, which is not imported for it.

        Raises BrokenPlugin where there is none.
        """
        try:
            spec = importlib.util.find_spec(self.entry.value)
        except (ImportError, ValueError) as error:
            raise self.broken(str(error)) from error
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(folder) / name).is_file():
                return Path(folder) / name
        raise self.broken(f"{self.entry.value} holds no {name}")

    def broken(self, reason: str) -> BrokenPlugin:
        """Return the error of this plug-in, in one line."""
        line = " ".join(reason.split())
        return BrokenPlugin(f"the {self.title} cannot be used ({line}): update or uninstall it")


def plugins(kind: Kind, own: Sequence[str] = ()) -> dict[str, Plugin]:
    """Return the installed plug-ins of a kind by name, without those named as one of our `own`.

    Of two with one name the first on the import path counts, as for modules.
    """
    found: dict[str, Plugin] = {}
    for entry in entry_points(group=f"edgekit.{kind}"):
        dist = entry.dist
        package = f"{dist.name} {dist.version}" if dist else "an unknown package"
        if entry.name not in own:
            found.setdefault(
                entry.name, Plugin(kind=kind, name=entry.name, package=package, entry=entry)
            )
    return found
