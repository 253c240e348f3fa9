"""Devices: how a target is reached. One file each, named by its scheme: `local`, `virtual`, `ssh`.

A device module offers `open_device(address, target) -> Device`; the address is what follows
`scheme://`, or empty. Every device has a work folder of its own and names its files relative to it.
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from edgekit.errors import BadTarget, DeviceError, did_you_mean

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.targets import DeviceFacts, Target

RUNNER = "runner.py"
PROBE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
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

    def run(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        """Run the device's Python with `arguments` in the work folder.

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
        self._temporary = tempfile.TemporaryDirectory(prefix="edgekit-")
        self.path = Path(self._temporary.name).resolve()

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
        self._temporary.cleanup()

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


class _DeviceModule(Protocol):
    def open_device(self, address: str, target: Target) -> Device: ...


def device_names() -> list[str]:
    """Return the schemes of all devices."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def open_device(text: str, target: Target) -> Device:
    """Return the device `local`, `virtual` or `ssh://user@host`, opened for `target`.

    Raises BadTarget for an unknown scheme, DeviceError where the device cannot be had.
    """
    scheme, _, address = text.partition("://")
    if scheme not in device_names():
        raise BadTarget(did_you_mean("device", scheme, device_names()))
    module = cast(_DeviceModule, importlib.import_module(f"edgekit.devices.{scheme}"))
    return module.open_device(address, target)


def put_runner(device: Device) -> None:
    """Put the runner on the device and read its hash back. Raises DeviceError where they differ."""
    put_program(device, RUNNER)


def put_program(device: Device, name: str) -> None:
    """Put one of our own files that run on a board, as put_runner does."""
    from edgekit.shelf import PACKAGE

    _put_checked(device, PACKAGE / name, name)


def put_artifact(device: Device, artifact: Artifact, name: str) -> None:
    """Put an artifact's folder at `name` and compare every file's hash, as read back.

    Raises DeviceError where what arrived is not what was sent.
    """
    from edgekit.artifact import MANIFEST

    for file in artifact.manifest.files:
        _put_checked(device, artifact.folder / file.name, f"{name}/{file.name}", file.sha256)
    _put_checked(device, artifact.folder / MANIFEST, f"{name}/{MANIFEST}")


def _put_checked(device: Device, source: Path, name: str, expected: str = "") -> None:
    from edgekit.files import sha256

    device.put(source, name)
    if device.sha256(name) != (expected or sha256(source)):
        raise DeviceError(
            f"{name} arrived damaged on {device.name}: check its disk, then try again"
        )


def run_job(
    device: Device,
    job: Mapping[str, Any],
    *,
    timeout: float,
    program: Sequence[str] = (RUNNER,),
) -> list[dict[str, Any]]:
    """Run one job of the runner's and return its events: the JSON objects with an `event`.

    What libraries print between them is passed over. Raises DeviceError with the runner's own
    words where the job failed, or with the last line of standard error where the runner died.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-job-") as scratch:
        file = Path(scratch) / "job.json"
        file.write_text(json.dumps(job))
        device.put(file, "job.json")
    completed = device.run([*program, "job.json"], timeout=timeout)
    objects = [_object(line) for line in completed.stdout.splitlines()]
    for item in objects:
        if "error" in item:
            words = f"{device.name}: {item.get('kind', 'error')}: {item['error']}"
            if item.get("kind") == "ModuleNotFoundError" and device.name.startswith("ssh://"):
                words += f": edgekit device provision {device.name}"
            raise DeviceError(words)
    events = [item for item in objects if "event" in item]
    if completed.exit_code or not events:
        last = completed.stderr.decode(errors="replace").strip().splitlines()[-1:]
        ending = f"signal {-completed.exit_code}" if completed.exit_code < 0 else "no result"
        raise DeviceError(f"{device.name}: the runner ended with {ending}: {''.join(last)}")
    return events


def _object(line: bytes) -> dict[str, Any]:
    """Return the JSON object a line holds, or an empty one."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def probe(device: Device) -> DeviceFacts:
    """Return what the device reports of itself; the runner must be there. Raises DeviceError."""
    import msgspec

    from edgekit.targets import DeviceFacts

    event = run_job(device, {"task": "probe"}, timeout=PROBE_TIMEOUT_S)[-1]
    try:
        return msgspec.convert(event, DeviceFacts)
    except msgspec.ValidationError as error:
        raise DeviceError(f"{device.name} reports itself wrongly: {error}") from None
