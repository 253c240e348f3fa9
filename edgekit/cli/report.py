"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.options import words
from edgekit.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.progress import Say
    from edgekit.recommend.summary import Summary
    from edgekit.report.records import Saved
    from edgekit.report.table import Table


def report(
    results: Annotated[Path, typer.Option(help="Folder of saved results.")] = RESULTS,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the tables' files.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="markdown, csv, json or latex; several by commas. Default: all of them.",
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="File for the report as one page with plots.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Folder for the plots, each as PNG and SVG.")
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Add the seed paper's tables, with edgekit's own records."),
    ] = False,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Add the accuracy records that come with edgekit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Say which artifact to ship where, from saved results alone, and write tables and plots.

    Markdown and LaTeX hold short tables, CSV and JSON every column. The page needs no network.

    Example: edgekit report --results edgekit-results --html report.html --plots report-plots
    """
    import json

    from edgekit.cli.output import progress, typed
    from edgekit.errors import UserError
    from edgekit.recommend.summary import summarise
    from edgekit.report import FORMATS, short_tables, tables_of, write_report
    from edgekit.report.records import load_saved

    for path in (output, page, plots):
        if path is not None and path.resolve().is_relative_to(results.resolve()):
            raise UserError(f"{path} is inside {results}: choose a folder outside the results")
    if page is not None and page.is_dir():
        raise UserError(f"{page} is a folder: --html takes a file, such as {page / 'report.html'}")
    saved = load_saved(results, shipped=paper or shipped)
    summary = summarise(saved)
    tables, short = tables_of(saved), short_tables(saved, paper=paper)
    chosen = words(formats) if formats else list(FORMATS)
    written: list[Path] = []
    with progress(quiet or as_json or (output, page, plots) == (None,) * 3) as say:
        if output is not None:
            say("tables", "writing")
            written += write_report(tables, output, chosen, short=short, summary=summary)
            say("tables", "done")
        if page is not None or plots is not None:
            written += _write_drawn(saved, results, page, plots, summary, short, tables, paper, say)
    if as_json:
        shown = [
            {"name": t.name, "title": t.title, "rows": [dict(r) for r in t.rows], "notes": t.notes}
            for t in tables
        ]
        print(json.dumps(shown, indent=1))
        return
    shown_tables = [t for t in short if paper and t.name.startswith("paper-")]
    then = f"edgekit report --results {typed(results)} --html report.html"
    if page is not None:
        again = f"edgekit recommend --target TARGET --results {typed(results)}"
        then = f"open {page} in a browser; {again}"
    _print(summary, written, shown_tables, saved, then)


def _print(
    summary: Sequence[Summary],
    written: Sequence[Path],
    tables: Sequence[Table],
    saved: Saved,
    then: str,
) -> None:
    """Print the summary and the paths; the paper's tables too, where they were asked for."""
    from edgekit.cli.output import show

    for item in summary:
        show(item.title, [], as_json=False, notes=item.lines)
    for table in tables:
        rows = [dict(row) for row in table.rows]
        show(table.title, rows, as_json=False, notes=table.notes)
    paths = [str(path) for path in written if path.suffix in {".html", ".md"}]
    more = len(written) - len(paths)
    if more:
        paths.append(f"and {more} more files beside them")
    nothing = "nothing was written: give -o FOLDER for tables, --html FILE for a page with plots"
    title = f"{len(written)} file{'s' * (len(written) > 1)}" if written else "Report"
    notes = [*(paths or [nothing]), *saved.problems]
    show(title, [], as_json=False, notes=notes, then=then)


def _write_drawn(
    saved: Saved,
    results: Path,
    page: Path | None,
    plots: Path | None,
    summary: Sequence[Summary],
    short: Sequence[Table],
    full: Sequence[Table],
    paper: bool,
    say: Say,
) -> list[Path]:
    """Draw the plots once, write what was asked for and return the paths."""
    from edgekit.files import write_whole
    from edgekit.report.page import html_page
    from edgekit.report.plots import save_plots, sections

    made = sections(saved, say)
    written = []
    if page is not None:
        text = html_page(
            saved, results, made, summary=summary, short=short, full=full, paper=paper, say=say
        )
        write_whole(page, text)
        say("page", "done")
        written.append(page)
    if plots is not None:
        say("files", "writing the plots")
        written += save_plots(made, plots)
        say("files", "done")
    return written
