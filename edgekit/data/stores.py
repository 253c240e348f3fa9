"""Where a dataset's encoded images are: a folder, or a zip archive read in place."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from edgekit.errors import BadData

MAX_BYTES = 64 * 2**20
"""An image file larger than this is refused unread."""


class ImageStore(Protocol):
    """Files by name; names are relative, with forward slashes."""

    def names(self) -> list[str]:
        """Return the name of every file, sorted."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raises OSError where it is missing, damaged or over MAX_BYTES."""


@dataclass(frozen=True)
class FolderStore:
    """A folder and everything under it."""

    root: Path

    def names(self) -> list[str]:
        """Return the relative path of every file, sorted."""
        files = _files(str(self.root), frozenset())
        return sorted(Path(path).relative_to(self.root).as_posix() for path in files)

    def read(self, name: str) -> bytes:
        """Return a file's bytes; a name that leads out of the folder is an OSError too.

        A link in the folder is followed wherever it leads: the folder's owner has put it there.
        """
        path = self.root / name
        try:
            written = Path(os.path.normpath(path.absolute()))
            if written.is_relative_to(os.path.normpath(self.root.absolute())):
                path = written  # what is read is what was looked at
            elif not path.resolve().is_relative_to(self.root.resolve()):
                raise OSError(f"{name} lies outside {self.root}")
            if not path.is_file():  # opening a pipe would wait for ever
                raise OSError(f"{name} is missing, or no regular file")
        except (ValueError, RuntimeError):  # a zero byte in it; links that lead round in a circle
            raise OSError(f"{name!r} is no file's name") from None
        if path.stat().st_size > MAX_BYTES:
            raise OSError(f"{name} is larger than {MAX_BYTES} bytes")
        return path.read_bytes()


def _files(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Yield every file in a folder and in those inside, linked ones too, but in no circle.

    `above` are the real paths of the folders that it lies in. A folder that may not be read has
    none.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # a link that leads round in a circle
                if entry.is_dir():
                    yield from _files(entry.path, above | {real})
                elif entry.is_file():
                    yield entry.path


@dataclass(frozen=True)
class ZipStore:
    """A zip archive; threads may read it at once. Raises BadData where it is not one."""

    path: Path

    def names(self) -> list[str]:
        """Return the name of every member that is not a folder, sorted."""
        return sorted(name for name in self._archive.namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """Return a member's bytes."""
        try:
            member = self._archive.getinfo(name)
            if member.file_size > MAX_BYTES:
                raise OSError(f"it is larger than {MAX_BYTES} bytes")
            return self._archive.read(member)
        except Exception as error:
            # Encrypted, unknown methods, LZMA and bzip2 streams that break off, wrong checksums:
            # every one of Python's unpackers has errors of its own.
            raise OSError(f"{name} cannot be read from {self.path}: {error}") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:  # a damaged directory raises whatever its fields lead to
            raise BadData(
                f"{self.path} is no folder and no readable zip archive ({error}): give a folder, "
                "or fetch the archive again"
            ) from error
