"""The command line: parses, calls, prints. Nothing heavy is imported before a command runs.

`EXIT_CODES` says what each means.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgekit.cli.bench import bench
from edgekit.cli.bundle import bundle
from edgekit.cli.compare import compare
from edgekit.cli.convert import convert
from edgekit.cli.deploy import deploy, rollback, status
from edgekit.cli.device import device
from edgekit.cli.doctor import doctor
from edgekit.cli.evaluate import evaluate
from edgekit.cli.explain import explain
from edgekit.cli.keys import keys
from edgekit.cli.models import models
from edgekit.cli.predict import predict
from edgekit.cli.predict_latency import predict_latency
from edgekit.cli.recommend import recommend
from edgekit.cli.report import report
from edgekit.cli.train import train
from edgekit.cli.weights import weights
from edgekit.errors import EdgekitError

INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 it did not work; 2 the input was wrong; 130 interrupted by Ctrl-C "
    "(run the same command again)."
)

app = typer.Typer(
    name="edgekit",
    help="Convert a PyTorch model for small computers, check every artifact, and measure it.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    convert, bench, compare, evaluate, explain, recommend, report, predict, predict_latency, train,
    weights, models, doctor, bundle, deploy, rollback, status,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
app.add_typer(device)
app.add_typer(keys)


def _version(wanted: bool) -> None:
    if wanted:
        from edgekit.cli.doctor import version_lines

        print("\n".join(version_lines()))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print all versions."),
    ] = False,
) -> None:
    """Convert a PyTorch model for small computers, check every artifact, and measure it."""


def main() -> None:
    """Run the command line; an expected error is one line on standard error."""
    try:
        app()
    except EdgekitError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer turns Ctrl-C into this code and says nothing
            _fail(
                "interrupted; nothing half-done was kept: the same command starts again or goes on",
                INTERRUPTED,
            )
        raise
    except OSError as error:
        # A full disk, a read-only folder: the system's own words and the file, no traceback.
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror or error}{where}: make room or choose another folder", 2)


def _fail(message: str, code: int) -> None:
    print(f"edgekit: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
