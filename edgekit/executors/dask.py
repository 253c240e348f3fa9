"""Workers of a Dask scheduler: `dask://HOST:PORT`, or `dask://tls://HOST:PORT`.

Dask sends code: whoever reaches the scheduler can run anything on every worker, and a worker can
run anything in its clients. Keep all of it on a private network, or behind TLS with certificates
of your own (Dask's `distributed.comm.tls` settings; this process reads them too).

A task carries the name of an edgekit function and a frozen dataclass, and so does its answer. Paths
in it must lead to the same files on every machine.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from edgekit.errors import EdgekitError, MissingPackage, UserError, error_of
from edgekit.executors import Item, Result
from edgekit.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

ADDRESS = re.compile(r"((tcp|tls)://)?([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
CONNECT_S = 15.0
PATIENCE_S = 30.0
"""So long no worker at all may be there before a run is given up; results are saved by then."""


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """What comes back: a result, or an error of edgekit's by its class name and message."""

    result: Result | None
    error: str = ""
    message: str = ""


def perform(function: Callable[[Item], Result], version: str, item: Item) -> Answer[Result]:
    """Do one task, on a worker. An expected error is an answer: trying again would not help."""
    try:
        if version != __version__:
            raise UserError(
                f"a Dask worker has edgekit {__version__} and you have {version}: "
                "install the same on all"
            )
        return Answer(function(item))
    except EdgekitError as error:
        return Answer(None, type(error).__name__, str(error))


class DaskExecutor:
    """A scheduler's workers, as many as there are. Work of one that dies goes to another."""

    here = False

    def __init__(self, address: str) -> None:
        self.address = address if "://" in address else f"tcp://{address}"

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index, result) as they come.

        Raises UserError where nobody answers, EdgekitError where all workers are gone for
        PATIENCE_S or one task ended several of them.
        """
        with self._client() as client:
            # Not pure: the same work asked for again is done again, never taken from a memory.
            left: dict[Future[Answer[Result]], int] = {
                client.submit(perform, function, __version__, item, pure=False): index
                for index, item in enumerate(items)
            }
            try:
                while left:
                    for future in self._ended(client, list(left)):
                        answer = self._answer(future)
                        if answer.error:
                            raise error_of(answer.error, answer.message) or EdgekitError(
                                answer.message
                            )
                        yield left.pop(future), answer.result  # type: ignore[misc]
            finally:
                client.cancel(list(left))

    def _client(self) -> Client:
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise MissingPackage("distributed", "dask") from error
        # Its own words on a lost connection are many; ours is one line.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            return Client(self.address, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
        except (OSError, TypeError, ValueError) as error:  # the latter two: TLS settings
            reason = " ".join(str(error).split())
            raise UserError(
                f"no Dask scheduler answers at {self.address} ({reason}): "
                "start one with `dask scheduler`, workers with `dask worker --nthreads 1`"
            ) from None

    def _ended(self, client: Client, futures: Sequence[Future[Any]]) -> set[Future[Any]]:
        """Wait for some to end and return those; EdgekitError where there is nobody to do them."""
        from distributed import CancelledError, wait

        alone = False
        while True:
            try:
                ended: set[Future[Any]] = wait(  # type: ignore[no-untyped-call]
                    futures, timeout=PATIENCE_S, return_when="FIRST_COMPLETED"
                ).done
                return ended
            except CancelledError:
                raise self._lost() from None
            except TimeoutError:
                nobody = not client.scheduler_info(n_workers=-1)["workers"]
            if nobody and alone:
                raise EdgekitError(
                    f"{self.address} has had no worker for {PATIENCE_S:g} s: start some with "
                    "`dask worker --nthreads 1` and run again; it goes on where it was"
                )
            alone = nobody

    def _answer(self, future: Future[Answer[Result]]) -> Answer[Result]:
        from distributed import CancelledError

        try:
            answer: Answer[Result] = future.result()
        except CancelledError:
            raise self._lost() from None
        except Exception as error:  # the function's own bug, or KilledWorker
            reason = " ".join(str(error).split())[:300]
            raise EdgekitError(
                f"on {self.address}: {type(error).__name__}: {reason}; what was done is kept"
            ) from error
        return answer

    def _lost(self) -> EdgekitError:
        return EdgekitError(
            f"{self.address} was lost: start it and run again; it goes on where it was"
        )


def open_executor(address: str, workers: int) -> DaskExecutor:
    """Return the workers of the scheduler at `HOST:PORT`; the scheduler knows how many."""
    if not ADDRESS.fullmatch(address):
        raise UserError(
            f"dask://{address}: give dask://HOST:PORT, for example dask://10.0.0.1:8786"
        )
    return DaskExecutor(address)
