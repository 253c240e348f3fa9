"""What may be recommended: each saved artifact in one runtime, with all that is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import msgspec

from edgekit.recommend.limits import LATENCY, SIZE, accuracy_of
from edgekit.records import (
    AccuracyRecord,
    ArtifactFacts,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    Provenance,
)
from edgekit.report.records import Saved
from edgekit.report.scatter_points import shares
from edgekit.runtimes.table import role_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A value with the interval that limits are held to, where it is from, and every doubt.

    `conclusive` is false of a time whose rounds do not agree: nothing is chosen by it.
    """

    value: float
    low: float
    high: float
    provenance: Provenance
    source: str
    doubts: tuple[str, ...] = ()
    conclusive: bool = True

    def pessimistic(self, at_most: bool) -> float:
        """Return the end of the interval that counts against it."""
        return self.high if at_most else self.low


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One artifact in one runtime with so many threads; `numbers` by metric, what is known."""

    artifact: ArtifactFacts
    runtime: str
    threads: int
    numbers: Mapping[str, Number]

    @property
    def title(self) -> str:
        """`multitask-cnn:classification tflite int8`, with its threads where there are more."""
        facts = self.artifact
        name = f"{facts.model} {facts.backend} {facts.precision}"
        return name if self.threads == 1 else f"{name}, {self.threads} threads"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Every doubt about any number, with its metric."""
        return tuple(f"{m}: {doubt}" for m, n in self.numbers.items() for doubt in n.doubts)

    @property
    def conclusive(self) -> bool:
        """Whether its latency may be chosen by: an unknown one may."""
        return LATENCY not in self.numbers or self.numbers[LATENCY].conclusive

    def cost(self, metric: str) -> float:
        """Return the pessimistic end as a cost, smaller is better; infinite where unknown."""
        number = self.numbers.get(metric)
        if number is None:
            return inf
        at_most = metric in {LATENCY, SIZE}
        return number.pessimistic(at_most) if at_most else -number.pessimistic(at_most)


def collect(saved: Saved, target: str) -> tuple[Candidate, ...]:
    """Return every artifact of the records in every runtime it was tried in, in a fixed order.

    A latency is the measured p50 on `target`; only where nothing is measured there, the one
    predicted for it. What an emulated `target` could not run is left out.
    """
    measured = [m for m in saved.measurements if m.target == target and m.provenance == "measured"]
    predicted = [p for p in saved.predictions if p.target == target]
    emulated = [e for e in saved.emulations if e.target == target]
    dead = {(e.artifact.sha256, e.runtime) for e in emulated if e.failure}
    here: list[Measurement | PredictionRecord] = [*measured, *predicted]
    facts = {(row.artifact.sha256, row.runtime, row.threads): row.artifact for row in here}
    known = {(sha, runtime) for sha, runtime, _ in facts}
    tried: list[Measurement | EmulationRecord] = [*saved.measurements, *emulated]
    for row in tried:
        if (row.artifact.sha256, row.runtime) not in known:
            facts[row.artifact.sha256, row.runtime, 1] = row.artifact
    found = []
    for (sha, runtime, threads), artifact in facts.items():
        if role_of(artifact.backend) != "deployed" or (sha, runtime) in dead:
            continue
        mine = [m for m in measured if _is(m, sha, runtime, threads)]
        guessed = [p for p in predicted if _is(p, sha, runtime, threads)]
        latency = _measured(mine) or _predicted(guessed)
        numbers = {LATENCY: latency} if latency else {}
        size = float(artifact.bytes)
        numbers[SIZE] = Number(
            value=size, low=size, high=size, provenance="measured", source="the artifact's files"
        )
        found.append(
            Candidate(
                artifact=artifact,
                runtime=runtime,
                threads=threads,
                numbers=numbers | _accuracies(saved.accuracy, artifact),
            )
        )
    return tuple(sorted(found, key=lambda c: (c.title, c.runtime, c.artifact.sha256)))


def _is(record: Measurement | PredictionRecord, sha: str, runtime: str, threads: int) -> bool:
    return (record.artifact.sha256, record.runtime, record.threads) == (sha, runtime, threads)


def _measured(rows: Sequence[Measurement]) -> Number | None:
    """Return the newest measurement's p50 with its 95 % interval; None where it has none."""
    from edgekit.measurement.stats import interval
    from edgekit.measurement.summary import verdict

    for row in sorted(rows, key=lambda row: row.created, reverse=True):
        sure = interval([r.invoke_s for r in row.rounds], "p50")
        if sure is not None:
            said = verdict(row)
            doubts = () if said == "ok" else (said,)
            return Number(
                value=sure.value,
                low=sure.low,
                high=sure.high,
                provenance="measured",
                source=f"run {row.run}",
                doubts=doubts,
                conclusive=not doubts,
            )
    return None


def _predicted(rows: Sequence[PredictionRecord]) -> Number | None:
    """Return a calibrated prediction before an uncalibrated one, the more careful of two."""
    if not rows:
        return None
    best = max(rows, key=lambda row: (row.calibrated, row.high))
    doubts = () if best.calibrated else (f"uncalibrated: {best.why}",)
    return Number(
        value=best.seconds,
        low=best.low,
        high=best.high,
        provenance="predicted",
        source=best.method,
        doubts=doubts,
    )


def _accuracies(records: Iterable[AccuracyRecord], artifact: ArtifactFacts) -> dict[str, Number]:
    """Return each output's accuracy: of this very artifact, or else of its namesakes, with doubt.

    Of boxes it is the mAP50-95, of masks the mean IoU; `source` says so. Of several the one on most
    images counts, and of equals the lowest; one without its interval has no pessimistic end and
    does not count.
    """
    name = (artifact.model, artifact.backend, artifact.precision)
    same = [r for r in records if (r.model, r.backend, r.precision) == name and r.artifact]
    own = [r for r in same if r.artifact == artifact.sha256]
    doubts = () if own else ("of another build of the same model, backend and precision",)
    found: dict[str, Number] = {}
    for record in sorted(own or same, key=lambda r: r.images):
        source = f"{record.dataset} {record.split}, {record.images} images ({record.protocol})"
        for output, (measure, value, low, high) in _judged(record).items():
            number = Number(
                value=value,
                low=low,
                high=high,
                provenance=record.provenance,
                source=f"{measure} on {source}" if measure else source,
                doubts=doubts,
            )
            before = found.get(accuracy_of(output))
            if before is None or before.source != number.source or low < before.low:
                found[accuracy_of(output)] = number
    return found


def _judged(record: AccuracyRecord) -> dict[str, tuple[str, float, float, float]]:
    """Return for each output its measure ('' for the share of right answers), value and interval.

    In per cent. Of an output with several ratings the first counts.
    """
    told = msgspec.to_builtins(record)
    found: dict[str, tuple[str, float, float, float]] = {}
    for rating in record.ratings:
        measure = rating.measure.replace("_", "-")
        found.setdefault(rating.output, (measure, rating.percent, rating.low, rating.high))
    for name, (value, low, high) in shares(record).items():
        output = name.removesuffix(" accuracy")
        field = f"{output}_accuracy"
        own = told.get(field) is not None
        if output != name and not (own and None in (told[f"{field}_low"], told[f"{field}_high"])):
            found[output] = ("", value, low, high)
    return found
