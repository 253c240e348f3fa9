"""Runs one heavy step of the pipeline in a process of its own: the parent's side.

Its own process keeps one converter's libraries away from another's, and one crash costs one step:
the parent reads its reply, or learns how the process ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgekit.conversion.fork_server import ForkServer, Step, Wanted
from edgekit.conversion.step_process import EVENT, Report
from edgekit.errors import BuildFailed, EdgekitError, UserError, error_of, printable
from edgekit.files import full_disk
from edgekit.run_log import note, verbose


class Children:
    """The processes of one conversion: when it is given up, all of them end and none starts.

    `preload` is what every one of them will import.
    """

    def __init__(self, preload: tuple[str, ...] = ()) -> None:
        self._server = ForkServer(preload)
        self._lock = threading.Lock()
        self._running: set[Step] = set()
        self._given_up = False

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()
        self._server.close()

    def start(self, wanted: Wanted, talk: int, log: int) -> Step:
        """Start a step in a process group of its own. Raises BuildFailed once given up."""
        with self._lock:
            if self._given_up:
                raise BuildFailed("given up")
            step = self._server.start(wanted, talk, log)
            self._running.add(step)
            return step

    def end(self, step: Step) -> None:
        """End a step with its group, if it still runs, and forget it."""
        with self._lock:
            self._running.discard(step)
        step.end()

    def give_up(self) -> None:
        """End every process that runs now, and let no other start."""
        self._server.kill()  # so that a start that waits for it returns
        with self._lock:
            self._given_up = True
            for step in self._running:
                step.kill()


def run_step(
    wanted: Wanted,
    request: Callable[[], dict[str, Any]],
    log: Path,
    on_event: Report,
    children: Children,
) -> dict[str, Any]:
    """Run a step to its end and return its reply.

    `request` is asked for what the step works on once it has been started, and may take its time.
    Everything the step and its libraries print goes to `log`; its reports go to `on_event`.
    Raises the EdgekitError the step raised, or BuildFailed where the process died; a UserError
    where the disk that holds `log` is full, whatever the library made of it.
    """
    try:
        return _run(wanted, request, log, on_event, children)
    except BuildFailed:
        folder = full_disk(log.parent)
        if folder is not None:
            raise UserError(
                f"no space left on the disk of {folder}: free some, run again"
            ) from None
        raise


def _run(
    wanted: Wanted,
    request: Callable[[], dict[str, Any]],
    log: Path,
    on_event: Report,
    children: Children,
) -> dict[str, Any]:
    reply: dict[str, Any] | None = None
    ours, theirs = socket.socketpair()
    with ours, log.open("ab") as errors, _followed(log, wanted.module.rpartition(".")[2]):
        with theirs:
            step = children.start(wanted, theirs.fileno(), errors.fileno())
        try:
            with suppress(ConnectionError):  # it has died: its exit code says how
                ours.sendall(json.dumps(request()).encode())
                ours.shutdown(socket.SHUT_WR)
            for line in _written(ours):
                if not line.startswith(EVENT.encode()):
                    errors.write(line)
                    continue
                event = json.loads(line[len(EVENT) :])
                if event["event"] == "reply":
                    reply = event["reply"]
                elif event["event"] == "error":
                    raise _error(event)
                else:
                    on_event(event)
            code = step.wait()
        finally:
            children.end(step)
    if reply is None:
        title = wanted.title or f"{wanted.module}'s process"
        raise BuildFailed(f"{title} {_ending(code)}{_last_line(log)}")
    return reply


def _written(talk: socket.socket) -> Iterator[bytes]:
    """Yield the lines a step writes, until it ends, however that is."""
    with talk.makefile("rb") as lines, suppress(ConnectionResetError):  # it died before it read
        yield from lines


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
    if code >= 0:
        return f"ended with exit code {code}"
    told = f"was ended by {signal.Signals(-code).name} (signal {-code})"
    return f"{told}: does the memory suffice?" if code == -signal.SIGKILL else told


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last[:300]}" if last else ""
