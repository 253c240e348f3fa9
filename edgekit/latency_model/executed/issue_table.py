"""Cycles that a core needs to issue a straight run of instructions, with every operand at hand.

The bound is the fullest pipe's or the decoder's: an out-of-order core overlaps the latencies of a
loop that was written for it, and the runtimes' loops were. What memory adds is not in it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgekit.errors import BadTarget
from edgekit.latency_model.executed.a64_classes import class_of
from edgekit.toml_files import read_toml

_TABLES = Path(__file__).with_name("cores.toml")


@dataclass(frozen=True, kw_only=True)
class Core:
    """A core's issue table: how many instructions it decodes a cycle, its pipes, and what
    each class of instruction holds of them, in cycles of one pipe.

    `ways` are those of its own cache, of a thread's share and of the shared one; `digest` is
    that of what the table says, without its source and its note.
    """

    name: str
    width: float
    pipes: Mapping[str, float]
    ways: tuple[int, ...]
    classes: Mapping[str, Mapping[str, float]]
    digest: str

    def cycles(self, classes: Mapping[str, float]) -> float:
        """Return the cycles that so many instructions of each class need at least."""
        held: defaultdict[str, float] = defaultdict(float)
        for name, count in classes.items():
            for pipe, cycles in self.classes[name].items():
                held[pipe] += cycles * count
        either = held.pop("V", 0)
        first, second = held.pop("V0", 0), held.pop("V1", 0)
        vector = max(first, second, (either + first + second) / self.pipes["V"])
        others = (cycles / self.pipes[pipe] for pipe, cycles in held.items())
        return max(sum(classes.values()) / self.width, vector, *others, 0)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A core's table as it stands in cores.toml, with where it comes from."""

    source: str
    note: str
    width: float
    ways: tuple[int, ...]
    pipes: dict[str, float]
    classes: dict[str, dict[str, float]]


@cache
def core(name: str) -> Core:
    """Return the issue table of a core, by QEMU's name of it; BadTarget where there is none."""
    tables = read_toml(_TABLES, dict[str, _Table], error=BadTarget, remedy="install edgekit again")
    table = tables.get(name)
    if table is None:
        raise BadTarget(f"no issue table for the core {name}: its latency is not predicted by it")
    said = (table.width, table.pipes, table.ways, table.classes)
    return Core(
        name=name,
        width=table.width,
        pipes=table.pipes,
        ways=table.ways,
        classes=table.classes,
        digest=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12],
    )


def classes_of(code: bytes) -> Counter[str]:
    """Return how many instructions of each class are in a run of code."""
    words = (int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4))
    return Counter(class_of(word) for word in words)
