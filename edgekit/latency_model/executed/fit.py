"""Fits a board's constants to counted runs of the evidence, and predicts rows left out of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from edgekit.latency_model.quantiles import balanced_mean

PARTS = ("memory_line", "crowded_line", "near_line", "idle", "converted")
ABLATION = {
    "issue": PARTS,
    "issue + memory": ("idle", "converted"),
    "issue + memory + threads": ("converted",),
    "issue + memory + threads + conversion": (),
}
"""What each part of the model adds, by the constants that are left out of the fit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One measured latency, and what its network executes here: `terms` of TERMS.

    `kernels` says which of a runtime's kernels ran, `family` whose network it is.
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

    @property
    def kind(self) -> str:
        """`int8`, or `float` for the others."""
        return "int8" if self.row.dtype == "int8" else "float"


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
            (run["kernels"], run["rows"], Work(**run["work"]))
            for run in json.loads(path.read_text())["runs"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadResults(
            f"{path} cannot be read ({error}): write it with benchmarks/scripts/count_executed.py"
        ) from None
    return samples(runs, load_rows(), load_networks())


def samples(
    runs: Iterable[tuple[str, Mapping[str, str], Work]],
    rows: Sequence[Row],
    networks: Mapping[tuple[str, str], Network],
) -> tuple[Sample, ...]:
    """Return the rows that each run (kernels, fields its rows must have, work) explains."""
    found = []
    for kernels, wanted, work in runs:
        for row in rows:
            network = network_of(row, networks)
            same = all(str(getattr(row, name)) == value for name, value in wanted.items())
            if not same or network is None or row.threads is None:
                continue
            load = network.workload
            known = terms(work, load.operators, row.threads, row.clock_mhz, converted_numbers(row))
            found.append(
                Sample(kernels=kernels, family=network.family, macs=load.macs, row=row, terms=known)
            )
    return tuple(found)


def fit(known: Sequence[Sample], form: str, without: Sequence[str] = ()) -> Vector:
    """Return the constants, none below 0, of least squares of relative errors by a form.

    Factors on issue cycles are not below 1: no core is faster than its bound, and few rows of a
    kind would else take from it what they cannot tell from memory. Constants `without` are 0. A
    family of networks has the same say in each of its kernels, precisions and thread counts,
    however many of its sizes were measured.
    """
    matrix = columns(form, without)
    keys = [(s.kernels, s.family, s.row.dtype, s.row.threads) for s in known]
    counts = Counter(keys)
    weights = np.array([s.row.trust / counts[k] for s, k in zip(known, keys, strict=True)])
    relative = np.array([sample.terms / sample.seconds for sample in known]) @ matrix
    issue = np.array([name in ISSUE for name in TERMS], float)
    least = issue[matrix.argmax(axis=0)]
    gram = (relative * weights[:, None]).T @ relative
    # A constant that no row needs (no integer blocks) must not make the system singular.
    gram += np.diag(np.maximum(np.diag(gram), 1e-30) * 1e-9)
    beyond = nonnegative(gram, relative.T @ (weights * (1 - relative @ least)))
    constants: Vector = matrix @ (least + beyond)
    return constants


def choose(known: Sequence[Sample]) -> str:
    """Return the form that tells families left out of `known` best, and looks at nothing else.

    Best is the least mean of absolute log errors, every family of kernels with one say.
    """

    def error(form: str) -> float:
        told = left_out(known, form)
        return balanced_mean(
            ((s.kernels, s.kind, s.family), abs(float(np.log(seconds / s.seconds))))
            for s, seconds in zip(known, told, strict=True)
            if seconds > 0
        )

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
