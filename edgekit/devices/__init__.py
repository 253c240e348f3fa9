"""Devices: how a target is reached. One file each, named by its scheme: `local`, `virtual`, `ssh`.

A device module offers `open_device(address, target) -> Device`; the address is what follows
`scheme://`, or empty. Every device has a work folder of its own and names its files relative to it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from edgekit.devices._protocol import Completed, Device, WorkFolder, stays_inside
from edgekit.errors import BadTarget, did_you_mean

if TYPE_CHECKING:
    from edgekit.targets import Target

__all__ = ["Completed", "Device", "WorkFolder", "device_names", "open_device", "stays_inside"]


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
