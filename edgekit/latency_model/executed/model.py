"""From executed work to seconds, by the few constants of a board.

    seconds = issue cycles × factor / (clock × threads)        each thread its part
            + lines to and from memory × time                  one memory, whatever the threads
            + what threads idle in operators                   from two threads on

A runtime gives small operators fewer threads, and all wait for the slowest: the smaller the work of
an operator, the larger the share that is lost. That the loss goes with the square root of the work
is what left-out rows bear out best, against a fixed time per operator and a fixed serial share.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edgekit.latency_model.executed.run import Work

Vector = NDArray[np.float64]

TERMS = {
    "float_cycles": "cycles per cycle of the issue bound, blocks of floating-point vectors",
    "integer_cycles": "cycles per cycle of the issue bound, blocks of integer vectors",
    "other_cycles": "cycles per cycle of the issue bound, all other blocks",
    "memory_line": "nanoseconds per 64-byte line from or to memory",
    "idle": "share of its time that an operator of 1 ms on one thread loses on many",
    "converted": "nanoseconds per number of an input that the benchmark converts within its time",
}
"""A board's constants and their units; the last is a benchmark's, see fit.py."""


def terms(work: Work, operators: int, threads: int, clock_mhz: float, converted: int = 0) -> Vector:
    """Return what each constant of TERMS is multiplied with, so that the sum is in seconds.

    A core idles with the chance that it is another thread's turn: 1 - 1 / threads. Lines that only
    move between caches are not in it: no row is told better with them. `operators` is how many the
    work is divided into, `converted` the numbers of an input that a benchmark converts; what we
    predict has none.
    """
    cycles = np.array([work.float_cycles, work.integer_cycles, work.other_cycles])
    alone = cycles / (clock_mhz * 1e6)
    memory = (work.memory + work.written_back) * 1e-9
    idle = sqrt(float(alone.sum()) * operators * 1e-3) * (1 - 1 / threads)
    return np.array([*alone / threads, memory, idle, converted * 1e-9])
