"""What a device is, and a work folder for those that are folders of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from edgekit.errors import DeviceError
from edgekit.runtimes.table import Environment
from edgekit.scratch import Scratch


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a program on a device ended.

    `exit_code` is negative for a signal. `seconds` is the host's clock: for time limits, never
    shown as a latency.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Device(Protocol):
    """A place that runs Python programs: this machine, a board over SSH, an emulated board."""

    name: str
    """`local`, `virtual:rpi4`, `ssh://pi@host`."""
    provenance: Literal["measured", "emulated"]
    """Whether its clock means anything."""

    def put(self, source: Path, name: str) -> None:
        """Copy a file or folder to `name` in the work folder."""

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of the file `name`, read back from the device."""

    def run(
        self, arguments: Sequence[str], *, timeout: float, environment: Environment = "main"
    ) -> Completed:
        """Run the device's Python with `arguments` in the work folder.

        `environment` says which of a board's sets of packages comes first.

        Raises DeviceTimeout after `timeout` seconds, with the whole process group ended.
        """

    def fetch(self, name: str, target: Path) -> None:
        """Copy the file or folder `name` to `target`."""

    def close(self) -> None:
        """Remove the work folder and let the device go."""


class WorkFolder:
    """A device's work folder where that is a folder of this machine: put, sha256, fetch, close."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._scratch = Scratch()
        self.path = self._scratch.path

    def put(self, source: Path, name: str) -> None:
        """Copy a file or folder to `name`.

        Never by hard links: a program that writes to its copy would change the user's file.
        """
        place = self._inside(name)
        with self._said(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, place)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of the file `name`."""
        from edgekit.files import sha256

        path = self.existing(name)
        with self._said(name):
            return sha256(path)

    def fetch(self, name: str, target: Path) -> None:
        """Copy the file or folder `name` to `target`, which appears whole or not at all."""
        from edgekit.files import folder_whole, write_whole

        source = self.existing(name)
        for path in source.rglob("*"):  # what a program left there is not trusted
            self.existing(str(path.relative_to(self.path)))
        with self._said(name):
            if source.is_dir():
                with folder_whole(target, force=True) as aside:
                    _copy(source, aside)
            else:
                write_whole(target, source.read_bytes())

    def close(self) -> None:
        """Remove the folder."""
        self._scratch.close()

    def existing(self, name: str) -> Path:
        """Return the path of `name`; DeviceError where it is missing or a link leads outside."""
        path = self._inside(name)
        # A pipe or a device file is 'missing' too: reading one may never end.
        if not path.is_file() and not path.is_dir():
            raise DeviceError(f"{self._device} has no {name!r}: it was not put, or not written")
        return path

    def _inside(self, name: str) -> Path:
        path = self.path / PurePosixPath(name)
        if not stays_inside(name) or not self._leads_inside(path):
            raise DeviceError(f"{name!r} is outside the work folder of {self._device}")
        return path

    def _leads_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.path)
        except (OSError, RuntimeError):  # links in a circle: RuntimeError before Python 3.13
            return False

    @contextmanager
    def _said(self, name: str) -> Iterator[None]:
        """Turn a file system's refusal into one line that names the file."""
        try:
            yield
        except (OSError, shutil.Error) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "some files cannot be read"
            raise DeviceError(f"{self._device}: {name!r} cannot be copied: {reason}") from None


def stays_inside(name: str) -> bool:
    """Tell whether the words of a relative name stay in its folder; links are another matter."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name)


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place, copy_function=shutil.copyfile, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)
