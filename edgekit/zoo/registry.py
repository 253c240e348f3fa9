"""The facts about each system, read from `systems.toml` without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from edgekit.errors import BadModel
from edgekit.spec import InputSpec, ModelSpec, face_spec
from edgekit.toml_files import read_toml

Tag = Literal["paper", "code", "inferred", "reconstruction"]
"""Where a fact comes from: the seed paper, published code, worked out, or rebuilt by us."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One network that can be built: its outputs in `forward`'s order, and its pinned cost.

    `parameters` counts every weight in the state, fixed ones too, but no running statistics.
    `macs` are multiply-accumulates of convolutions and matrix products for one image in eval
    mode: torch's `FlopCounterMode` total, halved. `input` is set where it is not the system's: of
    a network that is none of the paper's and only teaches another.
    """

    outputs: dict[Literal["age", "gender"], Literal["classification", "regression"]]
    parameters: int
    macs: int
    note: str = ""
    input: InputSpec | None = None

    @property
    def answers_both(self) -> bool:
        """Whether it gives age and gender: what a user of the system must deploy."""
        return len(self.outputs) == 2


@dataclass(frozen=True)
class Accuracy:
    """A published accuracy in per cent, and the spread printed beside it where there is one."""

    percent: float
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the seed paper prints about a system: someone else's numbers, never ours.

    The times are seconds per image on a 3.6 GHz desktop CPU and on a phone. `parameters` is
    the printed figure, and `parameters_match` the network that has so many.
    """

    source: str
    parameters: str
    parameters_match: str
    age: Accuracy
    gender: Accuracy
    desktop_seconds: float | None = None
    phone_seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class System:
    """One of the compared systems: where it comes from, its input, variants and printed numbers.

    `guesses` lists, one sentence each with its tag, what no source states.
    """

    name: str
    title: str
    provenance: tuple[Tag, ...]
    source: str
    guesses: tuple[str, ...]
    default: str
    input: InputSpec
    input_source: str
    variants: dict[str, Variant]
    published: Published

    def spec(self, variant: str) -> ModelSpec:
        """Return the input and output contract of one of its variants."""
        return face_spec(self.input_of(variant), tuple(self.variants[variant].outputs.items()))

    def input_of(self, variant: str) -> InputSpec:
        """Return the input of one of its variants."""
        return self.variants[variant].input or self.input


@dataclass(frozen=True)
class Erratum:
    """Something the paper's own text or tables get wrong: both numbers, neither corrected."""

    where: str
    printed: str
    finding: str


@dataclass(frozen=True)
class Registry:
    """The content of `systems.toml`."""

    systems: tuple[System, ...]
    errata: tuple[Erratum, ...]


@cache
def registry() -> Registry:
    """Return the content of `systems.toml`, which ships beside this file."""
    path = Path(__file__).with_name("systems.toml")
    return read_toml(path, Registry, error=BadModel, remedy="install edgekit again")
