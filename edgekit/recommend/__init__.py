"""Which artifact to ship: chosen from saved records under limits, and why.

Every limit is held to the pessimistic end of a number's interval, so that what is recommended
holds its limits and not only its estimate does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from edgekit.errors import BadResults
from edgekit.recommend.candidates import Candidate, collect
from edgekit.recommend.limits import LATENCY, SIZE, Limit, say, say_gap
from edgekit.report.pareto import front as pareto
from edgekit.report.records import Saved


@dataclass(frozen=True, slots=True)
class Miss:
    """A limit a candidate does not hold; `by` is in the metric's unit, infinite for unknown."""

    limit: Limit
    by: float

    def __str__(self) -> str:
        if self.by == inf:
            return f"{self.limit.metric} unknown"
        return f"{self.limit.metric} by {say_gap(self.limit.metric, self.by)}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate, the limits it misses, and whether nothing beats it in every metric at once."""

    candidate: Candidate
    misses: tuple[Miss, ...]
    on_front: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The pick, None where nothing holds every limit; `reasons` say why, a line each."""

    target: str
    pick: Judged | None
    judged: tuple[Judged, ...]
    reasons: tuple[str, ...]


def recommend(saved: Saved, target: str, limits: Sequence[Limit]) -> Recommendation:
    """Return what to ship to `target` of all that was saved.

    Raises BadResults where the records hold no artifact to ship.
    """
    candidates = collect(saved, target)
    if not candidates:
        raise BadResults(
            f"the results hold no artifact for {target}: edgekit bench OUT --target {target}"
        )
    metrics = list(dict.fromkeys(metric for c in candidates for metric in c.numbers))
    front = pareto([tuple(c.cost(metric) for metric in metrics) for c in candidates])
    judged = tuple(
        Judged(candidate, _misses(candidate, limits), index in front)
        for index, candidate in enumerate(candidates)
    )
    hold = [item for item in judged if not item.misses]
    fit = [item for item in hold if item.candidate.conclusive]
    if not fit:
        reasons = _measure_again(hold, target) or (*_reach(judged, limits), *_relax(judged))
        return Recommendation(target=target, pick=None, judged=judged, reasons=tuple(reasons))
    pick, reasons = _choose(fit, metrics)
    return Recommendation(
        target=target, pick=pick, judged=judged, reasons=(*reasons, *_traded(pick, judged, metrics))
    )


def _misses(candidate: Candidate, limits: Sequence[Limit]) -> tuple[Miss, ...]:
    found = []
    for limit in limits:
        number = candidate.numbers.get(limit.metric)
        by = inf if number is None else limit.excess(number.pessimistic(limit.at_most))
        if by > 0:
            found.append(Miss(limit, by))
    return tuple(found)


def _measure_again(hold: Sequence[Judged], target: str) -> list[str]:
    """Return why nothing is chosen though these hold every limit: their times do not say enough."""
    lines = [
        f"{item.candidate.title}: {'; '.join(item.candidate.numbers[LATENCY].doubts)}"
        for item in hold
    ]
    if lines:
        again = f"edgekit bench OUT --target {target}"
        lines.append(f"close other programs and measure again: {again}")
    return lines


def _choose(fit: Sequence[Judged], metrics: Sequence[str]) -> tuple[Judged, list[str]]:
    """Return the pick of those that hold every limit: fast, then accurate, then small.

    Latencies whose intervals overlap are not ranked: among them the others decide.
    """
    fastest = min(fit, key=lambda item: item.candidate.cost(LATENCY))
    bound = fastest.candidate.cost(LATENCY)
    tied = [item for item in fit if _lowest_latency(item.candidate) <= bound]
    accuracies = [metric for metric in metrics if metric not in {LATENCY, SIZE}]

    def order(item: Judged) -> tuple[float, float, float]:
        candidate = item.candidate
        lost = sum(candidate.cost(metric) for metric in accuracies)
        return lost, candidate.cost(SIZE), candidate.cost(LATENCY)

    pick = min(tied, key=order)
    title = pick.candidate.title
    if isfinite(bound):
        number = pick.candidate.numbers[LATENCY]
        reason = (
            f"{title}: none of the {len(fit)} that hold every limit is surely faster; p50 at most "
            f"{say(LATENCY, number.high)} ({number.provenance}, pessimistic end)"
        )
    else:
        reason = f"{title}: no latency is known there; the most accurate, then the smallest"
    reasons = [reason]
    others = [item.candidate.title for item in tied if item is not pick]
    if isfinite(bound) and others:
        reasons.append(f"as fast within the intervals, but less accurate or larger: {_few(others)}")
    return pick, reasons


def _lowest_latency(candidate: Candidate) -> float:
    number = candidate.numbers.get(LATENCY)
    return inf if number is None else number.low


def _traded(pick: Judged, judged: Sequence[Judged], metrics: Sequence[str]) -> list[str]:
    """Return what the rest of the Pareto front would give and cost beside the pick."""
    lines = []
    for item in judged:
        if item is pick or not item.on_front or item.misses:
            continue
        gains: list[str] = []
        costs: list[str] = []
        for metric in metrics:
            mine, theirs = pick.candidate.cost(metric), item.candidate.cost(metric)
            if mine != theirs and isfinite(mine) and isfinite(theirs):
                difference = f"{metric} {say(metric, abs(theirs))}"
                (gains if theirs < mine else costs).append(difference)
        if gains:
            lines.append(
                f"Pareto: {item.candidate.title} would give {', '.join(gains)}"
                + (f" for {', '.join(costs)}" if costs else "")
            )
    return lines


def _reach(judged: Sequence[Judged], limits: Sequence[Limit]) -> list[str]:
    """Return, for each limit that nothing holds by itself, how far the best one stays away."""
    lines = []
    for limit in limits:
        best = min(judged, key=lambda item: item.candidate.cost(limit.metric))
        number = best.candidate.numbers.get(limit.metric)
        if number is None:
            lines.append(f"no record tells any artifact's {limit.metric}: {_remedy(limit)}")
            continue
        end = number.pessimistic(limit.at_most)
        if limit.excess(end) > 0:
            lines.append(
                f"out of reach: {limit.metric} {say(limit.metric, limit.value)}; the best, "
                f"{best.candidate.title}, has {say(limit.metric, end)} ({number.provenance}, "
                f"pessimistic end), {say_gap(limit.metric, limit.excess(end))} away"
            )
    return lines


def _remedy(limit: Limit) -> str:
    if limit.metric == LATENCY:
        return "edgekit bench on the board, or edgekit predict-latency"
    return "edgekit evaluate OUT --data DATA saves it, for outputs its records have a place for"


def _relax(judged: Sequence[Judged]) -> list[str]:
    """Return each single option that, relaxed alone, would admit an artifact, or the nearest."""
    single = [item for item in judged if len(item.misses) == 1 and isfinite(item.misses[0].by)]
    lines = []
    for option in dict.fromkeys(item.misses[0].limit.option for item in single):
        same = [item for item in single if item.misses[0].limit.option == option]
        best = min(same, key=lambda item: item.misses[0].by)
        limit = best.misses[0].limit
        number = best.candidate.numbers[limit.metric].pessimistic(limit.at_most)
        lines.append(f"relax to {limit.relaxed_to(number)}: admits {best.candidate.title}")
    known = [item for item in judged if all(isfinite(miss.by) for miss in item.misses)]
    if lines or not known:
        return lines
    nearest = min(known, key=lambda item: (len(item.misses), _relative(item)))
    missed = "; ".join(map(str, nearest.misses))
    return [f"no one limit is to blame; {nearest.candidate.title} misses fewest: {missed}"]


def _relative(item: Judged) -> float:
    """Return how far a candidate is from its limits, as shares of them."""
    return sum(miss.by / miss.limit.value for miss in item.misses)


def _few(names: Sequence[str], listed: int = 3) -> str:
    more = len(names) - listed
    return ", ".join(names[:listed]) + (f" and {more} more" if more > 0 else "")


def row(item: Judged, picked: bool) -> dict[str, Any]:
    """Return a candidate as a row for programs: seconds, bytes and per cent, with intervals."""
    candidate = item.candidate
    return {
        "pick": picked,
        "model": candidate.artifact.model,
        "backend": candidate.artifact.backend,
        "precision": candidate.artifact.precision,
        "runtime": candidate.runtime,
        "threads": candidate.threads,
        "artifact": candidate.artifact.sha256,
        "pareto": item.on_front,
        "numbers": {metric: asdict(number) for metric, number in candidate.numbers.items()},
        "misses": {
            miss.limit.metric: miss.by if isfinite(miss.by) else None for miss in item.misses
        },
    }
