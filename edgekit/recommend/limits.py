"""What the user asks of an artifact, with strict units: 10ms, 2MB, gender=90."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor, inf

from edgekit.errors import UserError

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
BYTES = {"kB": 1e3, "MB": 1e6, "MiB": 2.0**20}

LATENCY, SIZE = "latency", "size"


def accuracy_of(output: str) -> str:
    """Return the metric of an output's accuracy."""
    return f"{output} accuracy"


@dataclass(frozen=True, slots=True)
class Limit:
    """One metric's limit: seconds, bytes or per cent. `option` is what sets it."""

    metric: str
    value: float
    option: str

    @property
    def at_most(self) -> bool:
        """Whether smaller is better: of latency and size; accuracies are to be large."""
        return self.metric in {LATENCY, SIZE}

    def excess(self, number: float) -> float:
        """Return by how much a number misses the limit, in its unit; 0 or less where it holds."""
        return number - self.value if self.at_most else self.value - number

    def relaxed_to(self, number: float) -> str:
        """Return the option that would just admit `number`, rounded to the safe side."""
        if self.metric == LATENCY:
            return f"{self.option} {ceil(number * 1e6)}us"
        if self.metric == SIZE:
            return f"{self.option} {ceil(number / 1e3)}kB"
        tenth = f"{floor(number * 10) / 10:g}"
        return f"{self.option} {tenth}" if " " not in self.option else f"{self.option}={tenth}"


def say(metric: str, number: float) -> str:
    """Return a number in its metric's unit: `1.23 ms`, `0.98 MB`, `70.2 %`."""
    if number == inf:
        return "unknown"
    if metric == LATENCY:
        return f"{1e3 * number:.3g} ms"
    return f"{number / 1e6:.3g} MB" if metric == SIZE else f"{number:.1f} %"


def say_gap(metric: str, difference: float) -> str:
    """Return a difference in its metric's unit: accuracies differ by points."""
    text = say(metric, difference)
    return text.replace("%", "points")


def latency_limit(text: str) -> Limit:
    """Return the limit `10ms` sets. Raises UserError for another unit, or none."""
    return Limit(LATENCY, _quantity(text, SECONDS, "--max-latency"), "--max-latency")


def size_limit(text: str) -> Limit:
    """Return the limit `2MB` sets; kB and MB are decimal, MiB is 1,048,576 bytes."""
    return Limit(SIZE, _quantity(text, BYTES, "--max-size"), "--max-size")


def accuracy_limit(output: str, percent: float, option: str) -> Limit:
    """Return the limit on an output's accuracy. Raises UserError outside 0 to 100 per cent."""
    if not 0 <= percent <= 100:
        raise UserError(f"{option} {percent:g}: give per cent, 0 to 100")
    return Limit(accuracy_of(output), percent, option)


def named_accuracy_limit(text: str) -> Limit:
    """Return the limit `OUTPUT=60` sets. Raises UserError where it is not of that form."""
    output, equals, percent = text.partition("=")
    if not (output and equals and re.fullmatch(r"\d+(\.\d+)?", percent)):
        raise UserError(f"--min-accuracy {text}: give OUTPUT=PERCENT, like gender=90")
    return accuracy_limit(output, float(percent), f"--min-accuracy {output}")


def _quantity(text: str, units: dict[str, float], option: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
    if match is None or match[2] not in units or float(match[1]) == 0:
        known = ", ".join(units)
        raise UserError(f"{option} {text}: give a number above 0 and a unit with it: {known}")
    return float(match[1]) * units[match[2]]
