"""`edgekit recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.options import Wide
from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from edgekit.recommend import Judged, Recommendation

LISTED = 12
"""Rows that a person is shown; --json prints them all."""


def recommend(
    target: Annotated[str, typer.Option(help="Target profile, by name or TOML file.")] = "host",
    max_latency: Annotated[
        str | None, typer.Option(help="Longest time of one inference (p50): 10ms, 0.5s, 800us.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Largest size of an artifact: 900kB, 2MB, 2MiB.")
    ] = None,
    min_age_accuracy: Annotated[
        float | None, typer.Option(help="Lowest age accuracy, in per cent.")
    ] = None,
    min_gender_accuracy: Annotated[
        float | None, typer.Option(help="Lowest gender accuracy, in per cent.")
    ] = None,
    min_accuracy: Annotated[
        list[str] | None,
        typer.Option(
            help="Lowest accuracy of any output: OUTPUT=PERCENT; of boxes the mAP50-95, of masks "
            "the mIoU."
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of saved results.")] = RESULTS,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Add the accuracy records that come with edgekit.")
    ] = False,
    wide: Wide = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose the artifact to ship from saved results, and say why.

    A limit must hold for the worse end of each interval. Exit code 1: no artifact holds all limits.
    Example: edgekit recommend --target rpi4 --max-latency 10ms --min-age-accuracy 60 --max-size 2MB
    """
    from edgekit.cli.output import show
    from edgekit.recommend import recommend as run
    from edgekit.recommend import row
    from edgekit.recommend.limits import (
        accuracy_limit,
        latency_limit,
        named_accuracy_limit,
        size_limit,
    )
    from edgekit.report.records import load_saved
    from edgekit.targets import load_target

    profile = load_target(target)
    limits = [latency_limit(max_latency)] if max_latency is not None else []
    limits += [size_limit(max_size)] if max_size is not None else []
    for output, percent in (("age", min_age_accuracy), ("gender", min_gender_accuracy)):
        if percent is not None:
            limits.append(accuracy_limit(output, percent, f"--min-{output}-accuracy"))
    limits += [named_accuracy_limit(text) for text in min_accuracy or ()]
    saved = load_saved(results, shipped=shipped)
    result = run(saved, profile.name, limits)
    order = sorted(
        result.judged,
        key=lambda item: (item is not result.pick, len(item.misses), item.candidate.title),
    )
    notes = [
        *result.reasons,
        "a limit must hold for the worse end of an interval: high for p50, low for accuracy",
        *sources(result),
        *saved.problems,
    ]
    title = f"What to ship to {profile.title}" if result.pick else f"Nothing fits {profile.title}"
    if as_json:
        rows = [row(item, item is result.pick) for item in order]
        show(title, rows, as_json=True, notes=notes)
    else:
        listed = order if wide else order[:LISTED]
        several = len({item.candidate.artifact.model for item in order}) > 1
        short = [
            short_row(item, item is result.pick, several=several, wide=wide) for item in listed
        ]
        for cells, item in zip(short, listed, strict=True):
            misses = "; ".join(map(str, item.misses))
            notes += [f"{cells['artifact']} misses {misses}"] if misses else []
            notes += [f"{cells['artifact']}: {doubt}" for doubt in item.candidate.doubts]
        if len(listed) < len(order):
            notes.append(f"{len(listed)} of {len(order)} artifacts; --wide or --json prints all")
        if not several:
            title = f"{title}: {order[0].candidate.artifact.model}"
        picked = result.pick and result.pick.candidate.artifact
        then = "a looser limit, or edgekit explain ARTIFACT for what makes one slow"
        if picked:
            then = f"edgekit bundle OUT/{picked.backend}-{picked.precision} -o model.ekb"
        show(title, short, as_json=False, notes=notes, then=then)
    if result.pick is None:
        raise typer.Exit(1)


def short_row(item: Judged, picked: bool, *, several: bool, wide: bool) -> dict[str, Any]:
    """Return a candidate as a row for people: each number with its interval.

    `several`: the model is named, because not all are of one. `wide`: with tenths of a per cent,
    and where the latency is from.
    """
    from edgekit.recommend.limits import LATENCY, SIZE
    from edgekit.report.cells import percent, size, with_interval

    candidate = item.candidate
    facts, numbers = candidate.artifact, candidate.numbers
    threads = f", {candidate.threads} threads" if candidate.threads > 1 else ""
    cells: dict[str, Any] = {
        "artifact": f"{facts.model} " * several + f"{facts.backend}-{facts.precision}{threads}"
    }
    if latency := numbers.get(LATENCY):
        milliseconds = (1e3 * end for end in (latency.value, latency.low, latency.high))
        cells["p50, ms"] = with_interval(*milliseconds)
    if latency and wide:
        cells["p50 is"] = latency.provenance
    for metric, number in numbers.items():
        if metric not in {LATENCY, SIZE}:
            name = f"{metric.removesuffix(' accuracy')}, %"
            cells[name] = percent(number.value, number.low, number.high, digits=int(wide))
    cells["size"] = size(numbers[SIZE].value)
    cells["result"] = "ship" if picked else "misses" if item.misses else "fits"
    return cells


def sources(result: Recommendation) -> list[str]:
    """Return what each metric's numbers were found on, a line each."""
    found = dict.fromkeys(
        f"{metric}: {number.source}"
        for item in result.judged
        for metric, number in item.candidate.numbers.items()
        if metric.endswith("accuracy")
    )
    return list(found)
