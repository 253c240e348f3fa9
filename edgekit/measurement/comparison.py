"""Compares two measurements: how many times as fast, how sure, or that nothing can be claimed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.errors import BadResults
from edgekit.measurement.stats import Interval, speed_ratio
from edgekit.measurement.summary import verdict
from edgekit.records import Measurement, comparability


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How many times as fast `first` is as `second`, by their median invoke times.

    `paired`: they ran interleaved in one run, so rounds were compared side by side. `differs`
    is false where the 95 % interval of the ratio holds 1. `doubts` are the measurements' own.
    """

    first: str
    second: str
    ratio: Interval
    paired: bool
    doubts: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether a difference can be claimed at all."""
        return not self.ratio.holds(1.0)

    @property
    def sentence(self) -> str:
        """`A is 1.8 ± 0.1 times as fast as B`, the faster one first, or that there is no claim."""
        ratio, fast, slow = self.ratio, self.first, self.second
        if not self.differs:
            return (
                f"no difference can be claimed between {fast} and {slow} (ratio "
                f"{ratio.low:.3g} to {ratio.high:.3g} at 95 %): measure longer or in more rounds"
            )
        if ratio.value < 1:
            fast, slow = slow, fast
            ratio = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
        return f"{fast} is {plus_minus(ratio)} times as fast as {slow}"


def compare(first: Measurement, second: Measurement) -> Comparison:
    """Return the comparison of two measurements' median invoke times.

    Raises BadResults where a fact that must be equal differs, naming each with both values, or
    where one of the two has fewer than two rounds.
    """
    ours, theirs = comparability(first), comparability(second)
    unequal = [
        f"{name} ({ours[name]!s} and {theirs[name]!s})"
        for name in ours
        if ours[name] != theirs[name]
    ]
    titles = _titles(first, second)
    if unequal:
        raise BadResults(
            f"{titles[0]} and {titles[1]} cannot be compared, they differ in "
            f"{', '.join(unequal)}: measure both together with `edgekit bench`"
        )
    for item, title in zip((first, second), titles, strict=True):
        if len(item.rounds) < 2:
            why = item.error or f"it has {len(item.rounds)} rounds"
            raise BadResults(f"{title} cannot be compared ({why}): measure it again")
    paired = first.run == second.run
    ratio = speed_ratio(
        [r.invoke_s for r in first.rounds], [r.invoke_s for r in second.rounds], paired=paired
    )
    assert ratio is not None, "both have two rounds"
    verdicts = ((title, verdict(m)) for title, m in zip(titles, (first, second), strict=True))
    doubts = tuple(f"{title}: {words}" for title, words in verdicts if words != "ok")
    return Comparison(first=titles[0], second=titles[1], ratio=ratio, paired=paired, doubts=doubts)


def _titles(first: Measurement, second: Measurement) -> tuple[str, str]:
    """Return what to call the two, with as little as tells them apart."""
    names: tuple[Callable[[Measurement], str], ...] = (
        lambda m: m.title,
        lambda m: f"{m.title} in {m.runtime} {m.runtime_version}",
        lambda m: f"{m.title} of {m.run}",
    )
    for name in names:
        if name(first) != name(second):
            return name(first), name(second)
    return f"{first.run}/{first.label}", f"{second.run}/{second.label}"


def plus_minus(ratio: Interval) -> str:
    """Return `1.8 ± 0.1`: the interval's longer side, to one digit, and the value to match it."""
    half = max(ratio.high - ratio.value, ratio.value - ratio.low)
    digits = min(max(-math.floor(math.log10(half)), 0), 3) if half > 0 else 3
    return f"{ratio.value:.{digits}f} ± {half:.{digits}f}"
