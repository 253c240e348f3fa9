"""An exception that nobody expected: a log file for us, one line for the person who meets it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from edgekit.errors import first_line
from edgekit.paths import cache_folder
from edgekit.version import __version__

KEPT = 20
"""How many logs stay; the oldest go first."""


def report(error: BaseException) -> str:
    """Write the traceback to a log file and return the line that says so; never raises.

    The line names the exception, the log and what to do with it.
    """
    what = type(error).__name__
    with suppress(Exception):  # an exception's own text may raise too
        said = first_line(error)
        what += f": {said}" if said != what else ""
    place = _log(error)
    where = f"send {place}" if place else "send the command and this line"
    return f"unexpected {what}: this is a bug of edgekit's; please report it and {where}"


def _log(error: BaseException) -> Path | None:
    """Write the log to the cache folder, or to the temporary one; None where neither takes it."""
    for folder in (_logs, lambda: Path(tempfile.gettempdir())):
        with suppress(Exception):
            return _written(folder(), error)
    return None


def _logs() -> Path:
    return cache_folder() / "logs"


def _written(folder: Path, error: BaseException) -> Path:
    text = "".join(traceback.format_exception(error))
    head = (
        f"edgekit {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{shlex.join(['edgekit', *sys.argv[1:]])}\n\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    handle, name = tempfile.mkstemp(".log", f"edgekit-{now:%Y%m%dT%H%M%S}-", folder)
    with os.fdopen(handle, "w", errors="backslashreplace") as file:
        file.write(head + text)
    for old in sorted(folder.glob("edgekit-*T*-*.log"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return Path(name)
