"""Networks by their names in other people's libraries, one file a library: `timm:NAME` and so on.

Each fills the contract from what the library itself knows of the network: its size, mean, std,
crop and labels. Nothing is downloaded unless that was asked for. More of them come from other
packages, as modules with the same members:

    [project.entry-points."edgekit.sources"]
    mylibrary = "my_package.my_module"
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from edgekit.errors import BadModel, MissingPackage
from edgekit.plugins import plugins
from edgekit.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

MEMBERS = ("PACKAGES", "load")
"""What a plug-in's module must have: the members of `Library`."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a library: a network's name there, or a file or folder.

    `weights` is a local checkpoint. `download`: the library may fetch weights, as it would by
    itself. `trust`: open a file that can run code of its own. `seed` draws the weights of a network
    that has none.
    """

    name: str
    weights: Path | None = None
    download: bool = False
    trust: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """A library's network with its contract, and where its weights came from.

    `trained`: the library's own; `given`: a file of the user's; `random`: drawn. `notes`: what the
    user must know of the network.
    """

    module: nn.Module
    spec: ModelSpec
    weights: Literal["trained", "given", "random"]
    notes: tuple[str, ...] = ()


class Library(Protocol):
    """One library of networks."""

    PACKAGES: tuple[str, ...]
    """The modules it imports, which are called as their distributions."""

    def load(self, wanted: Wanted) -> Found:
        """Return a network. Raises BadModel for a name, file or kind of network it has not."""


def own_names() -> list[str]:
    """Return the libraries that edgekit knows by itself."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def library_names() -> list[str]:
    """Return what may stand before the colon: ours, then those of plug-ins."""
    own = own_names()
    return [*own, *plugins("sources", own)]


def load_library(name: str) -> Library:
    """Return a library by its name. Raises MissingPackage with the pip line, or BrokenPlugin."""
    plugin = plugins("sources").get(name)
    if name in own_names():
        library = cast(Library, importlib.import_module(f"edgekit.conversion.libraries.{name}"))
    elif plugin is not None:
        library = cast(Library, plugin.load(MEMBERS))
    else:
        raise BadModel(f"no library '{name}': edgekit knows {', '.join(library_names())}")
    for package in library.PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, "")
    return library


def pixels(values: tuple[float, ...] | list[float]) -> tuple[float, ...]:
    """Return a mean or std of channels, given on a scale of 0 to 1, in pixels of 0 to 255."""
    return tuple(round(255 * float(value), 6) for value in values)


def numbered_labels(count: int) -> tuple[str, ...]:
    """Return labels for classes that have no names."""
    return tuple(f"class {index}" for index in range(count))


def own_classes(module: nn.Module, wanted: Wanted) -> int | None:
    """Return how many classes the checkpoint asked for has, where nothing else differs from
    `module`: a network that was trained on classes of one's own has another last layer.

    None where there is no checkpoint, where it fits, and where it is of another network.
    """
    from edgekit.zoo.state_dicts import choose, network_of
    from edgekit.zoo.weight_files import read_parts

    if wanted.weights is None:
        return None
    network = network_of(module)
    found, _ = choose(wanted.weights, read_parts(wanted.weights), network, None)
    if network.lacks(found.tensors) or found.extra:
        return None
    pairs = [(tensor.shape, network.tensors[name].shape) for name, tensor in found.tensors.items()]
    other = [(given, own) for given, own in pairs if given != own]
    counts = {(given[:1], own[:1]) for given, own in other}
    if len(counts) != 1 or any(given[1:] != own[1:] for given, own in other):
        return None
    ((given, _),) = counts
    return int(given[0]) if given else None


def own_note(count: int) -> str:
    """Return what to tell of a network with classes of the user's own."""
    return (
        f"its last layer has {count} classes of your own, which are called class 0 to class "
        f"{count - 1} here: give --spec to name them"
    )


def place_weights(module: nn.Module, wanted: Wanted) -> Literal["given", "random"]:
    """Load the weights that were asked for, all or none; say where they are from."""
    from edgekit.zoo.checkpoint import load_weights

    if wanted.weights is None:
        return "random"
    load_weights(module, wanted.weights)
    return "given"
