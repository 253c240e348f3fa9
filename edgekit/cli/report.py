"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = {
    "table-2-accuracy": (
        "system", "variant", "backend", "precision", "published_age_accuracy",
        "published_gender_accuracy", "age_accuracy", "age_1off", "gender_accuracy", "images",
        "protocol", "provenance",
    ),
    "table-3-parameters": (
        "system", "variant", "published_parameters", "parameters", "macs", "deployed_parameters",
        "deployed_macs",
    ),
    "table-3-latency": (
        "system", "variant", "published_desktop_s", "published_phone_s", "backend", "precision",
        "p50_ms", "p50_low_ms", "p50_high_ms", "target", "provenance", "ratio", "ratio_claim",
    ),
    "table-3-latency-predicted": (
        "system", "variant", "published_phone_s", "published_phone_ratio", "backend", "precision",
        "threads", "predicted_p50_ms", "low_ms", "high_ms", "calibration", "ratio", "ratio_low",
        "ratio_high", "ratio_claim", "target", "provenance",
    ),
    "artifacts": (
        "model", "backend", "precision", "weights", "size_bytes", "parity_max_abs_diff",
        "parity_agreement", "p50_ms", "p90_ms", "load_ms", "first_ms", "peak_memory_mb",
        "instructions_per_inference", "target", "provenance",
    ),
}  # fmt: skip
"""The columns of each table that a terminal shows; the files and --json hold them all."""


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
