"""Numbers as a person reads them in a table: a value and its interval in one cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.measurement.stats import Interval

NONE = "–"
NO_DIFFERENCE = "no clear difference"
_MOST_DECIMALS = 4


def with_interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return `0.31 [0.29, 0.33]`, as precise as the interval is; without one `0.31`.

    A dash where there is no value.
    """
    if value is None:
        return NONE
    if low is None or high is None:
        return f"{value:.{_decimals(value, None)}f}"
    digits = _decimals(value, (high - low) / 2)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def percent(value: float, low: float, high: float, digits: int = 1) -> str:
    """Return a share in per cent with its interval: `70.2 [68.1, 72.3]`."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def points(value: float, low: float, high: float) -> str:
    """Return a change in percentage points with its interval: `-0.8 [-1.5, -0.1]`."""
    ends = (f"{round(end, 1) + 0.0:+.1f}" for end in (value, low, high))  # + 0.0: no minus zero
    return "{} [{}, {}]".format(*ends)


def times(ratio: Interval | None) -> str:
    """Return `3.0x [2.8, 3.2]`, or that no difference can be claimed; a dash where unknown."""
    if ratio is None:
        return NONE
    if ratio.holds(1.0):
        return NO_DIFFERENCE
    close = min(abs(end - 1) for end in (ratio.low, ratio.high)) < 0.005  # 1.00 would say equal
    digits = 3 if close else min(_decimals(ratio.value, (ratio.high - ratio.low) / 2), 2)
    return f"{ratio.value:.{digits}f}x [{ratio.low:.{digits}f}, {ratio.high:.{digits}f}]"


def size(count: float | None) -> str:
    """Return bytes as `3.5 MB` or `980 kB` (decimal); a dash where unknown."""
    if count is None:
        return NONE
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def memory(megabytes: float | None) -> str:
    """Return memory as `58 MB`; a dash where unknown."""
    return NONE if megabytes is None else f"{megabytes:,.0f} MB"


def count(number: int | str | None) -> str:
    """Return a whole number with thousands separators; a dash where unknown."""
    if number is None:
        return NONE
    return f"{number:,}" if isinstance(number, int) else number


def _decimals(value: float, half: float | None) -> int:
    """Return how many decimals to write: the interval's first digit or two, three digits in all."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    three = min(max(2 - magnitude, 0), _MOST_DECIMALS)
    if not half:
        return three
    return min(max(-math.floor(math.log10(half / 2) + 1e-9), 0), three)
