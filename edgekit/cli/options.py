"""Options that several commands share, worded once."""

from __future__ import annotations

from typing import Annotated

import typer

Wide = Annotated[bool, typer.Option("--wide", help="Print all columns.")]
