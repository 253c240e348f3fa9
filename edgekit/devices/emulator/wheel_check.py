"""Says which locked and given wheels fit a board, and which died on its emulated CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.devices.emulator.profile import Board
from edgekit.errors import DeviceError
from edgekit.runtimes.locks import Lock
from edgekit.runtimes.wheel_fit import Fit, fit

if TYPE_CHECKING:
    from edgekit.devices.emulator.sysroot import Record


def check(
    board: Board, lock: Lock, record: Record | None = None, wheels: Sequence[str] = ()
) -> tuple[Fit, ...]:
    """Return how every locked wheel, and then each of `wheels`, fits a board.

    `wheels` are file names, or requirements (`name==version`) that pip looks up in the user's
    index. With the `record` of the installed virtual board, what died there does not fit.
    """
    tried = {item.runtime: item.error for item in record.runtimes} if record else {}
    answers = []
    for wheel in lock.wheels:
        answer = fit(wheel.file, board.python, board.glibc)
        if wheel.name in tried:
            died = (tried[wheel.name],) if tried[wheel.name] else ()
            answer = Fit(
                wheel=wheel.file,
                fits=answer.fits and not died,
                reasons=(*answer.reasons, *died),
                tried=True,
            )
        answers.append(answer)
    return (*answers, *(_given(text, board) for text in wheels))


def _given(text: str, board: Board) -> Fit:
    """Return how a wheel's file name or a requirement fits."""
    if text.endswith(".whl"):
        return fit(text.rpartition("/")[2], board.python, board.glibc)
    from edgekit.runtimes.wheels import find

    try:
        return Fit(wheel=find(text, board.python, board.glibc), fits=True, reasons=())
    except DeviceError as error:
        return Fit(wheel=text, fits=False, reasons=(str(error),))
