"""The report's first lines: what to ship where and why, what int8 costs, and what is in doubt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgekit.errors import BadResults
from edgekit.recommend import Judged, recommend
from edgekit.recommend.candidates import Candidate, Number
from edgekit.recommend.limits import LATENCY, SIZE
from edgekit.records import ChoiceRecord, EmulationRecord, PredictionRecord, WeighedArtifact
from edgekit.report import cells, choices
from edgekit.report.records import Saved, has_times

NOTHING = "Ship nothing yet: every time measured there is inconclusive."
"""Said where nothing may be recommended: no limit is set here, so only doubt can forbid it."""
MOST = 3
"""Models and targets that are summed up; the tables hold the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One model on one target in three lines, under a title with the machine and the date."""

    title: str
    lines: tuple[str, ...]


def summarise(saved: Saved) -> tuple[Summary, ...]:
    """Return a summary a model and target, those measured on a board first; MOST of them.

    What `convert --best` chose stands until something is timed on that board.
    """
    measured = {(m.artifact.model, m.target): m for m in saved.measurements}
    timed = {(m.artifact.model, m.target) for m in saved.measurements if has_times(m)}
    chosen = {
        (c.model, c.target): c
        for c in sorted(saved.choices, key=lambda c: c.created)
        if (c.model, c.target) not in timed
    }
    others: list[PredictionRecord | EmulationRecord] = [*saved.predictions, *saved.emulations]
    pairs = [*chosen, *measured, *((r.artifact.model, r.target) for r in others)]
    weighed = (item for record in saved.choices for item in record.weighed)
    untrained = {
        r.artifact.model
        for r in (*saved.measurements, *others, *weighed)
        if r.artifact.weights == "random"
    }
    # Nobody ships random weights; and the host is where one works, a board is what one ships to.
    ordered = sorted(
        dict.fromkeys(pairs),
        key=lambda pair: (pair[0] in untrained, pair[1] == "host", pairs.index(pair)),
    )
    found = []
    for model, target in ordered:
        if record := chosen.get((model, target)):
            found.append(_chosen(record))
            continue
        try:
            result = recommend(_only(saved, model), target, ())
        except BadResults:  # nothing that could be shipped: the null backend, PyTorch itself
            continue
        facts = measured.get((model, target))
        machine = f" ({facts.facts.title})" if facts else ""
        dates = [m.created for m in saved.measurements if m.target == target]
        date = max(dates + [r.created for r in others if r.target == target])[:10]
        found.append(
            Summary(
                title=f"{model} on {target}{machine}, {date}",
                lines=(
                    _ship(result.pick.candidate) if result.pick else NOTHING,
                    _int8(result.judged, saved, target),
                    _in_doubt(result.pick.candidate)
                    if result.pick
                    else f"In doubt: {'; '.join(result.reasons)}.",
                ),
            )
        )
    return tuple(found[:MOST])


def _chosen(record: ChoiceRecord) -> Summary:
    """Return what `convert --best` found in three lines; its table holds the rest."""
    pick = record.pick
    first, *doubts = choices.why(record)
    ranked = doubts.pop(0) if pick else ""
    if record.basis != "measured":
        doubts.append("no time was measured on a board (edgekit bench --device ssh://USER@HOST)")
    ordered = sorted(record.weighed, key=lambda item: choices.order(record, item))
    others = [item for item in ordered if item is not pick and not item.fault]
    costs = [f"{choices.name(item)} {_cost(item)}" for item in others]
    return Summary(
        title=f"{record.model} on {record.target} ({record.provenance}), {record.created[:10]}",
        lines=(
            f"Ship {choices.name(pick)}: {_cost(pick)}; {first}."
            if pick
            else f"Ship none: {first}.",
            f"Chosen by {ranked.removeprefix('ranked by ')}. The others: {'; '.join(costs)}."
            if pick
            else f"Tried: {'; '.join(costs)}.",
            f"In doubt: {'; '.join(dict.fromkeys(doubts))}." if doubts else "In doubt: nothing.",
        ),
    )


def _cost(item: WeighedArtifact) -> str:
    parts = []
    if item.instructions is not None:
        parts.append(f"{item.instructions / 1e6:.2f} M instructions")
    if item.seconds is not None:
        ends = (end and 1e3 * end for end in (item.seconds, item.low, item.high))
        value, _, interval = cells.with_interval(*ends).partition(" ")
        parts.append(f"{value} ms {interval}".rstrip())
    return ", ".join(parts) or "cost unknown"


def _only(saved: Saved, model: str) -> Saved:
    return replace(
        saved,
        measurements=tuple(m for m in saved.measurements if m.artifact.model == model),
        predictions=tuple(p for p in saved.predictions if p.artifact.model == model),
        emulations=tuple(e for e in saved.emulations if e.artifact.model == model),
    )


def _ship(pick: Candidate) -> str:
    words = [_number(metric, number) for metric, number in pick.numbers.items()]
    return f"Ship {_name(pick)}: {', '.join(words)}."


def _int8(judged: Iterable[Judged], saved: Saved, target: str) -> str:
    """Return what int8 gives and costs, of the backend whose int8 is the fastest there."""
    candidates = [item.candidate for item in judged]
    pairs = [
        (int8, fp32)
        for int8 in candidates
        for fp32 in candidates
        if _kind(int8) == (*_kind(fp32)[:3], "int8") and _kind(fp32)[3] == "fp32"
    ]
    if not pairs:
        return "int8: there is no int8 and fp32 pair of one backend to compare."
    int8, fp32 = min(pairs, key=lambda pair: pair[0].cost(LATENCY))
    parts = []
    fast, slow = int8.numbers.get(LATENCY), fp32.numbers.get(LATENCY)
    if fast and slow:
        sure = fast.conclusive and slow.conclusive
        apart = sure and (fast.high < slow.low or slow.high < fast.low)
        ratio = slow.value / fast.value
        word = f"{ratio:.1f}x as fast" if apart else "not clearly faster or slower"
        parts.append(f"{word} ({fast.provenance})")
    counts = [_instructions(saved, target, item) for item in (fp32, int8)]
    if not (fast and slow) and all(counts):
        before, after = (f"{count / 1e6:.1f} M" for count in counts if count)
        parts.append(f"{after} instructions instead of {before} (emulated)")
    saves = fp32.numbers[SIZE].value - int8.numbers[SIZE].value
    parts.append(f"{cells.size(abs(saves))} {'smaller' if saves >= 0 else 'larger'}")
    for metric, number in int8.numbers.items():
        before_it = fp32.numbers.get(metric)
        if metric not in {LATENCY, SIZE} and before_it is not None:
            parts.append(f"{metric} {number.value:.1f} % instead of {before_it.value:.1f} %")
    return f"int8 against fp32 in {int8.artifact.backend}: {', '.join(parts)}."


def _in_doubt(pick: Candidate) -> str:
    """Return what the numbers of the pick do not tell."""
    doubts = list(pick.doubts)
    latency = pick.numbers.get(LATENCY)
    if latency is None:
        doubts.append("no time was measured or predicted")
    elif latency.provenance == "predicted":
        doubts.append("no time was measured on a board (edgekit bench --device ssh://USER@HOST)")
    if set(pick.numbers) <= {LATENCY, SIZE}:
        doubts.append(
            "no accuracy is known (edgekit evaluate OUT --data DATA --results edgekit-results)"
        )
    if pick.artifact.weights == "random":
        doubts.append("the weights are random, so that the answers mean nothing")
    return f"In doubt: {'; '.join(doubts)}." if doubts else "In doubt: nothing that was recorded."


def _number(metric: str, number: Number) -> str:
    if metric == LATENCY:
        ends = (1e3 * end for end in (number.value, number.low, number.high))
        text, _, interval = cells.with_interval(*ends).partition(" ")
        return f"{text} ms {interval} {number.provenance}".replace("  ", " ")
    if metric == SIZE:
        return cells.size(number.value)
    output = metric.removesuffix(" accuracy")
    return f"{output} {number.value:.1f} % [{number.low:.1f}, {number.high:.1f}]"


def _name(candidate: Candidate) -> str:
    facts = candidate.artifact
    threads = f" with {candidate.threads} threads" if candidate.threads > 1 else ""
    return f"{facts.backend}-{facts.precision}{threads}"


def _kind(candidate: Candidate) -> tuple[str, str, int, str]:
    facts = candidate.artifact
    return facts.backend, candidate.runtime, candidate.threads, facts.precision


def _instructions(saved: Saved, target: str, candidate: Candidate) -> int | None:
    for record in saved.emulations:
        same = record.artifact.sha256 == candidate.artifact.sha256
        if same and record.target == target and record.runtime == candidate.runtime:
            return record.instructions_per_inference
    return None
