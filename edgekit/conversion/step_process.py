"""Runs one heavy step of the pipeline in a process of its own: the step's side.

A step is a module with `run(request, report) -> dict`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from edgekit.errors import EdgekitError, first_line

Report = Callable[[dict[str, Any]], None]
"""How a step tells its parent of each thing done; every report is one JSON object."""

EVENT = "edgekit-event:"
"""What a line of the step's output begins with where it is a report."""


def main(module: str) -> NoReturn:
    """Run a step with the request on standard input, in this process, which then ends."""
    import importlib
    import traceback

    # The libraries print where they please; only our own events go to the real standard output.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def report(event: dict[str, Any]) -> None:
        out.write(f"{EVENT}{json.dumps(event)}\n")
        out.flush()

    try:
        run = importlib.import_module(module).run
        reply = run(json.load(sys.stdin), report)
    except EdgekitError as error:
        report({"event": "error", "kind": type(error).__name__, "message": str(error)})
    except MemoryError:
        report({"event": "error", "kind": "BuildFailed", "message": "not enough memory"})
    except Exception as error:
        # A converter's own bug: its traceback stays in the log, the user gets its first line.
        traceback.print_exc()
        message = f"{type(error).__name__}: {first_line(error)}"
        report({"event": "error", "kind": "BuildFailed", "message": message})
    else:
        report({"event": "reply", "reply": reply})
    out.flush()
    os._exit(0)  # some converters' libraries hang or crash in their atexit handlers
