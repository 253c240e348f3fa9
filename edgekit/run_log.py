"""One log file a run: the command, each step as it is told, and what the converters print.

    ~/.cache/edgekit/logs/run-20261127T031500-1234.log

The file appears with the first line; the newest KEPT stay. A disk that is full or read-only costs
the log and nothing else.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from edgekit.paths import cache_folder

KEPT = 20
VERBOSE = "EDGEKIT_VERBOSE"
"""Set in the environment by `edgekit -v`: what the converters print is shown, too."""


def verbose() -> bool:
    """Tell whether the converters' own words are to be shown."""
    return os.environ.get(VERBOSE, "") not in {"", "0"}


def note(text: str) -> None:
    """Append a line to this run's log; never raises for a disk that does not take it."""
    with suppress(OSError):
        now = datetime.now(UTC)
        with path().open("a", errors="backslashreplace") as file:
            file.write(f"{now:%H:%M:%S} {text}\n")


def end(text: str) -> None:
    """Append how the run ended, where it has a log: one that did nothing leaves none."""
    if path.cache_info().currsize:
        note(text)


@cache
def path() -> Path:
    """Return this run's log, begun with the command; only the newest KEPT stay."""
    folder = cache_folder() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("run-*.log"))[: -KEPT + 1]:
        old.unlink(missing_ok=True)
    made = folder / f"run-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    made.write_text(f"{shlex.join(['edgekit', *sys.argv[1:]])}\n", errors="backslashreplace")
    return made
