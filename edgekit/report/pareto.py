"""The Pareto front: the choices that nothing beats in all of their costs at once."""

from __future__ import annotations

from collections.abc import Sequence


def front(costs: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the places in `costs` of the tuples no other beats, by rising first cost.

    Less is better in all: negate what should be large. A tuple beats another where it is nowhere
    above it and somewhere below; of equal ones all stay.
    """
    order = sorted(range(len(costs)), key=lambda place: (costs[place], place))
    return [place for place in order if not any(_beats(other, costs[place]) for other in costs)]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
