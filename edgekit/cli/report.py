"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from edgekit.report.records import Saved


def report(
    results: Annotated[Path, typer.Option(help="Folder of saved results.")] = RESULTS,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the files; none: print only.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated: markdown, csv, json, latex.")
    ] = "markdown,csv,json,latex",
    page: Annotated[
        Path | None, typer.Option("--html", help="File for the report as one page, plots included.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for the plots, each as PNG and SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rebuild the paper's tables beside our own numbers, from saved results alone.

    --html needs no network to be read; -o, --html and --plots can be asked for at once.

    Example: edgekit report --results edgekit-results --html report.html --plots report-plots
    """
    import json

    from edgekit.cli.output import show
    from edgekit.errors import UserError
    from edgekit.report import tables_of, write_report
    from edgekit.report.columns import SHOWN
    from edgekit.report.records import load_saved

    for path in (output, page, plots):
        if path is not None and path.resolve().is_relative_to(results.resolve()):
            raise UserError(f"{path} is inside {results}: choose a folder outside the results")
    if page is not None and page.is_dir():
        raise UserError(f"{page} is a folder: --html takes a file, such as {page / 'report.html'}")
    saved = load_saved(results)
    tables = tables_of(saved)
    chosen = [word.strip() for word in formats.split(",") if word.strip()]
    written = write_report(tables, output, chosen) if output is not None else []
    if page is not None or plots is not None:
        written += _write_drawn(saved, results, page, plots)
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


def _write_drawn(saved: Saved, results: Path, page: Path | None, plots: Path | None) -> list[Path]:
    """Draw the plots once, write what was asked for and return the paths."""
    from edgekit.files import write_whole
    from edgekit.report.page import html_page
    from edgekit.report.plots import save_plots, sections

    made = sections(saved)
    written = []
    if page is not None:
        write_whole(page, html_page(saved, results, made))
        written.append(page)
    if plots is not None:
        written += save_plots(made, plots)
    return written
