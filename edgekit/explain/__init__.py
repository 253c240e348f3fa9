"""Why an artifact is as fast as it is: the operators a runtime executes, and what is wrong there.

`explain` runs profiler.py on a device; what it tells is read by operators.py and judged by
findings.py. Times are given only where the device is the target itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgekit.artifact import Artifact
from edgekit.backends import runtime_for
from edgekit.devices import Device, open_device, probe, put_artifact, put_program, put_runner
from edgekit.devices import run_job as run
from edgekit.errors import DeviceError, UserError
from edgekit.explain.findings import Case, Finding, judge
from edgekit.explain.operators import Operator, read_operators
from edgekit.targets import DeviceFacts, Target, matches

PROFILER = "profiler.py"
COUNT = 50
"""Calls that are timed: their middle one is steady, and a second or two is spent."""
TIMEOUT_S = 1800.0

TIMED_BY = {
    "onnxruntime": "times: ONNX Runtime's own profiler, medians; each carries a little of it",
    "openvino": "times: OpenVINO's own counters (PERF_COUNT), means",
    "ai_edge_litert": (
        "times: LiteRT's Python package has no profiler; the graph was cut after each operator, "
        "and an operator takes what its cut adds: estimates, and 0 means too little to tell"
    ),
    "tflite_runtime": "no times: tflite-runtime's Python package has no profiler",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The operators one runtime executed for one artifact, in order, and what to do about them.

    `timed` tells whether they carry times; `doubts` says, a line each, what was not as asked.
    """

    artifact: str
    target: str
    device: str
    runtime: str
    runtime_version: str
    timed: bool
    operators: tuple[Operator, ...]
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]


def explain(
    artifact: Artifact,
    target: Target,
    *,
    device: str | None = None,
    runtime: str | None = None,
    threads: int = 1,
    count: int = COUNT,
) -> Explanation:
    """Return what runs and what slows it, on `device` or where the target is reached by default.

    A target that is not here is answered without times: by its virtual board where that is
    installed, else by this machine's runtime, and `doubts` says so. Raises UserError for a
    backend that no runtime of ours profiles, DeviceError where the profile fails.
    """
    manifest = artifact.manifest
    name = runtime_for(manifest.backend, runtime)
    if name not in TIMED_BY:
        raise UserError(
            f"{manifest.backend} artifacts run no operators to explain: give one of onnx, tflite "
            "or openvino"
        )
    opened, doubts = _reach(target, device)
    try:
        put_runner(opened)
        put_program(opened, PROFILER)
        put_artifact(opened, artifact, "artifact")
        facts = probe(opened)
        reasons = matches(target, facts)
        timed = opened.provenance == "measured" and not reasons and not doubts
        if opened.provenance == "measured" and reasons and not doubts:
            doubts.append(
                f"this machine is not {target.name} ({reasons[0]}): its runtime may choose other "
                "operators than the target's"
            )
        event = _profile(opened, artifact, name, threads, count if timed else 1)
    finally:
        opened.close()
    operators = read_operators(event["operators"], timed=timed)
    has_times = any(operator.seconds is not None for operator in operators)
    if timed and not has_times and name == "ai_edge_litert":
        doubts.append("no times: LiteRT is timed by cutting the graph, and this model is too large")
    else:
        doubts.append(TIMED_BY[name] if timed else "no times: the target itself was not measured")
    case = Case(operators, manifest.precision, target.name, _dot_product(target, facts, doubts))
    return Explanation(
        artifact.label,
        target.name,
        opened.name,
        name,
        str(event.get("runtime_version", "")),
        has_times,
        operators,
        judge(case),
        tuple(doubts),
    )


def _reach(target: Target, device: str | None) -> tuple[Device, list[str]]:
    """Return the device, and a doubt where this machine has to stand in for a board."""
    try:
        return open_device(device or target.default_device, target), []
    except DeviceError as error:
        if device is not None:
            raise
        doubt = f"{error}; until then this machine's runtime shows the operators it would choose"
        return open_device("local", target), [doubt]


def _profile(
    device: Device, artifact: Artifact, runtime: str, threads: int, count: int
) -> dict[str, Any]:
    """Return the profiler's event on three images of seeded noise: work depends on no pixel."""
    import numpy as np

    spec = artifact.manifest.input
    shape = (3, spec.height, spec.width, spec.channels)
    with TemporaryDirectory(prefix="edgekit-") as scratch:
        pixels = Path(scratch) / "pixels.npy"
        np.save(pixels, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        device.put(pixels, pixels.name)
    job = {
        "task": "profile",
        "artifact": "artifact",
        "runtime": runtime,
        "threads": threads,
        "pixels": pixels.name,
        "count": count,
    }
    event = run(device, job, timeout=TIMEOUT_S, program=(PROFILER,))[-1]
    if not isinstance(event.get("operators"), list):
        raise DeviceError(f"{device.name}: the profiler's answer lists no operators")
    return event


def _dot_product(target: Target, facts: DeviceFacts, doubts: list[str]) -> bool | None:
    """Tell whether the target multiplies int8 by a dot product; None where nobody says.

    Its profile is believed first; a target that is this very machine is asked for its features.
    """
    if target.hardware.dot_product is not None:
        return target.hardware.dot_product.value
    if doubts and matches(target, facts):
        return None
    names = {"asimddp", "avx_vnni", "avx512_vnni", "amx_int8"}
    return bool(names & set(facts.cpu_features)) if facts.cpu_features else None
