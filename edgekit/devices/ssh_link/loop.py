"""One event loop in one background thread, so that SSH is synchronous for the rest of edgekit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

CLEAN_UP_S = 15.0
"""What interrupted work may take to end its remote program before it is left."""

_starting = threading.Lock()
_awaited: set[Future[Any]] = set()


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in the background and return what it returns, or raise what it raises.

    An interruption of the waiting thread (Ctrl-C) cancels the work and waits for it to clean up.
    """
    ended = threading.Event()

    async def whole() -> T:
        try:
            return await work
        finally:
            ended.set()

    with _starting:
        loop = _loop()
    future = asyncio.run_coroutine_threadsafe(whole(), loop)
    _awaited.add(future)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            ended.wait(CLEAN_UP_S)
        raise
    finally:
        _awaited.discard(future)


def give_up() -> None:
    """Cancel what any thread waits for now: Ctrl-C reaches the main thread only."""
    for future in list(_awaited):
        future.cancel()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="edgekit-ssh", daemon=True).start()
    return loop
