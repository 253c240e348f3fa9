"""The seven systems of the seed paper: facts that cost nothing to list, networks on demand.

A source is written `multitask-cnn` (its default variant) or `multitask-cnn:regression`. A system
is one module here, its name with `-` as `_`, and one entry of `systems.toml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import BadModel, MissingPackage, did_you_mean
from edgekit.paths import cache_folder
from edgekit.spec import ModelSpec
from edgekit.zoo.registry import Accuracy, Erratum, Published, System, Variant, registry

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Accuracy",
    "Erratum",
    "Published",
    "System",
    "Variant",
    "build",
    "errata",
    "own_weights",
    "resolve",
    "spec",
    "systems",
    "weights_path",
]

WEIGHTS = Path(__file__).parent / "weights"


def systems() -> dict[str, System]:
    """Return every system by name, in the order of the paper's tables. Imports no torch."""
    return {system.name: system for system in registry().systems}


def errata() -> tuple[Erratum, ...]:
    """Return what the paper's own tables and text get wrong, to be shown beside its numbers."""
    return registry().errata


def resolve(source: str) -> tuple[str, str]:
    """Return the (name, variant) that `name` or `name:variant` stands for.

    Raises BadModel with the nearest names when there is no such system or variant.
    """
    name, _, variant = source.partition(":")
    known = systems()
    if name not in known:
        raise BadModel(did_you_mean("system", name, list(known)))
    variants = known[name].variants
    if source == name:
        return name, known[name].default
    if variant not in variants:
        raise BadModel(did_you_mean(f"variant of {name}", variant, list(variants)))
    return name, variant


def spec(name: str, variant: str) -> ModelSpec:
    """Return the input and output contract of a variant. Raises BadModel as `resolve` does."""
    name, variant = resolve(f"{name}:{variant}")
    return systems()[name].spec(variant)


def build(name: str, variant: str, seed: int = 0) -> nn.Module:
    """Return the network, in eval mode, its weights drawn under `seed` (torch's CPU generator).

    `forward` takes normalised float images (N, C, H, W) and returns a tuple of logits or values
    in the order of `spec(name, variant).outputs`. The caller's random state is left as it was.
    Raises BadModel as `resolve` does, and MissingPackage without torch.
    """
    name, variant = resolve(f"{name}:{variant}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackage("torch", "torch") from error
    from importlib import import_module

    module = import_module(f"edgekit.zoo.{name.replace('-', '_')}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network: nn.Module = module.network(variant)
    return network.eval()


def own_weights() -> Path:
    """Return the user's folder of weights that do not ship; `edgekit weights` fills it."""
    return cache_folder() / "weights"


def weights_path(name: str, variant: str, folder: Path | None = None) -> Path | None:
    """Return a variant's trained weights, or None: in `folder`, else shipped, else the user's own.

    A model card is beside them.
    """
    name, variant = resolve(f"{name}:{variant}")
    places = (WEIGHTS, own_weights()) if folder is None else (folder,)
    paths = (place / f"{name}.{variant}.safetensors" for place in places)
    return next((path for path in paths if path.is_file()), None)
