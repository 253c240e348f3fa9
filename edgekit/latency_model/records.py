"""Predicts artifacts on a target and turns that into records that are printed, saved, reported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from edgekit.artifact import Artifact
from edgekit.backends import runtime_for
from edgekit.errors import BadTarget, UserError
from edgekit.latency_model import Predictor, Setting
from edgekit.records import PredictionRecord, artifact_facts
from edgekit.targets import Target

THREADS = (1, 2, 3, 4)
"""Thread counts that are predicted where none is asked for."""

NOT_64_BIT_ARM = (
    "latency is predicted for 64-bit Arm systems, aarch64; a 32-bit one runs other kernels, and no "
    "runtime of edgekit has a package for it"
)


def predict(
    target: Target,
    artifacts: Sequence[Artifact],
    predictor: Predictor,
    *,
    runtime: str | None = None,
    threads: Sequence[int] = THREADS,
    clock_mhz: float | None = None,
    command: str = "",
) -> tuple[PredictionRecord, ...]:
    """Return a record per artifact and thread count, in order; nothing is run.

    `runtime` may be another of an artifact's backend, or kernels of the evidence (ruy, ncnn, ...)
    that are then asked for every artifact. Raises BadTarget for a target without clock or cores,
    UserError for more threads than it has, and what Predictor.predict does.
    """
    hardware = target.hardware
    if hardware.clock_mhz is None or hardware.cores is None or hardware.core is None:
        raise BadTarget(f"{target.name} has no core, cores or clock: add them, or choose a board")
    if target.architecture != "aarch64":
        raise BadTarget(f"{target.name} is {target.architecture}: {NOT_64_BIT_ARM}")
    cores = hardware.cores.value
    if min(threads) < 1:
        raise UserError(f"{min(threads)} threads compute nothing: ask for 1 to {cores}")
    if max(threads) > cores:
        raise UserError(f"{max(threads)} threads, but {target.name} has {cores} cores")
    if not artifacts:
        raise UserError("nothing to predict: torch runs on no board; give the other artifacts")
    clock = float(clock_mhz or hardware.clock_mhz.value)
    records = []
    for artifact in artifacts:
        chosen = runtime_of(artifact, runtime)
        for count in threads:
            found = predictor.predict(
                artifact, Setting(target=target, runtime=chosen, threads=count, clock_mhz=clock)
            )
            records.append(
                PredictionRecord(
                    artifact=artifact_facts(artifact),
                    target=target.name,
                    runtime=chosen,
                    runtime_version="",
                    threads=count,
                    clock_mhz=clock,
                    seconds=found.seconds,
                    low=found.low,
                    high=found.high,
                    coverage=found.coverage,
                    method=found.method,
                    calibrated=found.calibrated,
                    why=found.why,
                    coefficients=predictor.coefficients,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    command=command,
                )
            )
    return tuple(records)


def row(record: PredictionRecord) -> dict[str, Any]:
    """Return one table row, in milliseconds."""
    return {
        "model": record.artifact.model,
        "backend": record.artifact.backend,
        "precision": record.artifact.precision,
        "runtime": record.runtime,
        "threads": record.threads,
        "clock_mhz": record.clock_mhz,
        "predicted_p50_ms": record.seconds * 1e3,
        "low_ms": record.low * 1e3,
        "high_ms": record.high * 1e3,
        "coverage": record.coverage,
        "calibrated": "calibrated" if record.calibrated else "uncalibrated",
        "method": record.method,
        "target": record.target,
        "provenance": record.provenance,
        "why": record.why,
    }


def notes(records: Sequence[PredictionRecord]) -> list[str]:
    """Return what a reader of such rows must know: the interval, and what each stands on."""
    lines = [
        "predicted: nobody measured these; one inference, p50, after the warm-up; low and high "
        f"are made to hold a measurement {records[0].coverage:.0%} of the time",
        "uncalibrated: no evidence is alike enough to say so, and the interval is wider by rule",
    ]
    seen: dict[tuple[str, str], set[int]] = {}
    for record in records:
        where = f"{record.runtime} {record.artifact.precision}"
        seen.setdefault((where, record.why), set()).add(record.threads)
    return [
        *lines,
        *(
            f"{where}, {', '.join(map(str, sorted(counts)))} thread{'s' * (counts != {1})}: {why}"
            for (where, why), counts in seen.items()
        ),
    ]


def runtime_of(artifact: Artifact, wanted: str | None) -> str:
    """Return the runtime an artifact is predicted in: `wanted`, or its backend's own.

    `wanted` may be kernels of the evidence. Raises UserError for another that is none of its own.
    """
    from edgekit.latency_model.analytic.predictor import OURS, SPEAKS_FOR

    if wanted in SPEAKS_FOR and wanted not in OURS:
        return str(wanted)
    return runtime_for(artifact.manifest.backend, wanted)
