"""A predictor's file of fitted numbers: readable JSON, with a schema, whole or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from edgekit.errors import UserError
from edgekit.files import write_whole
from edgekit.json_files import Damaged, read_json


class Stored(Protocol):
    """What is kept in such a file: a frozen dataclass that says of which schema it is."""

    @property
    def schema(self) -> int:
        """The version of its shape."""


Kept = TypeVar("Kept", bound=Stored)


def save(content: Stored, path: Path) -> None:
    """Write the file whole."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def load(path: Path, kind: type[Kept], schema: int, remedy: str) -> Kept:
    """Return the `kind` in `path`. Raises UserError in one line where it is damaged or newer."""
    try:
        found = read_json(path, kind)
    except (OSError, Damaged) as error:
        raise damaged(path, " ".join(str(error).split()), remedy) from None
    if found.schema > schema:
        raise UserError(f"{path} has schema {found.schema}, newer than {schema}: update edgekit")
    return found


def damaged(path: Path, reason: str, remedy: str) -> UserError:
    """Return the error that says what is wrong with the file, and what to do."""
    return UserError(f"{path} is damaged ({reason}): {remedy}")
