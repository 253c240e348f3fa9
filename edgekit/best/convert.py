"""The whole of `convert --target`: build what the board can run, prove it there, choose."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact, grain, write_manifest
from edgekit.best.choose import basis_of, choose
from edgekit.best.there import Place, answers, cost_of, shared
from edgekit.conversion.board import Cost, OnBoard, Trial
from edgekit.conversion.guard import drop
from edgekit.conversion.parity import judge
from edgekit.conversion.pipeline import Conversion, ConvertRequest, convert
from edgekit.devices import open_device
from edgekit.errors import DeviceError
from edgekit.graph import ExportedGraph, GuardSet
from edgekit.kinds import kind_of
from edgekit.progress import Say, silent
from edgekit.runtimes.table import role_of
from edgekit.scratch import scratch_folder
from edgekit.session import entry
from edgekit.targets import Target

MAX_DROP = 0.5
"""The accuracy that the best artifact may lose where no one says, in percentage points."""
MAX_CHANGED = 2.0
"""And of equal decisions, where no image is labelled: a changed one may be for the better, and one
of 64 is 1.6 points."""
ACCURACY_S = 600.0
"""The time that one artifact's accuracy may take an emulated board; its images are chosen by it."""


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """The board to convert for, the device that answers for it, and whether to choose the best.

    `device` None is the target's own. `max_drop` None is MAX_DROP, or MAX_CHANGED without labels.
    """

    target: Target
    device: str | None = None
    best: bool = False
    max_drop: float | None = None


def convert_for(request: ConvertRequest, board: BoardRequest, say: Say = silent) -> Conversion:
    """Convert, run every artifact on the board, and choose the best where that is asked.

    Raises DeviceError before anything is built where the device cannot be had, and as
    pipeline.convert.
    """
    place = Place(target=board.target, device=board.device or board.target.default_device)
    missing = _missing(place)
    if missing and (board.best or board.device is not None):
        raise missing
    with scratch_folder() as kept:
        conversion = convert(replace(request, keep=Path(kept)), say)
        if missing:
            found = _nothing(place, f"not proven on {board.target.name}: {missing}")
        else:
            try:
                found = _try(conversion, place, board, request.min_agreement, Path(kept), say)
            except DeviceError as error:  # the artifacts are made: a board that is gone costs proof
                found = _nothing(place, f"not proven on {board.target.name}: {error}")
    return settle_half(conversion, found)


def settle_half(conversion: Conversion, board: OnBoard) -> Conversion:
    """Return the conversion with what its board found, and half precision only where it is proven.

    The manifest of what computes in half precision gets the board's proof; an artifact without one
    is removed, and its row says why.
    """
    rows, artifacts = list(conversion.rows), []
    trials = {trial.artifact.folder: trial for trial in board.trials}
    pick = board.pick.artifact.folder if board.pick else None
    for artifact in conversion.artifacts:
        manifest, trial = artifact.manifest, trials.get(artifact.folder)
        if grain(manifest.precision) != "half":
            artifacts.append(artifact)
        elif trial is not None and trial.parity is not None and not trial.fault:
            note = (
                f"proven on {board.device} ({board.title}); a CPU without half-precision "
                "arithmetic computes it in float32"
            )
            fresh = replace(manifest, parity=trial.parity, notes=(*manifest.notes, note))
            written = write_manifest(artifact.folder, fresh)
            artifacts.append(written)
            trials[artifact.folder] = replace(trial, artifact=written)
        else:
            shutil.rmtree(artifact.folder)
            why = trial.fault if trial else "; ".join(board.notes)
            name = (manifest.backend, manifest.precision)
            at = next(i for i, row in enumerate(rows) if (row.backend, row.precision) == name)
            rows[at] = replace(rows[at], parity=None, error=why, kind="ParityFailed")
    settled = replace(
        board, trials=tuple(trials.values()), pick=None if pick is None else trials[pick]
    )
    return replace(conversion, rows=tuple(rows), artifacts=tuple(artifacts), board=settled)


def _missing(place: Place) -> DeviceError | None:
    """Return why the device cannot be had, None where it can."""
    try:
        open_device(place.device, place.target).close()
    except DeviceError as error:
        return error
    return None


def _nothing(place: Place, note: str) -> OnBoard:
    return OnBoard(
        target=place.target.name,
        title=place.target.title,
        device=place.device,
        provenance="emulated" if place.emulated else "measured",
        trials=(),
        notes=(note,),
    )


def _try(
    conversion: Conversion,
    place: Place,
    board: BoardRequest,
    min_agreement: float,
    kept: Path,
    say: Say,
) -> OnBoard:
    graph, target = conversion.graph, place.target
    made = [a for a in conversion.artifacts if role_of(a.manifest.backend) == "deployed"]

    def one(artifact: Artifact) -> Trial:
        say(target.name, f"running {artifact.manifest.backend}-{artifact.manifest.precision}")
        trial = _prove(place, artifact, graph, min_agreement)
        if trial.fault or not board.best:
            return trial
        counted = trial.cost.instructions
        return replace(trial, cost=cost_of(place, artifact, counted, kept / "results"))

    with ThreadPoolExecutor(place.workers) as pool:
        trials = tuple(pool.map(one, made))
    found = OnBoard(
        target=target.name,
        title=target.title,
        device=place.device,
        provenance="emulated" if place.emulated else "measured",
        trials=trials,
    )
    if board.best:
        found = _choose(found, place, graph, board.max_drop, say)
    say(target.name, "done")
    return found


def _prove(place: Place, artifact: Artifact, graph: ExportedGraph, min_agreement: float) -> Trial:
    """Return how the board's own program answers the parity samples, held to the model's bars."""
    from edgekit.best.there import PROOF_S

    samples, reference = graph.parity_samples(), graph.reference()
    count = place.images(artifact, len(samples), PROOF_S)
    ran = answers(place, artifact, samples[:count], count=True)
    trial = Trial(
        artifact=artifact,
        runtime=entry(artifact).runtime,
        fault=ran.failure,
        cost=Cost(instructions=ran.instructions, doubt=ran.doubt),
    )
    if ran.failure:
        return trial
    try:
        parity = judge(
            ran.outputs,
            {name: value[:count] for name, value in reference.items()},
            graph.spec.outputs,
            artifact.manifest.precision,
            graph.parity_images[:count],
            min_agreement,
            noise=graph.noise,
            random_weights=graph.source.weights == "random",
        )
    except ValueError as error:
        return replace(trial, fault=str(error))
    return replace(trial, parity=parity, fault="; ".join(parity.faults))


def _choose(
    found: OnBoard, place: Place, graph: ExportedGraph, wanted: float | None, say: Say
) -> OnBoard:
    guard = graph.guard_set()
    if guard is None:
        guard = GuardSet(pixels=graph.parity_samples(), reference=graph.reference(), labels={})
    samples: Any = guard.pixels
    labelled = guard.labelled
    max_drop = (MAX_DROP if labelled else MAX_CHANGED) if wanted is None else wanted
    notes = []
    decides = any(
        kind_of(o).JUDGED_BY == "decisions" or kind_of(o).SHARE for o in graph.spec.outputs
    )
    if graph.source.weights == "random":
        notes.append("random weights decide nothing: no accuracy was judged")
    elif not decides:
        notes.append("no output decides anything: the proof of equal outputs stands for accuracy")

    def lost(trial: Trial) -> tuple[float | None, int, str]:
        if notes:
            return None, 0, ""
        count = place.images(trial.artifact, len(samples), ACCURACY_S * place.workers)
        say(found.target, f"judging {trial.name} on {count} images")
        ran = shared(place, trial.artifact, samples[:count])
        if ran.failure:
            return None, 0, ran.failure
        return drop(ran.outputs, guard.first(count), graph.spec.outputs), count, ""

    good = [trial for trial in found.trials if not trial.fault]
    basis = basis_of(good, place.emulated)
    trials, pick = choose(found.trials, basis, max_drop, lost)
    return replace(
        found,
        trials=trials,
        basis=basis,
        asked=True,
        max_drop=max_drop,
        labelled=labelled,
        pick=pick,
        notes=tuple(notes),
    )
