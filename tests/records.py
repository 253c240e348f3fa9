"""Records as the commands save them, for tests: give what matters, the rest is whole and quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from raspberry_pi4 import PI4

from edgekit.artifact import Artifact, Precision
from edgekit.records import (
    AccuracyRecord,
    ArtifactFacts,
    EmulationRecord,
    Measurement,
    PredictionRecord,
    Round,
    artifact_facts,
    slug,
)
from edgekit.targets import DeviceFacts

MODEL = "multitask-cnn:classification"
CREATED = "2026-11-24T00:00:00+00:00"
DESKTOP = DeviceFacts(
    machine="x86_64",
    cpu_model="A CPU",
    cores=2,
    memory_bytes=8 * 2**30,
    python="3.11.2",
    glibc="2.36",
    os="Debian 12",
)


def a_round(invoke: tuple[float, ...] = (0.010,) * 30, **changes: Any) -> Round:
    """Return a settled round; without `invoke` every call took 10 ms to the digit."""
    whole = Round(
        load_s=0.2,
        first_s=0.02,
        warmup_s=(0.011,) * 10,
        invoke_s=invoke,
        end_to_end_s=tuple(2 * value for value in invoke),
        settled=True,
        peak_memory_bytes=50_000_000,
        clock_mhz=(1500.0,) * 4,
        temperature_c=(40.0, None, 41.0, 41.5),
        throttled=("0x0",) * 4,
    )
    return replace(whole, **changes)


def noisy_rounds(median_s: float, spread: float = 0.01) -> tuple[Round, ...]:
    """Return three rounds of 60 calls around a median, each with its own seeded noise."""
    rounds = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(1.0, spread, 60)
        samples = tuple(float(value) for value in median_s * noise)
        more = {"load_s": 0.1 + seed / 1000, "peak_memory_bytes": 50_000_000 + seed}
        rounds.append(a_round(samples, **more))
    return tuple(rounds)


def a_measurement(
    model: str = MODEL,
    median_ms: float = 2.0,
    backend: str = "onnx",
    precision: Precision = "fp32",
    **changes: Any,
) -> Measurement:
    """Return a whole measurement of three rounds on this machine."""
    artifact = ArtifactFacts(
        sha256="a" * 64,
        model=model,
        backend=backend,
        precision=precision,
        bytes=3_500_000,
        parameters=871_178,
        macs=47_619_072,
        weights="random",
        parity_max_abs_diff=2.5e-6,
        parity_agreement=1.0,
        parity_passed=True,
    )
    made = Measurement(
        label=slug(f"{model} {backend} {precision} onnxruntime"),
        run="20261124T000000.000000Z-0123456789ab",
        artifact=artifact,
        target="host",
        device="local",
        facts=DESKTOP,
        provenance="measured",
        runtime="onnxruntime",
        runtime_version="1.0",
        threads=1,
        cores=(),
        images="f" * 64,
        wanted_rounds=3,
        min_seconds=1.0,
        min_count=22,
        created=CREATED,
        command="edgekit bench out",
        rounds=noisy_rounds(median_ms / 1000),
    )
    return replace(made, **changes)


def measured_on_pi4(artifact: Artifact, seconds: float, threads: int = 1) -> Measurement:
    """Return what `edgekit bench` saves of an artifact that takes `seconds` on a Raspberry Pi 4."""
    return a_measurement(
        label=f"{artifact.manifest.model}-onnx-fp32",
        artifact=artifact_facts(artifact),
        target="rpi4",
        device="ssh://pi@board",
        facts=PI4,
        threads=threads,
        rounds=noisy_rounds(seconds, spread=0.005),
    )


def an_accuracy(**changes: Any) -> AccuracyRecord:
    """Return the record of a torch model that tells ages."""
    made = AccuracyRecord(
        model=MODEL,
        backend="torch",
        precision="fp32",
        artifact=None,
        dataset="UTKFace mapped to Adience bins (a test's)",
        dataset_sha256="d" * 64,
        split="test",
        protocol="a test's",
        images=1000,
        provenance="measured",
        created=CREATED,
        command="edgekit evaluate",
        age_accuracy=61.25,
        age_accuracy_low=58.0,
        age_accuracy_high=64.5,
    )
    return replace(made, **changes)


def an_emulation(**changes: Any) -> EmulationRecord:
    """Return what an emulated Raspberry Pi 4 proved of an artifact."""
    made = EmulationRecord(
        artifact=a_measurement().artifact,
        target="rpi4",
        device="virtual:rpi4",
        runtime="onnxruntime",
        runtime_version="1.0",
        failure="",
        images=8,
        identical=True,
        max_abs_diff=0.0,
        agreement=1.0,
        peak_memory_bytes=60_000_000,
        board_bytes=4 * 2**30,
        instructions_per_inference=21_000_000,
        vector_mac=9_000_000,
        load_store=7_000_000,
        other=5_000_000,
        spread=0.0,
        not_counted="",
        created=CREATED,
        command="edgekit emulate",
    )
    return replace(made, **changes)


def a_prediction(**changes: Any) -> PredictionRecord:
    """Return the estimate of an artifact's latency on a Raspberry Pi 4."""
    made = PredictionRecord(
        artifact=a_measurement().artifact,
        target="rpi4",
        runtime="onnxruntime",
        runtime_version="1.0",
        threads=1,
        clock_mhz=1500.0,
        seconds=0.02,
        low=0.015,
        high=0.03,
        coverage=0.9,
        method="analytic",
        calibrated=True,
        why="",
        coefficients="c" * 64,
        created=CREATED,
        command="edgekit predict-latency",
    )
    return replace(made, **changes)
