"""`edgekit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(help="A saved measurement's JSON file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many times as fast one measurement is as another, or that no one can tell.

    Example: edgekit compare edgekit-results/RUN/a.json edgekit-results/RUN/b.json
    """
    from edgekit.cli.output import show
    from edgekit.measurement.comparison import compare as run
    from edgekit.results import load_measurement

    result = run(load_measurement(first), load_measurement(second))
    row = {
        "first": result.first,
        "second": result.second,
        "times_as_fast": result.ratio.value,
        "low": result.ratio.low,
        "high": result.ratio.high,
        "differs": result.differs,
        "paired": result.paired,
    }
    show("Comparison", [row], as_json=as_json, notes=(result.sentence, *result.doubts))
