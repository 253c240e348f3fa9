"""A source of networks: `acme-nets:linear`."""

from __future__ import annotations

from torch import nn

from edgekit.conversion.libraries import Found, Wanted
from edgekit.errors import BadModel
from edgekit.spec import InputSpec, ModelSpec, OutputSpec

PACKAGES = ("torch",)


def load(wanted: Wanted) -> Found:
    """Return the one network there is."""
    if wanted.name != "linear":
        raise BadModel("acme has but one network: linear")
    spec = ModelSpec(
        InputSpec(6, 6), (OutputSpec("animal", "classification", ("cat", "dog", "owl")),)
    )
    module = nn.Sequential(nn.Flatten(1), nn.Linear(108, 3))
    return Found(module=module, spec=spec, weights="random")
