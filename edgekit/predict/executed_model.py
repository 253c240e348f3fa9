"""From executed work to seconds, by the few constants of a board.

seconds = issue cycles × factor / (clock × threads)        each thread its part
        + lines to and from memory × time                  one memory, whatever the threads
        + lines lost to the other threads × time           from two threads on
        + operators × time                                 from two threads on: wake and wait
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.predict.executed_run import Work

Vector = NDArray[np.float64]

TERMS = {
    "float_cycles": "cycles per cycle of the issue bound, blocks of floating-point vectors",
    "integer_cycles": "cycles per cycle of the issue bound, blocks of integer vectors",
    "other_cycles": "cycles per cycle of the issue bound, all other blocks",
    "memory_line": "nanoseconds per 64-byte line from or to memory",
    "pushed_line": "nanoseconds per line that other threads push out of the shared cache",
    "handed_line": "nanoseconds per line that one core wrote and others read",
    "operator": "microseconds per operator to wake the threads and wait for the last",
}
"""A board's constants and their units; the cycles are shared by the threads, the rest is not."""


def terms(work: Work, operators: int, threads: int, clock_mhz: float) -> Vector:
    """Return what each constant of TERMS is multiplied with, so that the sum is in seconds.

    A line is lost to the others with the chance that another thread wants it: 1 - 1 / threads.
    """
    cycles = np.array([work.float_cycles, work.integer_cycles, work.other_cycles])
    others = 1 - 1 / threads
    lines = [
        work.memory + work.written_back,
        (work.shared - work.memory) * others,
        work.changed * others,
    ]
    started = operators if threads > 1 else 0
    return np.concatenate(
        [cycles / (clock_mhz * 1e6 * threads), np.array(lines) * 1e-9, [started * 1e-6]]
    )
