"""A bench for a board that is not here: real ARM runtimes on an emulated CPU, and the cost gate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact
from edgekit.errors import UserError
from edgekit.records import EmulationRecord, artifact_facts
from edgekit.targets import Target

if TYPE_CHECKING:
    from edgekit.emulation.proof import Proof

IMAGES = 8
"""Outputs are compared on so many; an emulated inference takes a tenth of a second or more."""


def emulate(
    target: Target,
    artifacts: Sequence[Artifact],
    images: Sequence[Path],
    *,
    runtime: str | None = None,
    workers: int = 2,
    command: str = "",
) -> tuple[EmulationRecord, ...]:
    """Run each artifact on the target's virtual board and return what that proves, in order.

    Raises UserError where there is nothing to run, BadTarget for a target that is no board,
    DeviceError where its virtual board is not installed (with the command that does it). An
    artifact that dies there is a record with its failure.
    """
    from edgekit.devices.emulator.profile import board_of
    from edgekit.devices.emulator.sysroot import installed
    from edgekit.emulation.proof import verify

    if not artifacts:
        raise UserError("nothing to emulate: torch runs on no board; give the other artifacts")
    sysroot = installed(board_of(target))
    proofs = verify(sysroot, artifacts, images, runtime=runtime, workers=workers)
    return tuple(
        _record(target, artifact, proof, command)
        for artifact, proof in zip(artifacts, proofs, strict=True)
    )


def _record(target: Target, artifact: Artifact, proof: Proof, command: str) -> EmulationRecord:
    shares = [output.agreement for output in proof.outputs if output.agreement is not None]
    distances = [output.max_abs_diff for output in proof.outputs]
    cost = proof.instructions
    return EmulationRecord(
        artifact=artifact_facts(artifact),
        target=target.name,
        device=f"virtual:{proof.board}",
        runtime=proof.runtime,
        runtime_version=proof.runtime_version,
        failure=proof.failure,
        images=proof.images,
        identical=proof.identical,
        max_abs_diff=max(distances, default=None),
        agreement=min(shares, default=None),
        peak_memory_bytes=proof.peak_memory_bytes,
        board_bytes=proof.footprint.bytes,
        instructions_per_inference=cost.per_inference if cost else None,
        vector_mac=cost.vector_mac if cost else None,
        load_store=cost.load_store if cost else None,
        other=cost.other if cost else None,
        spread=cost.spread if cost else None,
        not_counted=proof.not_counted,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
    )


def row(record: EmulationRecord) -> dict[str, Any]:
    """Return a record as a table row; memory in MB (10^6 bytes)."""
    artifact = record.artifact
    return {
        "model": artifact.model,
        "backend": artifact.backend,
        "precision": artifact.precision,
        "runtime": record.runtime,
        "runtime_version": record.runtime_version,
        "loads": not record.failure,
        "failure": record.failure or None,
        "images": record.images,
        "identical": record.identical,
        "max_abs_diff": record.max_abs_diff,
        "agreement": record.agreement,
        "instructions_per_inference": record.instructions_per_inference,
        "vector_mac": record.vector_mac,
        "load_store": record.load_store,
        "other": record.other,
        "spread": record.spread,
        "peak_memory_mb": record.peak_memory_bytes / 1e6 if record.peak_memory_bytes else None,
        "size_bytes": artifact.bytes,
        "board_bytes": record.board_bytes,
        "provenance": record.provenance,
        "target": record.target,
        "device": record.device,
    }
