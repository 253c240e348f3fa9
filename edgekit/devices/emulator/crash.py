"""Names the instruction a board's CPU does not have.

The program is run again: once with QEMU's system call trace, which prints the address of the
illegal instruction and every file mapped, once more with QEMU's log of the code at that address.
The emulated address space is the same on every run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Extensions of the A64 instruction set that boards differ in, by encoding: (mask, value,
# mnemonics, extension). Arm Architecture Reference Manual for A-profile, C4.1.
_EXTENSIONS: tuple[tuple[int, int, str, str], ...] = (
    (0xBF20FC00, 0x0E009400, "sdot", "dot product (asimddp)"),
    (0xBF20FC00, 0x2E009400, "udot", "dot product (asimddp)"),
    (0xBF00F400, 0x0F00E000, "sdot", "dot product (asimddp)"),
    (0xBF00F400, 0x2F00E000, "udot", "dot product (asimddp)"),
    (0xBFE0FC00, 0x0E809C00, "usdot", "8-bit matrix product (i8mm)"),
    (0xBF00F400, 0x0F00F000, "usdot, sudot or bfdot", "8-bit matrix or bfloat16 (i8mm, bf16)"),
    (0xFFE0FC00, 0x4E80A400, "smmla", "8-bit matrix product (i8mm)"),
    (0xFFE0FC00, 0x6E80A400, "ummla", "8-bit matrix product (i8mm)"),
    (0xFFE0FC00, 0x4E80AC00, "usmmla", "8-bit matrix product (i8mm)"),
    (0xBFE0FC00, 0x2E40FC00, "bfdot", "bfloat16 (bf16)"),
    (0xFFE0FC00, 0x6E40EC00, "bfmmla", "bfloat16 (bf16)"),
    (0xBFE0FC00, 0x2EC0FC00, "bfmlal", "bfloat16 (bf16)"),
    (0xBFA0FC00, 0x0E20EC00, "fmlal or fmlsl", "half-precision multiply-add (asimdfhm)"),
    (0xBF60C400, 0x0E400400, "a half-precision vector instruction", "half precision (asimdhp)"),
    (0xBF60C400, 0x2E400400, "a half-precision vector instruction", "half precision (asimdhp)"),
    (0xBF7E0C00, 0x0E780800, "a half-precision vector instruction", "half precision (asimdhp)"),
    (0xBFC08400, 0x0F000000, "a half-precision vector instruction", "half precision (asimdhp)"),
    (0xFFE00C00, 0x1EE00800, "a half-precision scalar instruction", "half precision (fphp)"),
    (0xBF20F400, 0x2E008400, "sqrdmlah or sqrdmlsh", "rounding multiply-add (asimdrdm)"),
    (0x3F200C00, 0x38200000, "an atomic instruction", "large system extensions (atomics)"),
    (0x3FA07C00, 0x08A07C00, "cas", "large system extensions (atomics)"),
    (0x3FFFFC00, 0x38BFC000, "ldapr", "acquire loads (lrcpc)"),
    (0xFF3E0C00, 0x4E280800, "an AES or SHA instruction", "cryptography (aes, sha1, sha2)"),
    (0x1E000000, 0x04000000, "an SVE instruction", "scalable vectors (sve)"),
)
_MMAP = re.compile(r"mmap\([^,]*,(\d+),[^,]*,[^,]*,(-?\d+),(?:0x)?([0-9a-f]+)\) = 0x([0-9a-f]+)")
_OPEN = re.compile(r'openat\([^,]*,"([^"]*)".*\) = (\d+)$')


@dataclass(frozen=True)
class Crash:
    """An instruction the CPU does not have: where it was and what it is.

    `word` is the 32-bit encoding, or None where the log did not show it; `file` the mapped file
    it is in, or '' for code made at run time.
    """

    address: int
    word: int | None
    file: str

    @property
    def instruction(self) -> str:
        """The instruction and the extension it belongs to, as far as the encoding tells."""
        return "an instruction of unknown encoding" if self.word is None else name_of(self.word)

    def __str__(self) -> str:
        code = "" if self.word is None else f" (0x{self.word:08x})"
        where = f" in {Path(self.file).name}" if self.file else ""
        return f"illegal instruction at 0x{self.address:x}{where}: {self.instruction}{code}"


def name_of(word: int) -> str:
    """Return what a 32-bit A64 encoding is, and the extension it needs, where it is known."""
    for mask, value, name, extension in _EXTENSIONS:
        if word & mask == value:
            return f"{name}, of {extension}"
    return "not an instruction of a later extension edgekit knows"


def explain(run_again: Callable[[Sequence[str]], object]) -> Crash | None:
    """Return the illegal instruction a program dies of, or None where it does not die again.

    `run_again` runs the program once more with the QEMU options it is given.
    """
    with tempfile.TemporaryDirectory() as logs:
        trace, code = Path(logs) / "trace", Path(logs) / "code"
        run_again(["-strace", "-D", str(trace)])
        lines = trace.read_text(errors="replace").splitlines() if trace.exists() else []
        found = re.search(r"SIGILL .*si_addr=0x([0-9a-f]+)", "\n".join(lines[-20:]))
        if not found:
            return None
        address = int(found[1], 16)
        # A translated block lies in one page, and is logged by the address it begins at.
        page = address & ~0xFFF
        run_again(["-d", "in_asm", "-dfilter", f"0x{page:x}+0x1000", "-D", str(code)])
        text = code.read_text(errors="replace") if code.exists() else ""
        words = re.findall(rf"^0x0*{address:x}:\s+([0-9a-f]{{8}})", text, re.MULTILINE)
        return Crash(address, int(words[-1], 16) if words else None, _mapped(lines, address))


def _mapped(lines: Sequence[str], address: int) -> str:
    """Return the file that a system call trace shows mapped at `address`, or ''."""
    opened: dict[str, str] = {}
    mapped = ""
    for line in lines:
        if match := _OPEN.search(line):
            opened[match[2]] = match[1]
        elif match := _MMAP.search(line):
            start = int(match[4], 16)
            if start <= address < start + int(match[1]):
                mapped = opened.get(match[2], "")
    return mapped
