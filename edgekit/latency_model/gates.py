"""Activations that exporters write as several operators and runtimes compute as one.

x·sigmoid(x) is SiLU, x·clip(x + 3) / 6 hard-swish, x·tanh(softplus(x)) Mish and
x·(1 + erf(x / √2)) / 2 GELU: a product of a map with what one-input operators made of that same
map. The evidence's networks count each as one operator that reads the map and writes one, and so
do all readers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CHAIN = frozenset({
    "add", "clamp", "clip", "div", "divide", "erf", "hardsigmoid", "hsigmoid", "logistic",
    "maximum", "minimum", "mul", "multiply", "relu", "relu6", "sigmoid", "softplus", "sub",
    "subtract", "tanh",
})  # fmt: skip
"""What may lie between the map and its product, by its name in any of the formats."""
PRODUCTS = frozenset({"mul", "multiply"})
SCALES = PRODUCTS | {"div", "divide"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: its name in its format, and the maps it reads and writes; no constants."""

    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def fused(nodes: Sequence[Node], aliases: Mapping[str, str]) -> dict[int, int | None]:
    """Return what happens to operators of such activations, by their places in `nodes`.

    The product keeps its place and has the number of maps it still reads, which is one; the others
    have None: they are no operators. `aliases` name the map that another is only a view or a
    rounding of.
    """

    def source(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    made = {source(name): at for at, node in enumerate(nodes) for name in node.writes}
    uses = Counter(source(name) for node in nodes for name in node.reads)
    found: dict[int, int | None] = {}
    for at, node in enumerate(nodes):
        reads = [source(name) for name in node.reads]
        if node.kind.lower() not in PRODUCTS or len(reads) != 2:
            continue
        for root, end in (reads, reads[::-1]):
            parts = _between(root, end, nodes, made, uses, source)
            if parts:
                found |= dict.fromkeys(parts)
                found[at] = 1
                break
    for at, node in enumerate(nodes):
        # A constant factor of such an activation, written after it: the half of GELU.
        before = made.get(source(node.reads[0])) if len(node.reads) == 1 else None
        if before is not None and found.get(before) == 1 and node.kind.lower() in SCALES:
            found |= dict.fromkeys([at] if uses[source(node.reads[0])] == 1 else [])
    return found


def _between(
    root: str,
    end: str,
    nodes: Sequence[Node],
    made: Mapping[str, int],
    uses: Mapping[str, int],
    source: Callable[[str], str],
) -> list[int]:
    """Return the operators that lead from `root` to `end` and to nothing else; none if none do."""
    parts: list[int] = []
    while end != root:
        at = made.get(end)
        if at is None or uses[end] != 1 or nodes[at].kind.lower() not in CHAIN:
            return []
        if len(nodes[at].reads) != 1:
            return []
        parts.append(at)
        end = source(nodes[at].reads[0])
    return parts
