"""Instructions per operator on a virtual board: the emulator's counts, put to the operators.

A runtime that profiles itself looks at the clock before and after each operator, and the emulator
counts the instructions at every look. TFLite is counted as it is timed: by cutting the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from edgekit.devices.emulator import counting
from edgekit.devices.emulator.counting import Look
from edgekit.devices.emulator.sysroot import Sysroot, home
from edgekit.errors import DeviceError
from edgekit.explain.operators import Operator

MOST_OTHER_LOOKS = 16
"""Looks at the clock that are no operator's, within one inference: ONNX Runtime makes 8 or 9."""

_COUNTS, _CLOCK = "counts.txt", "clock.txt"


def options(sysroot: Sysroot, folder: Path) -> list[str]:
    """Return the QEMU options that count into `folder`.

    Raises DeviceError where there is no C compiler or QEMU has no plugins.
    """
    plugin = counting.plugin(sysroot.qemu, home() / "plugin")
    return counting.options(plugin, folder / _COUNTS, clock=folder / _CLOCK)


def counted(operators: Sequence[Operator], folder: Path, calls: int) -> tuple[Operator, ...]:
    """Return the operators with their instructions, as counted into `folder` over `calls` calls.

    The first call sets things up and is left out.

    Raises DeviceError where the looks at the clock are not two an operator, and where there are
    none and the graph was not cut either.
    """
    looks = counting.read_looks(folder / _CLOCK)[1:]
    totals = counting.read_totals(folder / _COUNTS)
    found = _between(operators, looks) if looks else _cut(totals, calls)
    if len(found) != len(operators):
        raise DeviceError(f"{len(found)} were counted for {len(operators)} operators")
    return tuple(
        replace(operator, instructions=count)
        for operator, count in zip(operators, found, strict=True)
    )


def _between(operators: Sequence[Operator], calls: Sequence[Sequence[Look]]) -> list[int]:
    """Return each operator's instructions between its two looks, the least of the calls.

    A runtime also looks where no operator begins or ends. How many looks come first is told by
    the operators' own times: they are the means of these very calls, or the medians of two, and
    fit the looks at one place only, on a busy machine too.
    """
    needed = 2 * len(operators)
    fewest = min(len(call) for call in calls)
    if not needed <= fewest <= needed + MOST_OTHER_LOOKS:
        raise DeviceError(
            f"the runtime looked at the clock {fewest} times for {len(operators)} operators: "
            "their instructions cannot be told apart"
        )

    def misfit(first: int) -> float:
        return sum(
            abs(fmean(c[at + 1].seconds - c[at].seconds for c in calls) - (o.seconds or 0.0))
            for at, o in zip(range(first, first + needed, 2), operators, strict=True)
        )

    first = min(range(fewest - needed + 1), key=misfit)
    return [
        min(call[at + 1].instructions - call[at].instructions for call in calls)
        for at in range(first, first + needed, 2)
    ]


def _cut(totals: Sequence[int], calls: int) -> list[int]:
    """Return what each cut of a graph adds; every cut was called `calls` times, in order."""
    cuts = [min(totals[at + 1 : at + calls]) for at in range(0, len(totals), calls)]
    counts, before = [], 0
    for total in cuts:
        counts.append(max(0, total - before))
        before = max(before, total)
    return counts
