"""What a sustained run shows: the heat curve, and whether the ranking at its end is another.

A board slows down when it gets hot: what is fastest for a minute may not be after ten. Rankings
are claimed by the intervals of comparison.py, over the first and the last fifth of the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from edgekit.measurement.comparison import Comparison, compare, plus_minus
from edgekit.measurement.stats import percentile, speed_ratio
from edgekit.measurement.summary import was_throttled
from edgekit.records import Measurement, Round

WINDOW = 3
"""Rounds at either end, at least: fewer give intervals that hold everything."""


def heat_curve(rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Return one table row a round: minutes since the start, °C, MHz, and every artifact's p50.

    Temperature is the round's highest reading and clock its lowest, over all artifacts; None where
    the board does not tell. `throttled` is the firmware's word on the round,
    None where it is not known.
    """
    curve, names = [], _names(rows)
    for number in range(max(len(row.rounds) for row in rows)):
        present = [row.rounds[number] if number < len(row.rounds) else None for row in rows]
        rounds = [item for item in present if item is not None]
        begun = [r.start_s for r in rounds if r.start_s is not None]
        hot = [value for r in rounds for value in r.temperature_c if value is not None]
        clock = [value for r in rounds for value in r.clock_mhz if value is not None]
        curve.append(
            {
                "minute": round(min(begun) / 60, 2) if begun else None,
                "temperature_c": max(hot, default=None),
                "clock_mhz": min(clock, default=None),
                "throttled": _any_known(was_throttled(r.throttled) for r in rounds),
                **{name: _p50_ms(item) for name, item in zip(names, present, strict=True)},
            }
        )
    return curve


def heat_notes(rows: Sequence[Measurement]) -> list[str]:
    """Return what the heat changed, as far as it can be claimed: speeds, then rankings."""
    measured = [row for row in rows if len(row.rounds) >= 2 * WINDOW]
    if not measured:
        return [f"under {2 * WINDOW} rounds, start and end cannot be told apart: sustain longer"]
    lines = [line for row in measured if (line := _slower(row))]
    pairs = [
        (_pair(a, b, start=True), _pair(a, b, start=False)) for a, b in combinations(measured, 2)
    ]
    changed = [pair for pair in pairs if _order(pair[0]) != _order(pair[1])]
    lines += [
        f"at the start {before.sentence}; at the end {after.sentence}" for before, after in changed
    ]
    if any(_order(before) * _order(after) < 0 for before, after in changed):
        lines.append("the ranking at the end is not the ranking at the start")
    elif len(measured) > 1:
        lines.append("no ranking of the start is reversed at the end")
    return lines


def _any_known(words: Iterable[bool | None]) -> bool | None:
    """Return whether one of the words is a yes; None where none is known."""
    known = [word for word in words if word is not None]
    return any(known) if known else None


def _names(rows: Sequence[Measurement]) -> list[str]:
    """Return each artifact's column, with as little in its name as tells them apart."""
    names = (
        ["p50_ms" for _ in rows],
        [f"{row.artifact.backend} {row.artifact.precision} p50_ms" for row in rows],
        [f"{row.title} p50_ms" for row in rows],
        [f"{row.label} p50_ms" for row in rows],
    )
    return next(words for words in names if len(set(words)) == len(rows))


def _window(row: Measurement, *, start: bool) -> tuple[Round, ...]:
    count = max(WINDOW, len(row.rounds) // 5)
    return row.rounds[:count] if start else row.rounds[-count:]


def _pair(first: Measurement, second: Measurement, *, start: bool) -> Comparison:
    return compare(
        replace(first, rounds=_window(first, start=start)),
        replace(second, rounds=_window(second, start=start)),
    )


def _order(comparison: Comparison) -> int:
    """Return 1 where the first is faster, -1 where the second is, 0 where none can be claimed."""
    if not comparison.differs:
        return 0
    return 1 if comparison.ratio.value > 1 else -1


def _slower(row: Measurement) -> str:
    """Say how much longer one artifact takes at the end, or nothing where that is not sure."""
    before, after = ([r.invoke_s for r in _window(row, start=start)] for start in (True, False))
    ratio = speed_ratio(before, after, paired=False)
    if ratio is None or ratio.holds(1.0):
        return ""
    return f"{row.title} takes {plus_minus(ratio)} times as long at the end as at the start"


def _p50_ms(item: Round | None) -> float | None:
    p50 = percentile(item.invoke_s, "p50") if item else None
    return None if p50 is None else 1000 * p50
