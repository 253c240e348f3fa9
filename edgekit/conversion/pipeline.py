"""The whole flow of a conversion, on one screen.

    ModelSource → ExportedGraph → Artifact            here: `convert`
    Artifact → Session (on a Device) → Measurement     measurement/: `edgekit bench`
    Measurement → Table                                report/: `edgekit report`

Each heavy arrow runs in a process of its own (steps.py).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from edgekit.artifact import PRECISIONS, Artifact, ParityRecord, Precision, load_artifact
from edgekit.backends import imports_of, load_backend
from edgekit.conversion.board import OnBoard
from edgekit.conversion.build import BuildRequest
from edgekit.conversion.calibration import DATA_FREE, load_recipe
from edgekit.conversion.export import ExportRequest
from edgekit.conversion.fork_server import TORCH, Wanted
from edgekit.conversion.parity import INT8_AGREEMENT
from edgekit.conversion.sources import SourceRequest, source_kind
from edgekit.conversion.steps import Children, run_step
from edgekit.errors import EdgekitError, UserError, did_you_mean
from edgekit.files import folder_whole
from edgekit.graph import ExportedGraph
from edgekit.progress import Say, silent
from edgekit.scratch import scratch_folder


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """What `edgekit convert` was asked for.

    `calibration` is a folder, a zip or `data-free`; `images` (folder, zip or image) proves
    parity and defaults to calibration images that were not picked, or to the sample picture.
    `max_drop`, in percentage points, guards int8 on `guard`, a labelled dataset or plain images.
    With `find_subject` all these images are photographs, of which the largest face is taken.
    `keep` is a folder that takes the exported graph and its samples, for who goes on with them;
    None: they are removed at the end. `half`: whoever goes on has a board that proves fp16-compute.
    `wide_int8`: see ExportedGraph.
    """

    source: SourceRequest
    backends: tuple[str, ...]
    precisions: tuple[Precision, ...]
    output: Path
    calibration: str = DATA_FREE
    recipe: str | None = None
    images: str | None = None
    raw_input: bool = False
    force: bool = False
    min_agreement: float = INT8_AGREEMENT
    workers: int = 2
    evaluation: tuple[str, ...] = ()
    max_drop: float | None = None
    guard: str | None = None
    guard_minutes: float = 5.0
    find_subject: bool = False
    keep: Path | None = None
    half: bool = False
    wide_int8: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one artifact: its parity and folder, or the error that cost it."""

    backend: str
    precision: Precision
    seconds: float
    parity: ParityRecord | None = None
    error: str | None = None
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A finished conversion: the graph's origin, one row an artifact, and those that are good.

    `board` is what became of them on the target, where one was named.
    """

    graph: ExportedGraph
    rows: tuple[Row, ...]
    artifacts: tuple[Artifact, ...]
    board: OnBoard | None = None


def convert(request: ConvertRequest, say: Say = silent) -> Conversion:
    """Turn one model into artifacts that are proven equal to it.

    Failed rows cost nothing but themselves. Where every row failed no folder is left.
    Raises a UserError for bad input before anything is written.
    """
    plan = check(request)
    with (
        folder_whole(request.output, force=request.force) as output,
        nullcontext(request.keep) if request.keep else scratch_folder() as scratch,
    ):
        with Children(preloaded(request)) as children, ThreadPoolExecutor(request.workers) as pool:
            try:
                # The first build starts beside the export, and imports its converter meanwhile.
                exported = pool.submit(export, request, Path(scratch), say, children)
                jobs = [
                    pool.submit(
                        build, request, exported, Path(scratch), backend, precisions, output, say,
                        children,
                    )
                    for backend, precisions in plan.items()
                ]  # fmt: skip
                graph = exported.result()
                rows = tuple(row for job in jobs for row in job.result())
            except BaseException:  # Ctrl-C: the pool would wait for its processes
                children.give_up()
                raise
        if all(row.error for row in rows):
            raise _all_failed(rows)
    good = [f"{row.backend}-{row.precision}" for row in rows if not row.error]
    made = tuple(load_artifact(request.output / name) for name in good)
    return Conversion(graph=graph, rows=rows, artifacts=made)


def check(request: ConvertRequest) -> dict[str, tuple[Precision, ...]]:
    """Return the precisions to build by backend; UserError for what cannot be meant."""
    source_kind(request.source)
    for precision in request.precisions:
        if precision not in PRECISIONS:
            raise UserError(did_you_mean("precision", precision, list(PRECISIONS)))
    if "fp16-compute" in request.precisions and not request.half:
        raise UserError(
            "fp16-compute is proven by the board that computes it: give --target rpi5, or another "
            "board whose CPU has half-precision arithmetic"
        )
    if request.max_drop is not None and request.guard is None:
        raise UserError("--max-drop needs --guard: labelled data, or images calibration never saw")
    if not request.precisions or not request.backends:
        raise UserError("nothing to convert: name at least one --backend and one --precision")
    plan = {
        backend: tuple(p for p in load_backend(backend).PRECISIONS if p in request.precisions)
        for backend in dict.fromkeys(request.backends)
    }
    for backend, precisions in plan.items():
        if not precisions:
            offered = ", ".join(load_backend(backend).PRECISIONS)
            raise UserError(
                f"{backend} has no {', '.join(request.precisions)}: it offers {offered}"
            )
    return plan


def preloaded(request: ConvertRequest) -> tuple[str, ...]:
    """Return what every step of a conversion imports: an ONNX file needs no PyTorch."""
    return () if source_kind(request.source) == "onnx" else TORCH


def export(request: ConvertRequest, scratch: Path, say: Say, children: Children) -> ExportedGraph:
    """ModelSource → ExportedGraph."""
    data_free = request.calibration == DATA_FREE
    recipe = load_recipe(request.recipe or (DATA_FREE if data_free else "default"))
    asked = ExportRequest(
        source=request.source,
        folder=str(scratch),
        raw_input=request.raw_input,
        images=request.images,
        calibration=request.calibration if "int8" in request.precisions else None,
        recipe=recipe,
        evaluation=request.evaluation,
        guard=request.guard if request.max_drop is not None or request.keep else None,
        find_subject=request.find_subject,
        wide_int8=request.wide_int8,
    )
    reply = run_step(
        Wanted(module="edgekit.conversion.export", title="loading and exporting the model"),
        lambda: msgspec.to_builtins(asked),
        scratch / "export.log",
        lambda event: say("export", event["text"]),
        children,
    )
    return msgspec.convert(reply, ExportedGraph, dec_hook=lambda kind, value: kind(value))


def build(
    request: ConvertRequest,
    exported: Future[ExportedGraph],
    scratch: Path,
    backend: str,
    precisions: tuple[Precision, ...],
    output: Path,
    say: Say,
    children: Children,
) -> list[Row]:
    """ExportedGraph → Artifacts of one backend; a crash costs the row it happened in."""
    rows: list[Row] = []
    left = list(precisions)

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "started":
            say(backend, f"building {event['precision']}")
        if event["event"] == "row":
            left.remove(event["precision"])
            del event["event"]
            rows.append(msgspec.convert({"backend": backend, **event}, Row))

    def asked() -> dict[str, Any]:
        what = BuildRequest(
            graph=exported.result(),
            backend=backend,
            precisions=tuple(left),
            output=str(output),
            min_agreement=request.min_agreement,
            max_drop=request.max_drop,
            guard_minutes=request.guard_minutes,
        )
        return cast(dict[str, Any], msgspec.to_builtins(what, enc_hook=str))

    while left:
        ahead = imports_of(load_backend(backend)) if preloaded(request) else ()
        title = f"the converter or the runtime of {backend}"
        wanted = Wanted(module="edgekit.conversion.build", ahead=ahead, title=title)
        try:
            run_step(wanted, asked, scratch / f"{backend}.log", on_event, children)
        except EdgekitError as error:
            if exported.exception() is not None:  # not this step's own: convert says it
                raise
            rows.append(
                Row(
                    backend=backend,
                    precision=left.pop(0),
                    seconds=0.0,
                    parity=None,
                    error=str(error),
                    kind=type(error).__name__,
                )
            )
    say(backend, "done")
    return rows


def _all_failed(rows: tuple[Row, ...]) -> EdgekitError:
    """Return one error for a conversion that made nothing, of the user's kind if all rows are."""
    import edgekit.errors

    kinds = {getattr(edgekit.errors, row.kind or "", EdgekitError) for row in rows}
    texts = dict.fromkeys(
        row.error if row.backend in row.error else f"{row.backend}: {row.error}"
        for row in rows
        if row.error
    )
    user = all(issubclass(kind, UserError) for kind in kinds)
    return (UserError if user else EdgekitError)("; ".join(texts))
