"""Why an artifact is as fast as it is: the operators a runtime executes, and what is wrong there.

`explain` runs profiler.py on a device; what it tells is read by operators.py and judged by
findings.py. Times are given only where the device is the target itself; on a virtual board
instructions.py gives each operator's instructions instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgekit.artifact import Artifact
from edgekit.backends import runtime_for
from edgekit.devices import Device, open_device
from edgekit.errors import DeviceError, MissingPackage, UserError
from edgekit.explain.findings import Case, Finding, judge
from edgekit.explain.operators import Operator, read_operators
from edgekit.session import probe, put_artifact, put_program, put_runner, run_job
from edgekit.targets import DeviceFacts, Target, matches

PROFILER = "profiler.py"
PROFILED_CUTS = "cuts"
"""Where profiler.py looks for a graph's cuts."""
COUNT = 50
"""Calls that are timed: their middle one is steady, and a second or two is spent."""
CALLS = 3
"""Calls that are counted on a virtual board; the first sets things up and is left out."""
TIMEOUT_S = 1800.0

TIMED_BY = {
    "onnxruntime": "times: ONNX Runtime's own profiler, medians; each carries a little of it",
    "openvino": "times: OpenVINO's own counters (PERF_COUNT), means",
    "ai_edge_litert": (
        "times: LiteRT's Python package has no profiler; the graph was cut after each operator, "
        "and an operator takes what its cut adds: estimates, and 0 means too little to tell"
    ),
    "tflite_runtime": (
        "times: tflite-runtime has no profiler; the graph was cut after each operator, "
        "and an operator takes what its cut adds: estimates, and 0 means too little to tell"
    ),
}
CUT = frozenset({"ai_edge_litert", "tflite_runtime"})
"""The runtimes that are asked by cutting the graph."""
COUNTED = (
    "instructions: executed by the real ARM runtime on the emulated CPU, the least of two calls; "
    "they carry a little of the profiler, and are no times"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The operators one runtime executed for one artifact, in order, and what to do about them.

    `timed` tells whether they carry times, `counted` whether they carry instructions; `doubts`
    says, a line each, what was not as asked.
    """

    artifact: str
    target: str
    device: str
    runtime: str
    runtime_version: str
    timed: bool
    counted: bool
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
    installed, with instructions, else by this machine's runtime, and `doubts` says so. Raises
    UserError for a backend that no runtime of ours profiles, DeviceError where the profile fails.
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
        counts, missing = (None, "") if timed else _start_counting(opened)
        calls = count if timed else CALLS if counts else 1
        uncut = _put_cuts(opened, artifact) if calls > 1 and name in CUT else ""
        event = _profile(opened, artifact, name, threads, calls)
        operators = read_operators(event["operators"])
        if counts:
            operators, missing = (operators, uncut) if uncut else _count(operators, counts)
    finally:
        opened.close()
    if timed:
        doubts.append(uncut or TIMED_BY[name])
    else:
        operators = tuple(replace(operator, seconds=None) for operator in operators)
        doubts.append(missing or COUNTED)
    case = Case(
        operators=operators,
        precision=manifest.precision,
        target=target.name,
        dot_product=_dot_product(target, facts),
    )
    return Explanation(
        artifact=artifact.label,
        target=target.name,
        device=opened.name,
        runtime=name,
        runtime_version=str(event.get("runtime_version", "")),
        timed=any(operator.seconds is not None for operator in operators),
        counted=any(operator.instructions is not None for operator in operators),
        operators=operators,
        findings=judge(case),
        doubts=tuple(doubts),
    )


def _put_cuts(device: Device, artifact: Artifact) -> str:
    """Put a .tflite model's cuts on the device, or return why operators are not told apart."""
    from edgekit.explain import cuts

    model = artifact.folder / artifact.manifest.files[0].name
    if model.stat().st_size > cuts.MAX_BYTES:
        return "operators not told apart: the graph has to be cut for it, and it is too large"
    with TemporaryDirectory(prefix="edgekit-") as scratch:
        try:
            cuts.cut(model, Path(scratch))
        except MissingPackage as error:
            return f"operators not told apart: {error}"
        device.put(Path(scratch), PROFILED_CUTS)
    return ""


def _start_counting(device: Device) -> tuple[Path | None, str]:
    """Return the folder that instructions will be counted into, or None and why they will not."""
    from edgekit.devices.virtual import VirtualDevice
    from edgekit.explain.instructions import options

    if not isinstance(device, VirtualDevice):
        return None, "no times: the target itself was not measured"
    try:
        device.options = options(device.sysroot, device.path)
    except DeviceError as error:
        return None, f"no times on a virtual board, and {error}"
    return device.path, ""


def _count(operators: tuple[Operator, ...], counts: Path) -> tuple[tuple[Operator, ...], str]:
    """Return the operators with their instructions, or as they are and why."""
    from edgekit.explain.instructions import counted

    try:
        return counted(operators, counts, CALLS), ""
    except DeviceError as error:
        return operators, f"no instructions by operator: {error}"


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
    event = run_job(device, job, timeout=TIMEOUT_S, program=(PROFILER,))[-1]
    if not isinstance(event.get("operators"), list):
        raise DeviceError(f"{device.name}: the profiler's answer lists no operators")
    return event


def _dot_product(target: Target, facts: DeviceFacts) -> bool | None:
    """Tell whether the target multiplies int8 by a dot product; None where nobody says.

    Its profile is believed first; a target that is this very machine is asked for its features.
    """
    if target.hardware.dot_product is not None:
        return target.hardware.dot_product.value
    if matches(target, facts):
        return None
    names = {"asimddp", "avx_vnni", "avx512_vnni", "amx_int8"}
    return bool(names & set(facts.cpu_features)) if facts.cpu_features else None
