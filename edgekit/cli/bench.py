"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgekit.cli import completion
from edgekit.cli.options import Runtime, Wide, words
from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.measurement.bench import BenchRequest
    from edgekit.records import Measurement
    from edgekit.targets import Target


def bench(
    artifacts: Annotated[list[Path], typer.Argument(help="Artifacts, or folders of them.")],
    target: Annotated[
        str,
        typer.Option(
            help="Target profile, by name or TOML file.", autocompletion=completion.targets
        ),
    ] = "host",
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to run: local, virtual (emulated) or ssh://user@host. Default: virtual for "
            "a board target, otherwise local."
        ),
    ] = None,
    inventory: Annotated[
        Path | None, typer.Option(help="Measure on every board in this fleet file (TOML).")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Only these groups of the fleet; repeat for more.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Images to use as inputs, in turn. Default: crops of a sample picture."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of every runtime.", min=1)] = 1,
    cores: Annotated[
        list[str] | None, typer.Option(help="Cores to run on, like 0,1. Default: any.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Fresh processes per artifact; use 3 or more.")] = 3,
    min_seconds: Annotated[
        float, typer.Option(help="How long each process measures, at least, in seconds.")
    ] = 1.0,
    sustained: Annotated[
        float,
        typer.Option(
            help="Keep measuring for this many minutes and show the effect of heat.", min=0
        ),
    ] = 0.0,
    percentile: Annotated[
        str, typer.Option(help="Take enough samples for this percentile: p50, p90, p95 or p99.")
    ] = "p90",
    runtime: Runtime = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            help="Emulation only: fail if an artifact needs more instructions than this file has."
        ),
    ] = None,
    max_increase: Annotated[
        float,
        typer.Option(
            help="The increase that --gate accepts, in per cent of the instructions.", min=0
        ),
    ] = 1.0,
    write_baseline: Annotated[
        Path | None,
        typer.Option(help="Emulation only: write the instruction counts to this file, for --gate."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the saved measurements.")] = RESULTS,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure the latency of artifacts on a device, and save every sample.

    Each artifact runs in several fresh processes, in turn with the others. After Ctrl-C, run the
    same command again to continue. If the target is a board and no --device is given, the board is
    emulated: you get outputs, exact instruction counts and a predicted latency, but no measured
    time.
    Example: edgekit bench out/mtc --target host --threads 1
    """
    from edgekit.api import bench_request
    from edgekit.cli.output import command_line
    from edgekit.targets import load_target

    profile = load_target(target)
    where = _where(profile, device, inventory)
    _check(where, sustained=sustained, gated=bool(gate or write_baseline))
    if where == "emulated":
        from edgekit.cli.bench_emulated import EmulatedBench, bench_emulated

        bench_emulated(
            EmulatedBench(
                artifacts=artifacts,
                target=profile,
                images=images,
                runtime=runtime,
                results=results,
                gate=gate,
                max_increase=max_increase,
                baseline=write_baseline,
                command=command_line(),
            ),
            wide=wide,
            as_json=as_json,
            quiet=quiet,
        )
        return
    request = bench_request(
        artifacts,
        target=profile,
        images=images,
        threads=threads,
        cores=_core_numbers(cores or []),
        rounds=rounds,
        min_seconds=min_seconds,
        sustained=sustained,
        percentile=percentile,  # type: ignore[arg-type]
        runtime=runtime,
        results=results,
        command=command_line(),
    )
    if inventory:
        from edgekit.cli.bench_fleet import bench_boards

        bench_boards(request, inventory, group or (), wide=wide, as_json=as_json, quiet=quiet)
    else:
        _bench_here(request, device, artifacts, wide=wide, as_json=as_json, quiet=quiet)


def _where(
    target: Target, device: str | None, inventory: Path | None
) -> Literal["one device", "fleet", "emulated"]:
    """Return what the options ask for. Raises UserError where they ask for two of them."""
    from edgekit.errors import UserError

    if device and inventory:
        raise UserError("which boards? give --device or --inventory, not both")
    if inventory:
        return "fleet"
    return "emulated" if (device or target.default_device) == "virtual" else "one device"


def _check(where: str, *, sustained: float, gated: bool) -> None:
    """Raise UserError for an option that means nothing there."""
    from edgekit.errors import UserError

    if where == "emulated" and sustained:
        raise UserError("an emulated board does not get warm: give --sustained a real one")
    if where != "emulated" and gated:
        raise UserError("the gate counts instructions: give it --device virtual and a board")


def _bench_here(
    request: BenchRequest,
    device: str | None,
    artifacts: Sequence[Path],
    *,
    wide: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure on one device and print a row an artifact. Exits with 1 where a row failed."""
    from edgekit.api import measure_on
    from edgekit.cli.output import progress, show, typed
    from edgekit.measurement.summary import summary_row
    from edgekit.report.measured_rows import by_model, fastest, model_title
    from edgekit.targets import HOST

    with progress(quiet or as_json) as say:
        rows = measure_on(request, device, say)
    table = [summary_row(row) for row in rows]
    # The host's title is `this machine`, which another one is not.
    itself = request.target.name != HOST or rows[0].device == "local"
    place = request.target.title if itself else rows[0].device
    threads = f"{request.threads} thread{'s' * (request.threads > 1)}"
    title = f"{model_title(rows)} on {place} ({rows[0].facts.title}), {threads}"
    lines = notes(rows, request.results)
    if request.sustained:
        from edgekit.measurement.heat_curve import heat_curve, heat_notes

        for row, cells in zip(rows, table, strict=True):
            cells["heat_curve"] = heat_curve([row])
        if not as_json:
            curve = [
                {**line, "throttled": "unknown" if line["throttled"] is None else line["throttled"]}
                for line in heat_curve(rows)
            ]
            show("Heat curve", curve, as_json=False)
        lines += heat_notes(rows)
    if not as_json:
        lines = [*fastest(rows), *lines, "more columns: --wide, --json"]
    given = " ".join(map(typed, artifacts))
    then = f"edgekit evaluate {given} --data FOLDER --results {typed(request.results)}"
    if all(row.error for row in rows):
        then = ""  # an artifact that does not run here has no accuracy to find either
    short = by_model(rows)
    show(title, table, as_json=as_json, notes=lines, short=short, wide=wide, then=then)
    if any(row.error for row in rows):
        raise typer.Exit(1)


def _core_numbers(given: list[str]) -> tuple[int, ...]:
    """Return the numbers in `0,1`. Raises UserError."""
    from edgekit.errors import UserError

    cores = words(given)
    if not all(word.isdigit() for word in cores):
        text = ",".join(given)
        raise UserError(f"--cores {text}: give core numbers separated by commas, like 0,1")
    return tuple(map(int, cores))


def notes(rows: list[Measurement], results: Path) -> list[str]:
    """Return what a reader of the table must know."""
    from edgekit.report.measured_rows import doubts
    from edgekit.runtimes.table import role_of

    lines = doubts(rows)
    lines.append("p50: the middle time of one inference, with its 95 % interval in brackets")
    roles = {role_of(row.artifact.backend) for row in rows}
    if "harness" in roles:
        lines.append("null computes nothing: its time is what edgekit itself takes")
    if "reference" in roles:
        lines.append("torch is PyTorch on this machine, for comparison only; it is not deployed")
    if any(row.artifact.weights == "random" for row in rows):
        lines.append("random weights: the times are right, but the answers mean nothing")
    lines.append(f"every sample is saved in {results / rows[0].run}")
    return lines
