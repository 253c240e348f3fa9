"""This process: one item after the other, or some at once in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from edgekit.errors import UserError
from edgekit.executors import Item, Result


class LocalExecutor:
    """Runs `workers` items at once, each in a thread; one alone in the caller's own."""

    here = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index, result) as they come."""
        if self.workers == 1:
            for index, item in enumerate(items):
                yield index, function(item)
            return
        pool = ThreadPoolExecutor(self.workers)
        try:
            futures = {pool.submit(function, item): index for index, item in enumerate(items)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            # Not waited for: after Ctrl-C whoever called ends what his items still run.
            pool.shutdown(wait=False, cancel_futures=True)


def open_executor(address: str, workers: int) -> LocalExecutor:
    """Return this process; it has no address."""
    if address:
        raise UserError(f"local://{address}: local has no address: say local, or dask://HOST:PORT")
    return LocalExecutor(workers)
