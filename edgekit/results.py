"""Saved measurements: raw samples with all that is needed to judge, compare and report them.

    edgekit-results/<run>/run.json          the plan's hash and whether the run is finished
    edgekit-results/<run>/<label>.json      one measurement, rewritten whole after every round
    edgekit-results/**/accuracy-<...>.json  one accuracy record

A report is rebuilt from these files alone: a measurement carries what it needs of the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from edgekit.artifact import Artifact
from edgekit.errors import BadResults
from edgekit.files import write_whole
from edgekit.targets import DeviceFacts

# 1: the first.
SCHEMA = 1

RESULTS = Path("edgekit-results")
RUN = "run.json"
ACCURACY_PREFIX = "accuracy-"

Provenance = Literal["measured", "emulated", "predicted", "published"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArtifactFacts:
    """What a report needs of an artifact; see artifact.py for the fields.

    `max_abs_diff` and `agreement` (a share of `parity_images`, 0 to 1) are the parity with the
    torch model.
    """

    sha256: str
    bytes: int
    parameters: int
    macs: int | None
    weights: Literal["trained", "random", "given"]
    parity_images: int
    max_abs_diff: float | None
    agreement: float | None
    tools: dict[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """One fresh process: raw samples in seconds, in the order they were taken.

    `clock_mhz`, `temperature_c` and `throttled` were sampled before the first inference, after the
    warm-up, after `invoke_s` and after `end_to_end_s`; None is what the device does not tell.
    """

    index: int
    position: int
    started: str
    load_s: float
    first_s: float
    warmup_s: tuple[float, ...]
    settled: bool
    invoke_s: tuple[float, ...]
    end_to_end_s: tuple[float, ...]
    peak_memory_bytes: int
    clock_mhz: tuple[float | None, ...] = ()
    temperature_c: tuple[float | None, ...] = ()
    throttled: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One artifact in one runtime on one device.

    `images` is the hash of the images the inputs rotated over; `cores` the processors the process
    was held to; `rounds_planned` how many rounds a whole measurement has.
    """

    run: str
    label: str
    model: str
    backend: str
    precision: str
    runtime: str
    runtime_version: str
    scenario: Literal["single_stream"]
    provenance: Provenance
    target: str
    device: str
    facts: DeviceFacts
    threads: int
    cores: tuple[int, ...]
    images: str
    artifact: ArtifactFacts
    rounds_planned: int
    rounds: tuple[Round, ...]
    edgekit: str
    command: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def invoke(self) -> list[tuple[float, ...]]:
        """Seconds of each inference, input tensor to output tensors, per round."""
        return [item.invoke_s for item in self.rounds]

    @property
    def end_to_end(self) -> list[tuple[float, ...]]:
        """Seconds from image bytes to decisions, per round."""
        return [item.end_to_end_s for item in self.rounds]

    @property
    def peak_memory_bytes(self) -> int:
        """The largest peak resident memory of any round."""
        return max((item.peak_memory_bytes for item in self.rounds), default=0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval, in per cent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AccuracyRecord:
    """One artifact's (or model's) accuracy on one labelled set.

    `backend` is `torch` for the model itself. `protocol` says how the split was made, `dataset`
    what was judged ('UTKFace mapped to Adience bins'); `n` counts images.
    """

    model: str
    backend: str
    precision: str
    dataset: str
    split: str
    protocol: str
    n: int
    age_accuracy: Interval | None
    age_1off: Interval | None
    gender_accuracy: Interval | None
    provenance: Provenance
    command: str
    artifact_sha256: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Run:
    """One plan's execution: what makes it the same plan, and whether it came to its end."""

    id: str
    plan: str
    started: str
    finished: bool
    schema: int = SCHEMA


@dataclass(frozen=True)
class Loaded:
    """What was found, and one line on each file that could not be read."""

    measurements: tuple[Measurement, ...]
    accuracy: tuple[AccuracyRecord, ...]
    damaged: tuple[str, ...] = ()


def artifact_facts(artifact: Artifact) -> ArtifactFacts:
    """Return what a report needs of an artifact."""
    manifest = artifact.manifest
    proven = bool(manifest.parity.outputs)
    return ArtifactFacts(
        sha256=artifact.sha256,
        bytes=artifact.bytes,
        parameters=manifest.source.parameters,
        macs=manifest.source.macs,
        weights=manifest.source.weights,
        parity_images=len(manifest.parity.images),
        max_abs_diff=manifest.parity.max_abs_diff if proven else None,
        agreement=manifest.parity.agreement,
        tools=dict(manifest.tools),
    )


def file_name(label: str) -> str:
    """Return a label as a file name: `multitask-cnn:regression onnx fp32` with dashes, and .json."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.") + ".json"


def save(folder: Path, measurement: Measurement) -> Path:
    """Write a measurement whole into its run's folder and return its path."""
    path = folder / file_name(measurement.label)
    write_whole(path, msgspec.json.encode(measurement) + b"\n")
    return path


def save_run(folder: Path, run: Run) -> None:
    """Write run.json whole."""
    write_whole(folder / RUN, msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def load(path: Path, kind: type[T]) -> T:
    """Return the Measurement, Run or AccuracyRecord saved at `path`.

    Raises BadResults in one line: missing, damaged, of a newer schema, or not such a record.
    """
    try:
        content = path.read_bytes()
        schema = msgspec.json.decode(content, type=dict[str, Any]).get("schema")
        if not isinstance(schema, int):
            raise BadResults(f"{path} is not a result of edgekit's: it has no schema number")
        if schema > SCHEMA:
            raise BadResults(f"{path} has schema {schema}, newer than {SCHEMA}: update edgekit")
        return msgspec.json.decode(content, type=kind)
    except FileNotFoundError:
        raise BadResults(f"no result at {path}: run `edgekit bench` first") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadResults(f"{path} is damaged ({error}): delete it and measure again") from None


def load_all(paths: Iterable[Path]) -> Loaded:
    """Return every measurement and accuracy record at `paths` (files, or folders searched through).

    A file that cannot be read costs one line in `damaged`, never the others. Raises BadResults
    where a path does not exist.
    """
    measurements: list[Measurement] = []
    accuracy: list[AccuracyRecord] = []
    damaged: list[str] = []
    for file in dict.fromkeys(_files(paths)):
        try:
            if file.name.startswith(ACCURACY_PREFIX):
                accuracy.append(load(file, AccuracyRecord))
            else:
                measurements.append(load(file, Measurement))
        except BadResults as error:
            damaged.append(str(error))
    return Loaded(tuple(measurements), tuple(accuracy), tuple(damaged))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*.json") if p.name != RUN and p.is_file())
        elif path.exists():
            yield path
        else:
            raise BadResults(f"no results at {path}: run `edgekit bench` first")


def inconclusive(measurement: Measurement) -> tuple[str, ...]:
    """Return why a measurement must not be ranked, each with the remedy; empty where it may."""
    rounds = measurement.rounds
    reasons = []
    if len(rounds) < measurement.rounds_planned:
        missing = f"{len(rounds)} of {measurement.rounds_planned} rounds"
        reasons.append(f"{missing}: run the same bench again to finish it")
    if unsettled := sum(not item.settled for item in rounds):
        reasons.append(f"did not settle in {unsettled} rounds: stop other programs, warm up longer")
    if any(_throttled(item) for item in rounds):
        reasons.append("throttled: cool the board and feed it from a stronger supply")
    return tuple(reasons)


def doubts(measurement: Measurement) -> tuple[str, ...]:
    """Return what a reader should know beside the numbers, `inconclusive` first."""
    from edgekit.stats import DRIFT_LIMIT, drift

    found = list(inconclusive(measurement))
    change = drift(measurement.invoke)
    if abs(change) > DRIFT_LIMIT:
        found.append(f"drifted by {change:+.0%} or more within every round: warm up longer")
    clocks = [mhz for item in measurement.rounds for mhz in item.clock_mhz if mhz]
    if clocks and min(clocks) < 0.9 * max(clocks):
        span = f"{min(clocks):.0f} to {max(clocks):.0f} MHz"
        found.append(f"clock moved from {span}: use the performance governor")
    return tuple(found)


def _throttled(item: Round) -> bool:
    """Tell whether the Raspberry Pi's firmware held the clock back during a round.

    Bits 0 to 3 of its flags are under-voltage, capped, throttled and soft limit now; bits 16 to 19
    the same since boot, which count where they appeared during the round (vcgencmd's manual).
    """
    flags = [int(text, 16) for text in item.throttled if text]
    return any(flag & 0xF for flag in flags) or bool(flags and (flags[-1] & ~flags[0]) & 0xF0000)


def differences(a: Measurement, b: Measurement) -> list[str]:
    """Return the facts that keep two measurements from being compared, each with both values.

    (The idea is pyperf's checked metadata.) Models, backends, precisions and runtime versions may
    differ: they are what one compares.
    """
    checked = {
        "provenance": (a.provenance, b.provenance),
        "scenario": (a.scenario, b.scenario),
        "threads": (a.threads, b.threads),
        "cores used": (a.cores, b.cores),
        "images": (a.images[:12], b.images[:12]),
        "machine": (a.facts.machine, b.facts.machine),
        "board": (a.facts.board, b.facts.board),
        "CPU": (a.facts.cpu_model, b.facts.cpu_model),
        "CPU features": (set(a.facts.cpu_features), set(b.facts.cpu_features)),
        "cores": (a.facts.cores, b.facts.cores),
        "memory": (a.facts.memory_bytes, b.facts.memory_bytes),
        "operating system": (a.facts.os, b.facts.os),
        "governor": (a.facts.governor, b.facts.governor),
        "Python": (a.facts.python, b.facts.python),
    }
    return [_difference(name, *pair) for name, pair in checked.items() if pair[0] != pair[1]]


def _difference(name: str, a: object, b: object) -> str:
    if isinstance(a, set) and isinstance(b, set):
        return f"{name} ({', '.join(sorted(a ^ b))} on one side only)"
    return f"{name} ({a or 'not told'} and {b or 'not told'})"
