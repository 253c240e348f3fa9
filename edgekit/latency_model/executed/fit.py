"""Fits a board's constants to counted runs of the evidence, and predicts rows left out of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from edgekit.errors import BadResults
from edgekit.latency_model.analytic.fit import nonnegative
from edgekit.latency_model.analytic.observations import converted_numbers
from edgekit.latency_model.evidence import (
    Network,
    Row,
    folder,
    load_networks,
    load_rows,
    network_of,
)
from edgekit.latency_model.executed.model import FORMS, ISSUE, TERMS, Vector, columns, terms
from edgekit.latency_model.executed.run import Work
from edgekit.latency_model.executed.sharing import Sharing
from edgekit.latency_model.quantiles import balanced_mean
from edgekit.latency_model.workload import NUMBER_BYTES

PARTS = ("memory_line", "crowded_line", "near_line", "idle", "packed", "converted")
ABLATION = {
    "issue": PARTS,
    "issue + memory": ("idle", "packed", "converted"),
    "issue + memory + threads": ("packed", "converted"),
    "issue + memory + threads + conversion": ("packed",),
    "issue + memory + threads + conversion + packing": (),
}
"""What each part of the model adds, by the constants that are left out of the fit."""

PACKING = ("ruy", "fp32")
"""Kernels and precision whose weights are packed in each inference at a price that is seen. ncnn
and XNNPACK pack once, when they load; ruy's int8 weights are a quarter as many bytes."""

ROUNDS = 8
"""Alternations of constants and levels; the last ones change nothing."""
LEVEL_SAY = 0.25
"""How many families speak against a level of its own for kernels in an arithmetic: levels differ by
about 12 %, a family from its kernels' level by 6 %, and the square of their ratio is this."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A counted run: its kernels, the fields its rows must have, and what it executes.

    `uneven` and `alone` are of sharing.Sharing, the first by the number of threads.
    """

    kernels: str
    rows: Mapping[str, str]
    work: Work
    uneven: Mapping[str, float] = field(default_factory=dict)
    alone: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One measured latency, and what its network executes here: `terms` of TERMS.

    `kernels` says which of a runtime's kernels ran, `family` whose network it is. What is asked
    of it is kept: a nested fit asks ten thousand times.
    """

    kernels: str
    family: str
    macs: int
    row: Row
    terms: Vector

    @property
    def seconds(self) -> float:
        """What was measured."""
        return self.row.latency_ms / 1e3

    @cached_property
    def kind(self) -> str:
        """`int8`, or `float` for the others."""
        return "int8" if self.row.dtype == "int8" else "float"

    @cached_property
    def relative(self) -> Vector:
        """What its terms are of a second measured."""
        return self.terms / self.seconds

    @cached_property
    def trust(self) -> float:
        """How much it counts in a fit (Row.trust)."""
        return self.row.trust

    @cached_property
    def say(self) -> Hashable:
        """Whose say in a fit it shares: its family's, in these kernels, precision and threads."""
        return self.kernels, self.family, self.row.dtype, self.row.threads

    @cached_property
    def place(self) -> Hashable:
        """What rows of one setting share: kernels, precision, threads, and one lab's release.

        Two submissions of a release are two boards or two systems.
        """
        row = self.row
        release = (row.runtime, row.runtime_version, row.clock_mhz, row.board, row.source_repo)
        return self.kernels, row.dtype, row.threads, release


def counts_of(board: str) -> Path:
    """Return the file of what was counted on an emulated board, written by count_executed.py."""
    return folder() / "executed" / f"{board}.json"


def load_samples(board: str) -> tuple[Sample, ...]:
    """Return every row of the evidence that a counted run on `board` explains.

    Raises BadResults where the counts cannot be read.
    """
    path = counts_of(board)
    try:
        runs = [
            Run(
                kernels=run["kernels"],
                rows=run["rows"],
                work=Work(**run["work"]),
                uneven=run["uneven"],
                alone=run["alone"],
            )
            for run in json.loads(path.read_text())["runs"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadResults(
            f"{path} cannot be read ({error}): write it with benchmarks/scripts/count_executed.py"
        ) from None
    return samples(runs, load_rows(), load_networks())


def samples(
    runs: Iterable[Run], rows: Sequence[Row], networks: Mapping[tuple[str, str], Network]
) -> tuple[Sample, ...]:
    """Return the rows that each run explains."""
    found = []
    for run in runs:
        for row in rows:
            network = network_of(row, networks)
            same = all(str(getattr(row, name)) == value for name, value in run.rows.items())
            if not same or network is None or row.threads is None:
                continue
            load = network.workload
            packing = (run.kernels, row.dtype) == PACKING
            known = terms(
                run.work,
                load.operators,
                row.threads,
                row.clock_mhz,
                sharing=Sharing(uneven=run.uneven.get(str(row.threads), 1.0), alone=run.alone),
                packed=load.weights * NUMBER_BYTES[row.dtype] * packing,
                converted=converted_numbers(row),
            )
            found.append(
                Sample(
                    kernels=run.kernels,
                    family=network.family,
                    macs=load.macs,
                    row=row,
                    terms=known,
                )
            )
    return tuple(found)


def fit(known: Sequence[Sample], form: str, without: Sequence[str] = ()) -> Vector:
    """Return the constants, none below 0, of least squares of relative errors by a form.

    Factors on issue cycles are not below 1: no core is faster than its bound, and few rows of a
    kind would else take from it what they cannot tell from memory. Constants `without` are 0. A
    family of networks has the same say in each of its kernels, precisions and thread counts,
    however many of its sizes were measured. Kernels have a level of their own in each arithmetic,
    so that one runtime's does not bend what an instruction costs; no prediction has it.
    """
    matrix = columns(form, without)
    counts = Counter(sample.say for sample in known)
    weights = np.array([sample.trust / counts[sample.say] for sample in known])
    relative = np.array([sample.relative for sample in known]) @ matrix
    issue = np.array([name in ISSUE for name in TERMS], float)
    least = issue[matrix.argmax(axis=0)]
    kinds = {key: n for n, key in enumerate(sorted({(s.kernels, s.kind) for s in known}))}
    at = np.array([kinds[sample.kernels, sample.kind] for sample in known])
    say = np.bincount(at, weights)
    levels = np.zeros(len(kinds))
    for _ in range(ROUNDS):
        moved = relative * np.exp(levels[at])[:, None]
        gram = (moved * weights[:, None]).T @ moved
        # A constant that no row needs (no integer blocks) must not make the system singular.
        gram += np.diag(np.maximum(np.diag(gram), 1e-30) * 1e-9)
        constants = least + nonnegative(gram, moved.T @ (weights * (1 - moved @ least)))
        off = -np.log(np.maximum(relative @ constants, 1e-9))
        levels = np.bincount(at, weights * off) / (say + LEVEL_SAY)
        levels -= say @ levels / say.sum()
    found: Vector = matrix @ constants
    return found


def choose(known: Sequence[Sample]) -> str:
    """Return the form that tells families left out of `known` best, and looks at nothing else.

    Best is the least mean of absolute log errors, every family of kernels with one say. What all
    networks of a setting are off by is no form's fault: an error is what a row is off by beside the
    other families' rows of its place, where there are any.
    """

    def error(form: str) -> float:
        told = left_out(known, form)
        off = [
            (sample, float(np.log(seconds / sample.seconds)))
            for sample, seconds in zip(known, told, strict=True)
            if seconds > 0
        ]
        of_place: dict[Hashable, list[tuple[str, float]]] = {}
        for sample, mine in off:
            of_place.setdefault(sample.place, []).append((sample.family, mine))
        errors = []
        for sample, mine in off:
            rest = [each for family, each in of_place[sample.place] if family != sample.family]
            crowd = (sample.kernels, sample.kind, sample.family)
            errors.append((crowd, abs(mine - (sum(rest) / len(rest) if rest else 0.0))))
        return balanced_mean(errors)

    return min(FORMS, key=error)


def left_out(
    known: Sequence[Sample], form: str | None = None, without: Sequence[str] = ()
) -> Vector:
    """Return each sample's seconds, predicted by a fit without its family of networks.

    The form is the one given, or the one that is chosen without that family too. A sample is 0
    where no other family was measured in its arithmetic.
    """
    predicted = np.zeros(len(known))
    for family in {sample.family for sample in known}:
        rest = [sample for sample in known if sample.family != family]
        if not rest:
            continue
        constants = fit(rest, form or choose(rest), without)
        told = {sample.kind for sample in rest}
        for at, sample in enumerate(known):
            if sample.family == family and sample.kind in told:
                predicted[at] = sample.terms @ constants
    return predicted


def other_kernels(known: Sequence[Sample]) -> Vector:
    """Return each sample's seconds, predicted without its kernels and without its family.

    This is how a runtime is predicted that has no rows of its own. It is NaN where no other
    kernels were measured on as many threads. What its benchmark adds is no part of the question:
    that constant is kept as all kernels' rows give it.
    """
    predicted = np.full(len(known), np.nan)
    for kernels, family in {(sample.kernels, sample.family) for sample in known}:
        others = [s for s in known if s.family != family]
        rest = [s for s in others if s.kernels != kernels]
        threads = {sample.row.threads for sample in rest}
        if not rest:
            continue
        form = choose(rest)
        constants = fit(rest, form)
        constants[-1] = fit(others, form)[-1]
        for at, sample in enumerate(known):
            mine = (sample.kernels, sample.family) == (kernels, family)
            if mine and sample.row.threads in threads:
                predicted[at] = sample.terms @ constants
    return predicted


def one_number(known: Sequence[Sample]) -> Vector:
    """Return each sample's seconds by seconds per multiply-accumulate, its family left out.

    The number is fitted for each of the kernels, precisions and thread counts apart.
    """
    predicted = np.full(len(known), np.nan)
    for at, sample in enumerate(known):
        key = (sample.kernels, sample.kind, sample.row.threads)
        rest = [
            other.macs / other.seconds
            for other in known
            if (other.kernels, other.kind, other.row.threads) == key
            and other.family != sample.family
        ]
        if rest:
            rates = np.array(rest)
            predicted[at] = sample.macs * rates.sum() / (rates @ rates)
    return predicted
