"""`edgekit recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from edgekit.recommend import Recommendation

LISTED = 12
"""Rows that a person is shown; --json prints them all."""


def recommend(
    target: Annotated[str, typer.Option(help="Target profile, by name or TOML file.")] = "host",
    max_latency: Annotated[
        str | None, typer.Option(help="Most time of one inference (p50): 10ms, 0.5s, 800us.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Most bytes of an artifact: 900kB, 2MB, 2MiB.")
    ] = None,
    min_age_accuracy: Annotated[
        float | None, typer.Option(help="Least age accuracy, in per cent.")
    ] = None,
    min_gender_accuracy: Annotated[
        float | None, typer.Option(help="Least gender accuracy, in per cent.")
    ] = None,
    min_accuracy: Annotated[
        list[str] | None, typer.Option(help="Least accuracy of any output: OUTPUT=PERCENT.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of saved results.")] = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pick the artifact to ship from saved results, and say why, or what is out of reach.

    Limits are held to the pessimistic ends of the intervals. Exit code 1: nothing holds them all.
    Example: edgekit recommend --target rpi4 --max-latency 10ms --min-age-accuracy 60 --max-size 2MB
    """
    from edgekit.cli.output import show
    from edgekit.recommend import recommend as run
    from edgekit.recommend import row, short_row
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
    saved = load_saved(results)
    result = run(saved, profile.name, limits)
    order = sorted(
        result.judged,
        key=lambda item: (item is not result.pick, len(item.misses), item.candidate.title),
    )
    notes = [
        *result.reasons,
        "limits are held to the pessimistic end: the high one of p50, the low one of accuracy",
        *sources(result),
        *saved.problems,
    ]
    title = f"What to ship to {profile.title}" if result.pick else f"Nothing fits {profile.title}"
    if as_json:
        rows = [row(item, item is result.pick) for item in order]
    else:
        rows = [short_row(item, item is result.pick) for item in order[:LISTED]]
        notes.append(f"{len(rows)} of {len(order)} artifacts; --json prints all")
    show(title, rows, as_json=as_json, notes=notes)
    if result.pick is None:
        raise typer.Exit(1)


def sources(result: Recommendation) -> list[str]:
    """Return what each metric's numbers were found on, a line each."""
    found = dict.fromkeys(
        f"{metric}: {number.source}"
        for item in result.judged
        for metric, number in item.candidate.numbers.items()
        if metric.endswith("accuracy")
    )
    return list(found)
