"""The half of `edgekit bench` that answers for a board that is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.records import EmulationRecord, PredictionRecord
    from edgekit.targets import Target


@dataclass(frozen=True, kw_only=True)
class EmulatedBench:
    """What to run on a virtual board, and the costs to hold it to.

    `gate` is a file of accepted costs and `max_increase` what it allows, in per cent of the
    instructions; `baseline` is the file to write the costs to.
    """

    artifacts: Sequence[Path]
    target: Target
    images: Path | None
    runtime: str | None
    results: Path
    gate: Path | None
    max_increase: float
    baseline: Path | None
    command: str


def bench_emulated(request: EmulatedBench, *, wide: bool, as_json: bool, quiet: bool) -> None:
    """Print and save what the virtual board proves, and the latency that is predicted for it.

    Exits with 1 where an artifact died or the gate fails.
    """
    from edgekit.api import emulate
    from edgekit.artifact import find_artifacts
    from edgekit.cli.output import progress, show, typed
    from edgekit.cli.predict_latency import show_predicted
    from edgekit.emulation.cost_gate import gate as hold
    from edgekit.emulation.cost_gate import read_baseline, write_baseline
    from edgekit.emulation.emulate import row
    from edgekit.latency_model.records import row as predicted_row
    from edgekit.results import save

    target = request.target
    accepted = read_baseline(request.gate) if request.gate else None
    found = find_artifacts(request.artifacts)
    with progress(quiet or as_json) as say:
        records = emulate(
            found,
            target=target,
            images=request.images,
            runtime=request.runtime,
            results=request.results,
            command=request.command,
            say=say,
        )
    notes = [
        f"real ARM runtimes on an emulated {target.title}: outputs against this machine's on "
        f"{max(r.images for r in records)} images, and exact instruction counts; no time is "
        "measured",
        *(
            f"{r.artifact.backend} {r.artifact.precision}: {r.failure}"
            for r in records
            if r.failure
        ),
        *sorted({r.not_counted for r in records if r.not_counted}),
    ]
    failed = any(record.failure for record in records)
    for verdict in hold(records, accepted, request.max_increase) if accepted is not None else []:
        failed |= verdict.passed is False
        state = {True: "passed", False: "FAILED", None: "no baseline"}[verdict.passed]
        change = "" if verdict.change_percent is None else f", {verdict.change_percent:+.2f} %"
        notes.append(f"gate {state}: {verdict.label}{change}")
    if request.baseline is not None:
        written = write_baseline(request.baseline, records)
        notes.append(f"{written} costs written to {request.baseline}")
    died = {record.artifact.sha256 for record in records if record.failure}
    living = [artifact for artifact in found if artifact.sha256 not in died]
    predictions, origin = _predicted(request, living, notes)
    for prediction in predictions:
        save(prediction, request.results)
    emulated_rows = [row(record) for record in records]
    if as_json:
        both = [*emulated_rows, *map(predicted_row, predictions)]
        show(f"{target.title}, emulated and predicted", both, as_json=True, notes=notes)
    else:
        title = f"{target.title}, emulated"
        short = _short_rows(records)
        then = f"edgekit recommend --target {target.name} --results {typed(request.results)}"
        last = "" if predictions else then
        show(title, emulated_rows, as_json=False, notes=notes, short=short, wide=wide, then=last)
        if predictions:
            show_predicted(target, predictions, origin, wide=wide, then=then)
    if failed:
        raise typer.Exit(1)


def _short_rows(records: Sequence[EmulationRecord]) -> list[dict[str, Any]]:
    """Return a row an artifact: whether it answers as here, and what it costs there."""
    from edgekit.report.cells import memory, size

    several = len({record.artifact.model for record in records}) > 1
    rows = []
    for record in records:
        artifact = record.artifact
        count = record.instructions_per_inference
        answers = "equal to this machine's"
        if record.failure:
            answers = "–"
        elif not record.identical:
            answers = f"within {record.max_abs_diff:.2g} of this machine's"
        rows.append(
            {
                "artifact": f"{artifact.model} " * several
                + f"{artifact.backend}-{artifact.precision}",
                "outputs": answers,
                "instructions": "–" if count is None else f"{count / 1e6:,.1f} million",
                "size": size(artifact.bytes),
                "memory": memory(record.peak_memory_bytes / 1e6 or None),
                "verdict": "failed" if record.failure else "ok",
            }
        )
    return rows


def _predicted(
    request: EmulatedBench, artifacts: Sequence[Artifact], notes: list[str]
) -> tuple[Sequence[PredictionRecord], Sequence[str]]:
    """Return the predicted latencies and whose coefficients they are; `notes` gain why none are.

    What was emulated stands without them: a board of one's own may have a core of no evidence, and
    what lives in a plain run may die in one that simulates caches.
    """
    from edgekit.cli.predict_latency import Choice
    from edgekit.errors import DeviceError, UserError
    from edgekit.latency_model.operators import readers
    from edgekit.latency_model.records import predict

    priced = [artifact for artifact in artifacts if artifact.manifest.backend in readers()]
    choice = Choice(request.target, None, shipped=False)
    records: list[PredictionRecord] = []
    for artifact in priced:
        try:
            records += predict(
                request.target,
                [artifact],
                choice.of(artifact, request.runtime),
                runtime=request.runtime,
                command=request.command,
            )
        except UserError as error:
            notes.append(f"no latency predicted: {error}")
            return (), ()
        except DeviceError as error:
            notes.append(f"no latency predicted for {artifact.label}: {error}")
    return records, choice.lines
