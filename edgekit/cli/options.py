"""Options that several commands share, worded once."""

from __future__ import annotations

from typing import Annotated

import typer

Wide = Annotated[bool, typer.Option("--wide", help="Print all columns.")]


def words(values: list[str]) -> list[str]:
    """Return the words of an option that may be repeated, or have its words between commas."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]
