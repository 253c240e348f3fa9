"""`edgekit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Wide

if TYPE_CHECKING:
    from edgekit.measurement.comparison import Comparison
    from edgekit.records import Measurement


def compare(
    first: Annotated[Path, typer.Argument(help="A saved measurement, or the folder of a run.")],
    second: Annotated[Path, typer.Argument(help="The measurement or run to compare with.")],
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how many times as fast one measurement is as another, if that is clear.

    Give two files, or two run folders to compare them artifact by artifact.
    Example: edgekit compare edgekit-results/RUN/a.json edgekit-results/RUN/b.json
    """
    from edgekit.cli.output import show, typed
    from edgekit.errors import BadResults
    from edgekit.measurement.comparison import compare as run

    pairs, notes = _pairs(first, second)
    compared: list[tuple[Measurement, Measurement, Comparison]] = []
    reasons: list[str] = []
    for one, other in pairs:
        try:
            compared.append((one, other, run(one, other)))
        except BadResults as error:
            reasons.append(str(error))
    if not compared:
        raise BadResults(reasons[0])
    for _, _, result in compared:
        notes += [result.sentence, *result.doubts]
    rows = [_row(result) for _, _, result in compared]
    short = [_short_row(*item, name_first=len(pairs) > 1) for item in compared]
    title = "Comparison" if as_json else f"{first} against {second}"
    notes += reasons
    then = f"edgekit report --results {typed(_results(first))}"
    show(title, rows, as_json=as_json, notes=notes, short=short, wide=wide, then=then)


def _pairs(first: Path, second: Path) -> tuple[list[tuple[Measurement, Measurement]], list[str]]:
    """Return what to compare with what, and a note on each row that has no partner.

    Raises UserError for a file and a folder, BadResults where two runs share no artifact.
    """
    from edgekit.errors import BadResults, UserError
    from edgekit.results import load_measurement, load_results

    if first.is_dir() != second.is_dir():
        raise UserError(f"{first} and {second}: give two measurements' files or two runs' folders")
    if not first.is_dir():
        return [(load_measurement(first), load_measurement(second))], []
    sides = []
    for folder in (first, second):
        found, problems = load_results(folder)
        if not found:
            why = f" ({problems[0]})" if problems else ""
            raise BadResults(f"{folder} holds no measurement{why}: make one with `edgekit bench`")
        sides.append({_key(item): item for item in found})
    ours, theirs = sides
    pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if not pairs:
        raise BadResults(f"{first} and {second} measured no artifact in common")
    alone = [
        f"{item.title} is only in {folder}"
        for folder, side, other in ((first, ours, theirs), (second, theirs, ours))
        for key, item in side.items()
        if key not in other
    ]
    return pairs, alone


def _results(given: Path) -> Path:
    """Return the results folder that a run's folder, or a measurement's file, lies in."""
    return given.parent if given.is_dir() else given.parent.parent


def _key(item: Measurement) -> tuple[object, ...]:
    artifact = item.artifact
    program = (artifact.backend, artifact.precision, item.runtime, item.threads)
    return (artifact.model, *program, item.target)


def _row(result: Comparison) -> dict[str, Any]:
    return {
        "first": result.first,
        "second": result.second,
        "times_as_fast": result.ratio.value,
        "low": result.ratio.low,
        "high": result.ratio.high,
        "differs": result.differs,
        "paired": result.paired,
    }


def _short_row(
    one: Measurement, other: Measurement, result: Comparison, *, name_first: bool
) -> dict[str, Any]:
    from edgekit.measurement.summary import summary_row
    from edgekit.report.cells import times, with_interval

    def p50(item: Measurement) -> str:
        row = summary_row(item)
        return with_interval(row["p50_ms"], row["p50_low_ms"], row["p50_high_ms"])

    names = (
        {"artifact": one.title} if name_first else {"first": result.first, "second": result.second}
    )
    return {
        **names,
        "first p50, ms": p50(one),
        "second p50, ms": p50(other),
        "speed of the first": times(result.ratio),
    }
