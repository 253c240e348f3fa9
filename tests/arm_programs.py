"""ARM programs of a few instructions, and the emulator that runs them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from edgekit.devices.emulator.sysroot import Sysroot

SDOT = 0x4E829420  # sdot v0.4s, v1.16b, v2.16b: not in Armv8.0
RETURN = 0xD65F03C0
MARK = (0xD28015A8, 0xD4000001)  # mov x8, 173; svc 0


def program(*words: int) -> bytes:
    """Return a static aarch64 ELF program that runs `words` and then exits with 0."""
    code = [*words, 0xD2800000, 0xD2800BA8, 0xD4000001]  # mov x0, 0; mov x8, 93; svc 0
    size, base = 120 + 4 * len(code), 0x400000
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + struct.pack(f"<{len(code)}I", *code)


def run_program(rpi4: Sysroot, cpu: str, elf: Path, *options: str) -> int:
    command = [*rpi4.qemu.command, *options, "-cpu", cpu, str(elf)]
    return subprocess.run(command, capture_output=True, cwd=elf.parent).returncode
