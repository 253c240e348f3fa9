"""An artifact laid out on a device: put, run one job, read its events."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.devices import Device
from edgekit.errors import DeviceError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.targets import DeviceFacts


RUNNER = "runner.py"


PROBE_TIMEOUT_S = 120.0


def put_runner(device: Device) -> None:
    """Put the runner on the device and read its hash back. Raises DeviceError where they differ."""
    put_program(device, RUNNER)


def put_program(device: Device, name: str) -> None:
    """Put one of our own files that run on a board, as put_runner does."""
    from edgekit.paths import ONBOARD

    _put_checked(device, ONBOARD / name, name)


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
