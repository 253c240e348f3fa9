"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[Path, typer.Option(help="Folder of saved results.")] = Path(
        "edgekit-results"
    ),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the files; none: print only.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated: markdown, csv, json, latex.")
    ] = "markdown,csv,json,latex",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rebuild the paper's tables beside our own numbers, from saved results alone.

    Example: edgekit report --results edgekit-results --format markdown,latex -o report
    """
    import json

    from edgekit.cli.output import show
    from edgekit.errors import UserError
    from edgekit.report import build_tables, write_report

    if output is not None and output.resolve().is_relative_to(results.resolve()):
        raise UserError(f"{output} is inside {results}: choose a folder outside the results")
    tables = build_tables(results)
    chosen = [word.strip() for word in formats.split(",") if word.strip()]
    written = write_report(tables, output, chosen) if output is not None else []
    if as_json:
        shown = [
            {"name": t.name, "title": t.title, "rows": [dict(r) for r in t.rows], "notes": t.notes}
            for t in tables
        ]
        print(json.dumps(shown, indent=1))
        return
    for table in tables:
        rows = [dict(row) for row in table.rows]
        columns = SHOWN.get(table.name)
        show(table.title, rows, as_json=False, notes=table.notes, columns=columns)
    for path in written:
        print(path)
