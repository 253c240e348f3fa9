"""What is saved of a measurement, an accuracy, an emulated run, a prediction or a choice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgekit.artifact import Artifact, Precision
from edgekit.targets import DeviceFacts

_USUAL_DATA = ("utkface", "test", "UTKFace mapped to Adience bins, published split")
"""Dataset, split and protocol that a file's name does not repeat: the zoo is judged on them."""

# 1: the first.
SCHEMA = 1

Provenance = Literal["measured", "emulated", "predicted", "published"]
Basis = Literal["measured", "predicted", "counted", "nothing"]
"""What artifacts are ranked by: times, measured or predicted, or counted instructions alone."""
Result = Literal["ship", "slower", "inaccurate", "failed", "ok"]
"""What became of an artifact on a board; `ok` where nothing was chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactFacts:
    """What a measurement keeps of its artifact. `parity_agreement` is a share, 0 to 1."""

    sha256: str
    model: str
    backend: str
    precision: Precision
    bytes: int
    parameters: int
    macs: int | None
    weights: Literal["trained", "random", "given"]
    parity_max_abs_diff: float | None
    parity_agreement: float | None
    parity_passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one fresh process measured: every sample, in seconds and in order.

    `clock_mhz`, `temperature_c` and `throttled` were read before the first call, after the
    warm-up, after the invokes and after the end-to-end calls; None where the device cannot tell.
    `throttled` is the Raspberry Pi firmware's flags, in hexadecimal. `start_s` is when it began,
    in seconds from the run's own beginning by the host's clock; None in older files.
    """

    load_s: float
    first_s: float
    warmup_s: tuple[float, ...]
    invoke_s: tuple[float, ...]
    end_to_end_s: tuple[float, ...]
    settled: bool
    peak_memory_bytes: int
    clock_mhz: tuple[float | None, ...]
    temperature_c: tuple[float | None, ...]
    throttled: tuple[str | None, ...]
    start_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One artifact on one device: the raw samples of its rounds and all that is needed to judge.

    `run` is shared by what was measured together, interleaved. `images` is one hash over the
    images the inputs rotated over. `cores` empty: all that the device has. `error` says why the
    artifact has no further rounds; the rounds before it stay. A sustained run wants one round
    more than it has until its time is over.
    """

    label: str
    run: str
    artifact: ArtifactFacts
    target: str
    device: str
    facts: DeviceFacts
    provenance: Provenance
    runtime: str
    runtime_version: str
    threads: int
    cores: tuple[int, ...]
    images: str
    wanted_rounds: int
    min_seconds: float
    min_count: int
    created: str
    command: str
    rounds: tuple[Round, ...] = ()
    error: str | None = None
    kind: Literal["measurement"] = "measurement"
    schema: int = SCHEMA

    @property
    def title(self) -> str:
        """`multitask-cnn:classification onnx int8`."""
        return f"{self.artifact.model} {self.artifact.backend} {self.artifact.precision}"

    @property
    def ended(self) -> bool:
        """Whether nothing is left to measure: all rounds are there, or it failed."""
        return self.error is not None or len(self.rounds) >= self.wanted_rounds


@dataclass(frozen=True)
class Confusion:
    """What one output answered: `counts[i][j]` images of class `labels[i]` were called j."""

    output: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rated:
    """One output by a measure of its kind, in per cent, with its interval.

    The measures: mAP50_95 and mAP50, points_mAP50_95 and points_mAP50, mIoU.
    """

    output: str
    measure: str
    percent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyRecord:
    """How often a model or artifact was right on one split of a labelled set.

    Shares are in per cent with their 95 % intervals; None for an output the model lacks.
    `artifact` is the sha256 of what was run, None for the torch model itself. `confusion` has one
    entry an output, whatever its name; empty in records of before it was kept, and of boxes and
    masks, which have `ratings`. `runtime` names one that is not the backend's own.
    """

    model: str
    backend: str
    precision: Precision
    artifact: str | None
    dataset: str
    dataset_sha256: str
    split: str
    protocol: str
    images: int
    provenance: Provenance
    created: str
    command: str
    age_accuracy: float | None = None
    age_accuracy_low: float | None = None
    age_accuracy_high: float | None = None
    age_1off: float | None = None
    age_1off_low: float | None = None
    age_1off_high: float | None = None
    gender_accuracy: float | None = None
    gender_accuracy_low: float | None = None
    gender_accuracy_high: float | None = None
    device: str = "local"
    runtime: str = ""
    confusion: tuple[Confusion, ...] = ()
    ratings: tuple[Rated, ...] = ()
    kind: Literal["accuracy"] = "accuracy"
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """Its file under `accuracy/`, without `.json`: `multitask-cnn.age/onnx-int8.local`.

        A runtime stands before the device. Data other than the published test side of UTKFace
        stand after it, so that no record replaces one of other data.
        """
        data = (self.dataset, self.split, self.protocol)
        parts = [f"{self.backend}-{self.precision}", self.runtime, self.device]
        if data != _USUAL_DATA:
            parts.append(" ".join(data))
        stem = ".".join(slug(part) for part in parts if part)
        return f"{slug(self.model.replace(':', '.'))}/{stem}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmulationRecord:
    """What an emulated board proved of one artifact in one runtime. There is no time in it.

    `failure` is empty, or one line on what it died of. Distances and `agreement` (a share, 0 to 1)
    are from the host's outputs on the same `images`. Instructions are those of one inference on
    one thread; None where they were not counted, and `not_counted` says why.
    """

    artifact: ArtifactFacts
    target: str
    device: str
    runtime: str
    runtime_version: str
    failure: str
    images: int
    identical: bool
    max_abs_diff: float | None
    agreement: float | None
    peak_memory_bytes: int
    board_bytes: int
    instructions_per_inference: int | None
    vector_mac: int | None
    load_store: int | None
    other: int | None
    spread: float | None
    not_counted: str
    created: str
    command: str
    provenance: Literal["emulated"] = "emulated"
    kind: Literal["emulation"] = "emulation"
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """The stem of its file."""
        artifact = self.artifact
        parts = (artifact.model, artifact.backend, artifact.precision, self.runtime, self.target)
        return slug(" ".join(parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionRecord:
    """The latency a model of a board gives for one inference there; nobody measured it.

    Seconds: `seconds` is the estimate, `low` and `high` hold the measured p50 with the probability
    `coverage` (a share, 0 to 1), as found on left-out evidence. `calibrated` is False where no
    evidence is alike enough to say so; `why` then says what is missing. `method` names the
    predictor and `coefficients` the SHA-256 of the file it read.
    """

    artifact: ArtifactFacts
    target: str
    runtime: str
    runtime_version: str
    threads: int
    clock_mhz: float
    seconds: float
    low: float
    high: float
    coverage: float
    method: Literal["analytic", "executed"]
    calibrated: bool
    why: str
    coefficients: str
    created: str
    command: str
    provenance: Literal["predicted"] = "predicted"
    kind: Literal["prediction"] = "prediction"
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """The stem of its file."""
        artifact = self.artifact
        parts = (artifact.model, artifact.backend, artifact.precision, self.runtime, self.target)
        return slug(" ".join((*parts, f"{self.threads}-threads", self.method)))


@dataclass(frozen=True, kw_only=True, slots=True)
class WeighedArtifact:
    """One artifact that a choice weighed, and what became of it.

    Seconds with their interval and instructions are of one inference on one thread, None where
    unknown; `doubt` says why. `fault` says why it may not be shipped there. `lost` is in percentage
    points, on `judged` images; None where a cheaper artifact held.
    """

    artifact: ArtifactFacts
    runtime: str
    result: Result
    fault: str
    doubt: str
    seconds: float | None
    low: float | None
    high: float | None
    instructions: int | None
    lost: float | None
    judged: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRecord:
    """How `convert --best` found the artifact to ship on a board.

    `provenance` is of the run there; `basis` is what the artifacts were ranked by. `max_drop` is in
    percentage points of accuracy where images were `labelled`, else of decisions equal to the
    model's. Of `weighed` at most one has the result `ship`.
    """

    model: str
    target: str
    device: str
    provenance: Provenance
    basis: Basis
    max_drop: float
    labelled: bool
    weighed: tuple[WeighedArtifact, ...]
    notes: tuple[str, ...]
    created: str
    command: str
    kind: Literal["choice"] = "choice"
    schema: int = SCHEMA

    @property
    def label(self) -> str:
        """The stem of its file."""
        return slug(f"{self.model} {self.target} {self.device}")

    @property
    def pick(self) -> WeighedArtifact | None:
        """The artifact to ship; None where none was accurate enough."""
        return next((item for item in self.weighed if item.result == "ship"), None)


AnyRecord = Measurement | AccuracyRecord | EmulationRecord | PredictionRecord | ChoiceRecord


def artifact_facts(artifact: Artifact) -> ArtifactFacts:
    """Return what a measurement keeps of `artifact`."""
    manifest = artifact.manifest
    compared = bool(manifest.parity.outputs)
    return ArtifactFacts(
        sha256=artifact.sha256,
        model=manifest.model,
        backend=manifest.backend,
        precision=manifest.precision,
        bytes=artifact.bytes,
        parameters=manifest.source.parameters,
        macs=manifest.source.macs,
        weights=manifest.source.weights,
        parity_max_abs_diff=manifest.parity.max_abs_diff if compared else None,
        parity_agreement=manifest.parity.agreement,
        parity_passed=manifest.parity.passed,
    )


def comparability(measurement: Measurement) -> dict[str, object]:
    """Return, by name, the facts that must be equal before two measurements are compared.

    Models, backends, precisions, runtimes and their versions are not among them: they are what
    one compares.
    """
    facts = measurement.facts
    return {
        "target": measurement.target,
        "provenance": measurement.provenance,
        "threads": measurement.threads,
        "pinned cores": measurement.cores,
        "images": measurement.images[:12],
        "machine": facts.machine,
        "board": facts.board,
        "CPU model": facts.cpu_model,
        "CPU cores": facts.cores,
        "memory": facts.memory_bytes,
        "governor": facts.governor,
    }


def slug(text: str) -> str:
    """Return `text` as a file stem: letters, digits, dots, `_` and `-` only."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "unnamed"


def record_key(record: AnyRecord) -> str:
    """Return where a record belongs under a results folder, without `.json`: its one name."""
    place = record.run if isinstance(record, Measurement) else record.kind
    return f"{place}/{record.label}"
