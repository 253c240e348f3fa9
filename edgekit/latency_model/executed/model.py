"""From executed work to seconds, by the few constants of a board.

    seconds = issue cycles × factor / (clock × threads)        each thread its part, see sharing.py
            + lines to and from memory × time                  one memory, whatever the threads
            + the same lines × more time × (1 - 1 / threads)   where threads get in each other's way
            + lines from the shared cache × time / threads     where a core waits for them
            + what threads idle in operators                   from two threads on
            + bytes of weights × time × (1 - 1 / threads)      where kernels pack them each time

A runtime gives small operators fewer threads, and all wait for the slowest: the smaller the work of
an operator, the larger the share that is lost. That the loss goes with the square root of the work
is what left-out rows bear out best, against a fixed time per operator and a fixed serial share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edgekit.latency_model.executed.run import Work
from edgekit.latency_model.executed.sharing import EVEN, Sharing

Vector = NDArray[np.float64]

TERMS = {
    "float_cycles": "cycles per cycle of the issue bound, blocks of floating-point vectors",
    "integer_cycles": "cycles per cycle of the issue bound, blocks of integer vectors",
    "minor_float_cycles": "the same of floating-point blocks in a network of integers",
    "minor_integer_cycles": "the same of integer blocks in a network of floating point",
    "other_cycles": "cycles per cycle of the issue bound, all other blocks",
    "memory_line": "nanoseconds per 64-byte line from or to memory",
    "crowded_line": "nanoseconds more per such line, times 1 - 1 / threads",
    "near_line": "nanoseconds per line that a core's own cache has from the shared one",
    "idle": "share of its time that an operator of 1 ms on one thread loses on many",
    "packed": "nanoseconds per byte of weights that ruy packs in each inference, 1 - 1 / threads",
    "converted": "nanoseconds per number of an input that the benchmark converts within its time",
}
"""A board's constants and their units; the last is a benchmark's, see analytic/observations.py."""

ISSUE = tuple(name for name in TERMS if name.endswith("_cycles"))
OPTIONAL = ("crowded_line", "near_line")
MINOR = {
    "blocks": {"minor_float_cycles": "float_cycles", "minor_integer_cycles": "integer_cycles"},
    "own and rest": dict.fromkeys(("minor_float_cycles", "minor_integer_cycles"), "other_cycles"),
}
"""What has one price with blocks that are not of a network's own arithmetic: those that are, or all
that is in no tuned loop."""
FORMS = {
    " + ".join((minor, *several)): (minor, several)
    for minor in MINOR
    for count in range(len(OPTIONAL) + 1)
    for several in combinations(OPTIONAL, count)
}
"""The forms a fit chooses among by errors of families left out of it."""


def columns(form: str, without: Sequence[str] = ()) -> Vector:
    """Return the matrix that makes a form's constants of TERMS', a column each.

    Those named in `without` have no column: they are 0.
    """
    minor, several = FORMS[form]
    shared = MINOR[minor]
    gone = {*shared, *(set(OPTIONAL) - set(several)), *without}
    used = [name for name in TERMS if name not in gone]
    return np.array([[float(shared.get(term, term) == name) for name in used] for term in TERMS])


def terms(
    work: Work,
    operators: int,
    threads: int,
    clock_mhz: float,
    *,
    sharing: Sharing = EVEN,
    packed: int = 0,
    converted: int = 0,
) -> Vector:
    """Return what each constant of TERMS is multiplied with, so that the sum is in seconds.

    A core idles with the chance that it is another thread's turn: 1 - 1 / threads. `operators` is
    how many the work is divided into, `packed` the bytes of weights that kernels pack in each
    inference, `converted` the numbers of an input that a benchmark converts; what we predict has
    neither.
    """
    floating = work.float_cycles > work.integer_cycles
    both = np.array([work.float_cycles, work.integer_cycles])
    own = both * (floating, not floating)
    cycles = np.array([*own, *(both - own), work.other_cycles])
    alone = cycles / (clock_mhz * 1e6)
    slowest = alone * (sharing.uneven if threads > 1 else 1)
    slowest[-1] += sharing.alone / (clock_mhz * 1e6) * (threads - 1)
    memory = (work.memory + work.written_back) * 1e-9
    others = 1 - 1 / threads
    near = max(0.0, work.refilled - work.memory) * 1e-9 / threads
    idle = sqrt(float(alone.sum()) * operators * 1e-3) * others
    lines = (memory, memory * others, near)
    rest = (idle, packed * 1e-9 * others, converted * 1e-9)
    return np.array([*slowest / threads, *lines, *rest])
