"""Runs one heavy step of the pipeline in a process of its own.

A step is a module with `run(request, report) -> dict`. Its own process keeps one converter's
libraries away from another's, and one crash costs one step: the parent reads its reply, or learns
how the process ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit.errors import BuildFailed, EdgekitError, UserError, error_of, first_line, printable
from edgekit.files import full_disk
from edgekit.run_log import note, verbose
from edgekit.scratch import leashed

Report = Callable[[dict[str, Any]], None]
"""How a step tells its parent of each thing done; every report is one JSON object."""

_EVENT = "edgekit-event:"


class Children:
    """The processes of one conversion: when it is given up, all of them end and none starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._given_up = False

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own. Raises BuildFailed once given up."""
        with self._lock:
            if self._given_up:
                raise BuildFailed("given up")
            process = subprocess.Popen(leashed(command), start_new_session=True, **options)
            self._running.add(process)
            return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process with its group, if it still runs, and forget it."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self._lock:
            self._running.discard(process)

    def give_up(self) -> None:
        """End every process that runs now, and let no other start."""
        with self._lock:
            self._given_up = True
            running = list(self._running)
        for process in running:
            self.end(process)


def run_step(
    module: str,
    request: dict[str, Any],
    log: Path,
    on_event: Report,
    threads: int,
    children: Children,
) -> dict[str, Any]:
    """Run `module.run` in a fresh Python and return its reply.

    Everything the step and its libraries print goes to `log`; its reports go to `on_event`.
    Raises the EdgekitError the step raised, or BuildFailed where the process died; a UserError
    where the disk that holds `log` is full, whatever the library made of it.
    """
    try:
        return _run(module, request, log, on_event, threads, children)
    except BuildFailed:
        folder = full_disk(log.parent)
        if folder is not None:
            raise UserError(
                f"no space left on the disk of {folder}: free some, run again"
            ) from None
        raise


def _run(
    module: str,
    request: dict[str, Any],
    log: Path,
    on_event: Report,
    threads: int,
    children: Children,
) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Steps run side by side: a thread that waits for another must leave its core to whoever works.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    reply: dict[str, Any] | None = None
    with log.open("ab") as errors, _followed(log, module.rpartition(".")[2]):
        process = children.start(
            [sys.executable, "-m", "edgekit.conversion.steps", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            for line in process.stdout:
                if not line.startswith(_EVENT.encode()):
                    errors.write(line)
                    continue
                event = json.loads(line[len(_EVENT) :])
                if event["event"] == "reply":
                    reply = event["reply"]
                elif event["event"] == "error":
                    process.wait()
                    raise _error(event)
                else:
                    on_event(event)
            process.wait()
        finally:
            children.end(process)
            process.stdout.close()
    if reply is None:
        raise BuildFailed(f"{module}'s process {_ending(process.returncode)}{_last_line(log)}")
    return reply


@contextmanager
def _followed(log: Path, step: str) -> Iterator[None]:
    """Copy what a step prints into the run's log, and with -v to standard error, line by line."""
    ended = threading.Event()

    def follow() -> None:
        with log.open(errors="replace") as lines:
            lines.seek(0, os.SEEK_END)
            while True:
                last = ended.is_set()
                for line in lines:
                    note(f"{step}: {line.rstrip()}")
                    if verbose():
                        print(f"{step}: {printable(line.rstrip())}", file=sys.stderr, flush=True)
                if last:
                    return
                ended.wait(0.2)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _error(event: dict[str, Any]) -> EdgekitError:
    """Return the error a step reported, as the same class of our own tree."""
    known = error_of(str(event["kind"]), event["message"])
    return known or BuildFailed(f"{event['kind']}: {event['message']}")


def _ending(code: int) -> str:
    return (
        f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last[:300]}" if last else ""


def main() -> int:
    """Run the step named on the command line with the request on standard input."""
    import importlib
    import traceback

    # The libraries print where they please; only our own events go to the real standard output.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def report(event: dict[str, Any]) -> None:
        out.write(f"{_EVENT}{json.dumps(event)}\n")
        out.flush()

    request = json.load(sys.stdin)
    try:
        reply = importlib.import_module(sys.argv[1]).run(request, report)
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


if __name__ == "__main__":
    main()
