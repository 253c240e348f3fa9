"""What a Raspberry Pi 4 tells of itself, as the runner's `probe` prints it and as it is read."""

from __future__ import annotations

from typing import Any

import msgspec

from edgekit.devices.ssh_link.interpreter import Interpreter
from edgekit.targets import DeviceFacts

PROBE: dict[str, Any] = {
    "event": "probe",
    "python": "3.11.2",
    "machine": "aarch64",
    "glibc": "2.36",
    "cpu_model": "0xd08",
    "board": "Raspberry Pi 4 Model B Rev 1.4",
    "cpu_features": ["asimd", "cpuid", "crc32", "evtstrm", "fp"],
    "cores": 4,
    "memory_bytes": 4 * 2**30,
    "os": "Debian GNU/Linux 12 (bookworm)",
    "governor": "ondemand",
    "runtimes": {},
    "clock_mhz": 1500.0,
    "temperature_c": 45.0,
    "throttled": "0x0",
}
PI4 = msgspec.convert(PROBE, DeviceFacts)
PI = Interpreter(
    version="3.11.2",
    machine="aarch64",
    bits=64,
    glibc="2.36",
    kernel="aarch64",
    modalias="",
    parent="/usr/bin/dash",
)
"""What the Python on it tells."""
