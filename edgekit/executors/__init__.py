"""Executors: where independent pieces of work run. One file each, named by its scheme.

An executor module offers `open_executor(address, workers) -> Executor`; the address is what
follows `scheme://`, or empty.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast

from edgekit.errors import UserError, did_you_mean

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function on many items, here or elsewhere."""

    here: bool
    """Whether it runs them in this process: they may then show their progress."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield (index of the item, result) as results come, in any order.

        Unless `here`, `function` is one of a module's own and items and results are plain data.
        Raises the error of the function's that comes first; what has not begun then never does.
        """


class _ExecutorModule(Protocol):
    def open_executor(self, address: str, workers: int) -> Executor: ...


def executor_names() -> list[str]:
    """Return the schemes of all executors."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def open_executor(text: str, workers: int) -> Executor:
    """Return the executor `local` (`workers` items at once) or `dask://HOST:PORT`.

    Raises UserError for an unknown scheme or a malformed address.
    """
    scheme, _, address = text.partition("://")
    if scheme not in executor_names():
        raise UserError(did_you_mean("executor", scheme, executor_names()))
    module = cast(_ExecutorModule, importlib.import_module(f"edgekit.executors.{scheme}"))
    return module.open_executor(address, workers)
