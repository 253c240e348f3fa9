"""Measures artifacts on a device: fresh processes, interleaved rounds, every sample kept.

Each (artifact, round) is one job in a process of its own; within a round the artifacts run in a
seeded random order, so that a slow minute of the machine hits no artifact more than another. A
row is saved after each of its rounds, and the same plan asked for again continues where it
stopped.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.data.images import ImageSet, content_hash
from edgekit.devices import Device
from edgekit.errors import BadTarget, DeviceError, MissingPackage, UserError, did_you_mean
from edgekit.files import sha256
from edgekit.paths import ONBOARD
from edgekit.progress import Say, silent
from edgekit.records import Measurement, Round, artifact_facts, slug
from edgekit.results import load_results, save
from edgekit.scratch import scratch_folder
from edgekit.session import RUNNER, Entry, Session, lay_out, probe, put_runner
from edgekit.targets import DeviceFacts, Target, check_device

if TYPE_CHECKING:
    from edgekit.measurement.stats import Percentile

LOCK_WAIT_S = 3.0
"""A bench that was killed may hold its lock a moment longer, in a child that it was starting."""

MAX_IMAGES = 24
"""Inputs rotate over this many at most: enough to vary, few enough to copy to a board."""


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to measure and for how long.

    Every process measures for `min_seconds`, and until all rounds together hold the samples
    that `percentile` needs. `cores` are the numbers of the cores to run on; empty: any.
    `timeout` is the most one process may take, in seconds. `command` is what the user typed.
    With `sustained` rounds go on, interleaved as ever, for so many minutes.
    """

    entries: tuple[Entry, ...]
    target: Target
    images: ImageSet
    results: Path
    threads: int = 1
    cores: tuple[int, ...] = ()
    rounds: int = 3
    min_seconds: float = 1.0
    percentile: Percentile = "p90"
    warmup_max_seconds: float = 5.0
    timeout: float = 600.0
    command: str = ""
    sustained: float = 0.0

    def __post_init__(self) -> None:
        from edgekit.measurement.stats import SHARES

        if not self.entries:
            raise UserError("nothing to measure: give artifacts that `edgekit convert` made")
        if self.rounds < 3:
            raise UserError(f"{self.rounds} rounds show no spread: ask for 3 or more")
        if self.threads < 1:
            raise UserError(f"{self.threads} threads: ask for 1 or more")
        if self.cores and self.threads > len(set(self.cores)):
            raise UserError(f"{self.threads} threads on {len(set(self.cores))} cores: add cores")
        if self.percentile not in SHARES:
            raise UserError(did_you_mean("percentile", self.percentile, list(SHARES)))
        if not (math.isfinite(self.min_seconds) and self.min_seconds >= 0):
            raise UserError(f"min-seconds is {self.min_seconds}: give 0 or more")
        if not (math.isfinite(self.sustained) and self.sustained >= 0):
            raise UserError(f"sustained is {self.sustained}: give minutes, more than 0")

    @property
    def min_count(self) -> int:
        """The samples each process must take."""
        from edgekit.measurement.stats import SHARES, samples_needed

        return math.ceil(samples_needed(SHARES[self.percentile]) / self.rounds)


def bench(request: BenchRequest, device: Device, say: Say = silent) -> list[Measurement]:
    """Measure every entry on `device` and return the rows, in the entries' order.

    A row whose process dies, hangs or answers nonsense carries the reason in `error`; the others
    go on. Raises BadTarget where the device is not the target or has no real clock, UserError
    where another bench is writing the same results, DeviceError where the device is lost: what
    was measured until then is saved and the same call continues it.
    """
    if device.provenance != "measured":
        raise BadTarget(
            f"{device.name} is emulated and has no times of its own: measure on a real "
            f"{request.target.name} with --device ssh://USER@HOST"
        )
    for item in request.entries:
        if item.program != (RUNNER,) and device.name != "local":
            raise UserError(f"{item.runtime} runs on this machine only: leave it out")
    with _only_bench(request.results), scratch_folder() as scratch:
        put_runner(device)
        facts = probe(device)
        check_device(request.target, facts, device.name)
        if request.threads > facts.cores:
            raise UserError(f"{request.threads} threads, but {device.name} has {facts.cores} cores")
        images, images_hash = _put_images(device, request.images, Path(scratch))
        sessions = [
            lay_out(device, item, f"artifact-{index}") for index, item in enumerate(request.entries)
        ]
        plan = plan_hash(request, device, facts, images_hash)
        rows = _continued(_new_rows(request, plan, device, facts, images_hash), request, plan)
        for number in _round_numbers(request, rows):
            for index in _order(len(rows), plan, number):
                if rows[index].error is None and len(rows[index].rounds) == number:
                    rows[index] = _measure(request, sessions[index], rows[index], images, say)
                    save(rows[index], request.results)
        if request.sustained:
            rows = [replace(row, wanted_rounds=len(row.rounds)) for row in rows]
            for row in rows:
                save(row, request.results)
                say(row.title, "done")
    return rows


def _round_numbers(request: BenchRequest, rows: Sequence[Measurement]) -> Iterator[int]:
    """Yield 0, 1, …: as many rounds as were asked for, and on until the minutes are over.

    `rows` are looked at as they grow. What a run computed before it was interrupted counts.
    """
    computed = sum(
        r.load_s + r.first_s + sum((*r.warmup_s, *r.invoke_s, *r.end_to_end_s))
        for row in rows
        for r in row.rounds
    )
    end = time.monotonic() + 60 * request.sustained - computed
    for number in itertools.count():
        begun = max(request.rounds, *(len(row.rounds) for row in rows))
        time_is_over = time.monotonic() >= end or all(row.error for row in rows)
        if number >= begun and time_is_over:
            return
        yield number


def plan_hash(request: BenchRequest, device: Device, facts: DeviceFacts, images: str) -> str:
    """Return 12 hexadecimal digits that are equal only for what may be measured into one run.

    The runner and the runtimes' versions belong to it: a row never mixes two of either.
    """
    sustained = [request.sustained] if request.sustained else []
    plan = {
        "entries": [[e.artifact.sha256, e.runtime, *e.program] for e in request.entries],
        "runner": sha256(ONBOARD / RUNNER),
        "target": request.target.name,
        "device": [device.name, facts.machine, facts.board, facts.cpu_model, facts.cores],
        "software": [facts.os, facts.python, facts.governor, facts.runtimes],
        "images": images,
        "threads": [request.threads, *request.cores],
        "amount": [request.rounds, request.min_seconds, request.min_count, *sustained],
        "warm-up": request.warmup_max_seconds,
    }
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:12]


def _measure(
    request: BenchRequest,
    session: Session,
    row: Measurement,
    images: Sequence[str],
    say: Say,
) -> Measurement:
    """Return `row` with one more round, or with the reason why there is none."""
    number = len(row.rounds) + 1
    say(row.title, f"round {number}" + ("" if request.sustained else f" of {request.rounds}"))
    start = time.time() - datetime.fromisoformat(row.created).timestamp()
    try:
        event = session.run(
            "bench",
            timeout=request.timeout,
            threads=request.threads,
            cores=list(request.cores),
            images=list(images),
            min_seconds=request.min_seconds,
            min_count=request.min_count,
            warmup_max_seconds=request.warmup_max_seconds,
        )[-1]
        answer = _round(event, request.min_count)
    except (DeviceError, MissingPackage, ValueError) as error:
        # Raises where the device itself is gone: then the row is not to blame and stays open.
        probe(session.device)
        reason = " ".join(str(error).split())
        say(row.title, f"failed: {reason}")
        return replace(row, error=f"round {number}: {reason}")
    if number == request.rounds and not request.sustained:
        say(row.title, "done")
    return replace(
        row,
        rounds=(*row.rounds, replace(answer, start_s=max(start, 0.0))),
        runtime_version=str(event.get("runtime_version", "")),
        wanted_rounds=number + 1 if request.sustained else row.wanted_rounds,
    )


def _round(event: dict[str, Any], min_count: int) -> Round:
    """Return a runner's answer as a Round. Raises ValueError where it cannot be one."""
    try:
        answer = msgspec.convert(event, Round)
    except msgspec.ValidationError as error:
        raise ValueError(f"the runner's answer is not a round: {error}") from None
    times = (answer.load_s, answer.first_s, *answer.warmup_s, *answer.invoke_s)
    if not all(math.isfinite(t) and t >= 0 for t in (*times, *answer.end_to_end_s)):
        raise ValueError("the runner's answer has times below 0, or not finite")
    if min(len(answer.invoke_s), len(answer.end_to_end_s)) < min_count:
        raise ValueError(f"the runner's answer has fewer than the {min_count} samples asked for")
    return answer


def _put_images(device: Device, images: ImageSet, scratch: Path) -> tuple[list[str], str]:
    """Put the images on the device; return their names there and one hash over them all."""
    names, hashes = [], []
    for index, name in enumerate(images.names[:MAX_IMAGES]):
        content = images.read(name)
        names.append(f"images/{index:02d}{Path(name).suffix.lower()}")
        hashes.append(content_hash(content))
        file = scratch / names[-1]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    device.put(scratch / "images", "images")
    return names, hashlib.sha256("".join(hashes).encode()).hexdigest()


def _new_rows(
    request: BenchRequest, plan: str, device: Device, facts: DeviceFacts, images: str
) -> list[Measurement]:
    """Return rows without rounds, of a run whose name no other has."""
    now = datetime.now(UTC)
    run = f"{now:%Y%m%dT%H%M%S.%fZ}-{plan}"
    stems = [slug(f"{item.artifact.label} {item.runtime}") for item in request.entries]
    same = [stems[:index].count(stem) for index, stem in enumerate(stems)]
    labels = [f"{stem}.{n + 1}" if n else stem for stem, n in zip(stems, same, strict=True)]
    return [
        Measurement(
            label=label,
            run=run,
            artifact=artifact_facts(item.artifact),
            target=request.target.name,
            device=device.name,
            facts=facts,
            provenance=device.provenance,
            runtime=item.runtime,
            runtime_version="",
            threads=request.threads,
            cores=request.cores,
            images=images,
            wanted_rounds=request.rounds,
            min_seconds=request.min_seconds,
            min_count=request.min_count,
            created=now.isoformat(timespec="seconds"),
            command=request.command,
        )
        for label, item in zip(labels, request.entries, strict=True)
    ]


def _continued(rows: list[Measurement], request: BenchRequest, plan: str) -> list[Measurement]:
    """Return the rows of the plan's last run where it was interrupted, else `rows` as they are."""
    runs = sorted(folder for folder in request.results.glob(f"*-{plan}") if folder.is_dir())
    if not runs:
        return rows
    measurements, problems = load_results(runs[-1])
    saved = {measurement.label: measurement for measurement in measurements}
    merged = [saved.get(row.label, replace(row, run=runs[-1].name)) for row in rows]
    return rows if problems or all(row.ended for row in merged) else merged


def _order(count: int, plan: str, number: int) -> list[int]:
    """Return the order of a round: random, and the same whenever the plan is run again."""
    order = list(range(count))
    random.Random(f"{plan}/{number}").shuffle(order)
    return order


@contextmanager
def _only_bench(results: Path) -> Iterator[None]:
    """Hold `results` for this process; the system lets go of it however the process ends."""
    import fcntl

    results.mkdir(parents=True, exist_ok=True)
    with (results / ".lock").open("w") as lock:
        end = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UserError(
                        f"another bench writes to {results}: two at once would disturb each "
                        "other; wait"
                    ) from None
                time.sleep(0.05)
        yield
