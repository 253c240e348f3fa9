"""The command line: parses, calls, prints. Nothing heavy is imported before a command runs.

`EXIT_CODES` says what each means.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edgekit.cli.bench import bench
from edgekit.cli.bundle import bundle
from edgekit.cli.cache import cache
from edgekit.cli.compare import compare
from edgekit.cli.convert import convert
from edgekit.cli.deploy import deploy, rollback, status
from edgekit.cli.device import device
from edgekit.cli.doctor import doctor
from edgekit.cli.evaluate import evaluate
from edgekit.cli.explain import explain
from edgekit.cli.keys import keys
from edgekit.cli.models import models
from edgekit.cli.options import flowing
from edgekit.cli.predict import predict
from edgekit.cli.predict_latency import predict_latency
from edgekit.cli.recommend import recommend
from edgekit.cli.report import report
from edgekit.cli.serve import serve
from edgekit.cli.spec import spec
from edgekit.cli.train import train
from edgekit.cli.weights import weights
from edgekit.errors import EdgekitError, printable

OWN, PROJECT = Path("edgekit.toml"), Path("pyproject.toml")
"""Files in the working folder that may set options."""
INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 it did not work; 2 the input was wrong; 130 interrupted by Ctrl-C "
    "(run the same command again)."
)

GOES_ON = {
    "bench": "the same command goes on with the rounds that are missing",
    "evaluate": "the same command goes on with the images that are missing",
    "deploy": "the same command goes on; a board serves the old version or the new one",
    "rollback": "the same command goes on with the boards that are missing",
    "weights": "the same command goes on with the networks that are missing",
    "train": "the same command goes on after the last whole epoch",
    "convert": "the same command starts again",
    "device install": "the same command goes on with what is missing",
    "device provision": "the same command goes on with what is missing",
}
"""What a command does when it is given again after Ctrl-C; every other starts again."""
REMEDIES = {
    errno.ENOSPC: "free some space on that disk, or choose another folder",
    errno.EDQUOT: "your quota is used up: free some space, or choose another folder",
    errno.EROFS: "that disk is read-only: choose another folder",
    errno.EACCES: "choose a path that you may read and write, or change its permissions",
    errno.EPERM: "choose a path that you may read and write, or change its permissions",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EISDIR: "that is a folder: name a file in it",
    errno.ELOOP: "its links lead round in a circle: name the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n 4096`",
    errno.EIO: "the disk fails: check it with `dmesg`, then choose another folder",
}
"""What a person can do about the system's own errors."""

app = typer.Typer(
    name="edgekit",
    help="Convert a PyTorch model for small computers, check every artifact, and measure it.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    convert, spec, bench, compare, evaluate, explain, recommend, report, predict, serve,
    predict_latency, train, weights, models, doctor, bundle, deploy, rollback, status,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
for group in (device, keys, cache):
    app.add_typer(group)
for place in (app, device, keys, cache):
    for info in place.registered_commands:
        info.help = flowing(info.callback.__doc__ or "")


def _version(wanted: bool) -> None:
    if wanted:
        from edgekit.cli.doctor import version_lines

        print("\n".join(version_lines()))
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print all versions."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the converters print, too.")
    ] = False,
) -> None:
    """Convert a PyTorch model for small computers, check every artifact, and measure it."""
    if verbose:
        from edgekit.run_log import VERBOSE

        os.environ[VERBOSE] = "1"
    if OWN.is_file() or PROJECT.is_file():
        from edgekit.cli.defaults import default_map

        context.default_map = default_map(OWN, PROJECT, context.command, context)


def main() -> None:
    """Run the command line; whatever goes wrong is one line on standard error."""
    signal.signal(signal.SIGTERM, _ended)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _ended)  # `nohup` ignores it, and then it stays ignored
    try:
        app()
    except EdgekitError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer turns Ctrl-C into this code and says nothing
            _fail(_stopped("interrupted"), INTERRUPTED)
        raise
    except KeyboardInterrupt:
        _fail(_stopped("interrupted"), INTERRUPTED)
    except MemoryError:
        _fail("not enough memory: close other programs, or take a smaller model or batch", 1)
    except OSError as error:
        if error.errno is None or not error.strerror:
            _unexpected(error)
        # A full disk, a read-only folder: the system's own words and the file, no traceback.
        where = f" ({os.fsdecode(error.filename)})" if _names_a_file(error) else ""
        remedy = REMEDIES.get(error.errno, "check the path, its disk and who may write there")
        _fail(f"{error.strerror}{where}: {remedy}", 2)
    except Exception as error:
        _unexpected(error)


def _stopped(how: str) -> str:
    """Return what ended the command, and whether the same one goes on or starts again."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")][:2]
    names = " ".join(words), "".join(words[:1])
    again = next((GOES_ON[name] for name in names if name in GOES_ON), None)
    return f"{how}; nothing half-done was kept: {again or 'the same command starts again'}"


def _names_a_file(error: OSError) -> bool:
    return isinstance(error.filename, str | bytes | os.PathLike)


def _unexpected(error: Exception) -> NoReturn:
    from edgekit.unexpected import report

    _fail(report(error), 1)


def _ended(number: int, frame: object) -> NoReturn:
    """End as Ctrl-C does, with everything undone that it undoes, and the signal's exit code."""
    name = signal.Signals(number).name
    signal.signal(number, signal.SIG_IGN)  # once is enough: what is undone now must not be cut
    print(f"edgekit: {_stopped(f'ended by {name}')}", file=sys.stderr)
    sys.exit(128 + number)


def _fail(message: str, code: int) -> NoReturn:
    from edgekit.run_log import end

    line = printable(" ".join(message.split()))
    end(f"ended with exit code {code}: {line}")
    with suppress(OSError):  # standard error may be closed, or a full disk
        print(f"edgekit: {line}", file=sys.stderr)
    sys.exit(code)
