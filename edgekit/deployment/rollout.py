"""Carries one action out on many boards: canaries first, a few at a time, no further when it fails.

The same call again goes on with the boards that are missing: an action that finds its work done
says so at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgekit.deployment.inventory import Host
from edgekit.devices.ssh_link.loop import give_up
from edgekit.errors import EdgekitError, UserError
from edgekit.progress import Say, silent
from edgekit.unexpected import report

T = TypeVar("T")

Action = Callable[[Host, Say], T]
"""What to do on one board; it calls Say at each step and may be ended there."""

AT_ONCE = 8
AGAIN_S = 5.0
"""What an interrupted board may take to clean up before it is given up again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How carefully: `canary` boards go first and must all succeed; `at_once` run together.

    No further board is begun once more than `max_failures` of all (a share, 0 to 1) have failed.
    """

    canary: int = 0
    at_once: int = AT_ONCE
    max_failures: float = 0.1

    def __post_init__(self) -> None:
        if self.canary < 0 or self.at_once < 1:
            raise UserError("a rollout needs a canary of 0 or more, and 1 or more boards at once")
        if not (math.isfinite(self.max_failures) and 0 <= self.max_failures <= 1):
            raise UserError(f"--max-failures {self.max_failures}: give a share from 0 to 1")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How it went on one board: a result, or an error, or neither where it was not begun."""

    host: Host
    result: T | None = None
    error: str | None = None


def roll_out(
    hosts: Sequence[Host], action: Action[T], plan: Plan, say: Say = silent
) -> list[Outcome[T]]:
    """Return every board's outcome, in the order of `hosts`; an error is one board's own.

    One that nobody expected is too: the others must not wait for us to mend it.
    """
    stopped = threading.Event()

    def on_one(host: Host) -> Outcome[T]:
        try:
            return Outcome(host, action(host, _until(stopped, say)))
        except EdgekitError as error:
            return failed(host, str(error))
        except Exception as error:
            return failed(host, f"{host.address}: {report(error)}")

    def failed(host: Host, error: str) -> Outcome[T]:
        say(str(host.address), f"failed: {error}")
        return Outcome(host, error=error)

    done: dict[Host, Outcome[T]] = {}
    running: set[Future[Outcome[T]]] = set()
    allowed = math.floor(plan.max_failures * len(hosts))
    canaries, others = hosts[: plan.canary], hosts[plan.canary :]
    with ThreadPoolExecutor(plan.at_once, "edgekit-board") as pool:
        try:
            _carry_out(pool, plan.at_once, canaries, on_one, done, running, 0)
            if not any(outcome.error for outcome in done.values()):
                _carry_out(pool, plan.at_once, others, on_one, done, running, allowed)
        except BaseException:
            stopped.set()  # Ctrl-C: what runs ends now, and what it began is undone on its board
            while running:  # a board may have been between two answers when it was given up
                give_up()
                running -= wait(running, timeout=AGAIN_S).done
            raise
    return [done.get(host, Outcome(host)) for host in hosts]


def _carry_out(
    pool: ThreadPoolExecutor,
    at_once: int,
    hosts: Sequence[Host],
    on_one: Callable[[Host], Outcome[T]],
    done: dict[Host, Outcome[T]],
    running: set[Future[Outcome[T]]],
    allowed: int,
) -> None:
    """Fill `done`; begin no further board once more than `allowed` have failed.

    `running` is kept true, for whoever has to end what runs.
    """
    waiting = list(hosts)
    while waiting or running:
        failed = sum(outcome.error is not None for outcome in done.values())
        if failed > allowed:
            waiting.clear()
        while waiting and len(running) < at_once:
            running.add(pool.submit(on_one, waiting.pop(0)))
        finished = wait(running, return_when=FIRST_COMPLETED).done
        running -= finished
        for future in finished:
            outcome = future.result()
            done[outcome.host] = outcome


def _until(stopped: threading.Event, say: Say) -> Say:
    def checked(board: str, step: str) -> None:
        say(board, step)
        if stopped.is_set():
            raise EdgekitError(f"{board}: interrupted at {step}")

    return checked
