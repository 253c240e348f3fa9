"""The Pareto front: the choices that nothing beats in both of two costs at once."""

from __future__ import annotations

from collections.abc import Sequence


def front(costs: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places in `costs` of the pairs no other pair beats, by rising first cost.

    Less is better in both: negate what should be large. A pair beats another that it equals in
    one cost and undercuts in the other; of equal pairs all stay.
    """
    order = sorted(range(len(costs)), key=lambda place: (costs[place], place))
    kept: list[int] = []
    for place in order:
        if not kept or costs[place][1] < costs[kept[-1]][1] or costs[place] == costs[kept[-1]]:
            kept.append(place)
    return kept
