"""The script that starts a version with the Python that was found or made for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edgekit.onboard.receiver.archive import RUN
from edgekit.onboard.receiver.durable import write_whole

_START, _END = "#!/bin/sh\nexec ", ' "$(dirname "$0")/runner.py" "$@"\n'
_MAX_BYTES = 8192


def write_run(version: Path, python: str) -> None:
    """Write the `run` script of the unpacked `version`."""
    write_whole(version / RUN, _script(python), 0o755)


def run_fault(version: Path) -> str | None:
    """Return what is wrong with a version's `run` script, or None.

    It is no part of the bundle, so that no hash tells: it has to be what `write_run` writes, for a
    Python that is there.
    """
    place = version / RUN
    try:
        if place.is_symlink() or not place.is_file():
            return f"{RUN} is missing or changed"
        with place.open("rb") as file:
            found = file.read(_MAX_BYTES)
        words = shlex.split(found.decode().removeprefix(_START))
    except (OSError, ValueError):
        return f"{RUN} is missing or changed"
    python = words[0] if words else ""
    if found != _script(python):
        return f"{RUN} is missing or changed"
    if not os.access(python, os.X_OK):
        return f"{RUN} starts {python}, which is gone"
    return None


def _script(python: str) -> bytes:
    return (_START + shlex.quote(python) + _END).encode()
