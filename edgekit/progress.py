"""Progress: how long work tells whoever started it what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str, str], None]
"""Called with what is worked on (a step, a row, a board) and what happens to it now.

The last text of one that went well is 'done'.
"""


def silent(item: str, text: str) -> None:
    """Say nothing."""
