"""Why an artifact is as fast as it is: the operators a runtime executes, and what is wrong there.

`explain` runs profiler.py on a device; what it tells is read by operators.py and judged by
findings.py. Times are given only where the device is the target itself; on a virtual board
instructions.py gives each operator's instructions instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.devices import Device, open_device
from edgekit.errors import DeviceError, MissingPackage, UserError
from edgekit.explain.findings import Case, Finding, judge
from edgekit.explain.operators import Operator, read_operators
from edgekit.runtimes.table import find_runtime
from edgekit.scratch import scratch_folder
from edgekit.session import PROFILER, Session, entry, lay_out, probe, put_noise
from edgekit.targets import DeviceFacts, Target, matches

PROFILED_CUTS = "cuts"
"""Where profiler.py looks for a graph's cuts."""
COUNT = 50
"""Calls that are timed: their middle one is steady, and a second or two is spent."""
CALLS = 3
"""Calls that are counted on a virtual board; the first sets things up and is left out."""
TIMEOUT_S = 1800.0

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
    item = entry(artifact, runtime, PROFILER)
    profiled = find_runtime(item.runtime)
    if profiled is None or not profiled.operator_times:
        raise UserError(
            f"{manifest.backend} artifacts run no operators to explain: give one of onnx, tflite, "
            "openvino or ncnn"
        )
    opened, doubts = _reach(target, device)
    try:
        session = lay_out(opened, item)
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
        uncut = _put_cuts(opened, artifact) if calls > 1 and profiled.profiled_by_cuts else ""
        event = _profile(session, threads, calls)
        operators = read_operators(event["operators"])
        if counts:
            operators, missing = (operators, uncut) if uncut else _count(operators, counts)
    finally:
        opened.close()
    if timed:
        doubts.append(uncut or profiled.operator_times)
    else:
        operators = tuple(replace(operator, seconds=None) for operator in operators)
        doubts.append(missing or COUNTED)
    case = Case(
        operators=operators,
        precision=manifest.precision,
        target=target.name,
        dot_product=_dot_product(target, facts),
        pixels=manifest.input is not None,
    )
    return Explanation(
        artifact=artifact.label,
        target=target.name,
        device=opened.name,
        runtime=item.runtime,
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
    with scratch_folder() as scratch:
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


def _profile(session: Session, threads: int, count: int) -> dict[str, Any]:
    """Return the profiler's event on three samples of seeded noise: work depends on no value."""
    device = session.device
    given = put_noise(device, session.entry.artifact.manifest, 3)
    event = session.run("profile", timeout=TIMEOUT_S, threads=threads, count=count, **given)[-1]
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
