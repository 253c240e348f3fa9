"""Exact instructions per inference, counted by a plugin in the emulator.

The count of an inference is the difference of two readings within one run, taken at the marks
around it (marked.py): loading is not in it, and it is the same number run after run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.emulator.qemu import Qemu
from edgekit.errors import DeviceError

_SOURCE = Path(__file__).with_name("plugin.c")


@dataclass(frozen=True, kw_only=True)
class InstructionCount:
    """The aarch64 instructions of one inference, on one thread, by kind.

    `vector_mac`: vector multiply-accumulates (mla, fmla, smlal, sdot, …); `load_store`: every load
    and store; `other`: the rest. All are those of the cheapest of `inferences`, without the first,
    which sets things up: what repeats exactly. Now and then one costs a per cent or two more (seen
    in onnxruntime, whose arithmetic stays the same); `spread`, (largest − smallest) / smallest of
    the totals, shows it.
    """

    per_inference: int
    vector_mac: int
    load_store: int
    other: int
    inferences: int
    spread: float


@dataclass(frozen=True, kw_only=True)
class Block:
    """A straight run of instructions: its 32-bit words and how often it ran per inference.

    `fetched` is empty, or the 64-byte lines per inference that each simulated cache level had to
    fetch for it, nearest first; `written_back` are the written lines that each gave back.
    """

    address: int
    code: bytes
    executions: float
    fetched: tuple[float, ...] = ()
    written_back: tuple[float, ...] = ()


@dataclass(frozen=True)
class Look:
    """A program's look at the clock within an inference: instructions executed until then, and
    the time, in seconds, of the emulator's machine."""

    instructions: int
    seconds: float


@dataclass(frozen=True)
class Cache:
    """One level of data cache to simulate: its size in bytes and its ways."""

    bytes: int
    ways: int


def plugin(qemu: Qemu, folder: Path) -> Path:
    """Return the counting plugin, compiled into `folder` at first use.

    Raises DeviceError where there is no C compiler, or a QEMU without plugins.
    """
    if not qemu.plugins:
        raise DeviceError(
            f"QEMU {qemu.version} was built without plugins: instructions are not counted"
        )
    path = folder / f"{plugin_name()}.so"
    if path.is_file():
        return path
    compiler = shutil.which("cc")
    if compiler is None:
        raise DeviceError(
            "no C compiler (cc) to build the counting plugin with: instructions are not counted; "
            "install gcc or clang"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        built = Path(aside) / path.name
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-shared", "-fPIC"]
        answer = subprocess.run(
            [compiler, *flags, "-o", str(built), str(_SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[0]
            raise DeviceError(f"the counting plugin did not compile: {reason}")
        built.replace(path)
    return path


def plugin_name() -> str:
    """Return the name of the plugin of this source, compiled or not: counts are kept under it."""
    return f"plugin-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}"


def options(
    plugin_path: Path,
    counts: Path,
    blocks: Path | None = None,
    caches: Sequence[Cache] = (),
    clock: Path | None = None,
    first: bool = False,
) -> list[str]:
    """Return the QEMU options that count into `counts`, code blocks into `blocks`, and looks at
    the clock into `clock`.

    `caches`, nearest first and at most three, are simulated on the run's own addresses; it then
    takes up to twice as long. `first`: the first inference's blocks are counted too.
    """
    kept = f",blocks={blocks}" if blocks else ""
    kept += f",clock={clock}" if clock else ""
    levels = "/".join(f"{cache.bytes}:{cache.ways}" for cache in caches)
    kept += f",caches={levels}" if levels else ""
    kept += ",first=1" if first else ""
    return ["-plugin", f"{plugin_path},out={counts}{kept}"]


def read_totals(path: Path) -> list[int]:
    """Return the instructions between each pair of marks, the first with what it sets up."""
    return [row[0] for row in _rows(path)]


def read_looks(path: Path) -> list[list[Look]]:
    """Return the looks at the clock between each pair of marks that had any, in order.

    They are of the thread that looked most often: one that only waits looks now and then, too.
    """
    pairs: dict[int, dict[int, list[Look]]] = {}
    for pair, thread, instructions, nanoseconds in _rows(path):
        looks = pairs.setdefault(pair, {}).setdefault(thread, [])
        looks.append(Look(instructions, nanoseconds * 1e-9))
    return [max(threads.values(), key=len) for threads in pairs.values()]


def _rows(path: Path) -> list[list[int]]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return [[int(value) for value in line.split()] for line in lines]


def read_counts(path: Path) -> InstructionCount:
    """Return what the plugin counted; raises DeviceError for fewer than two inferences.

    One line per inference: instructions, vector multiply-accumulates, loads and stores, blocks.
    """
    rows = _rows(path)[1:]
    if not rows:
        raise DeviceError("the counting plugin saw fewer than two inferences: nothing to count")
    totals = [row[0] for row in rows]
    total, macs, memory = min(rows)[:3]
    spread = (max(totals) - total) / total
    return InstructionCount(
        per_inference=total,
        vector_mac=macs,
        load_store=memory,
        other=total - macs - memory,
        inferences=len(rows),
        spread=spread,
    )


def read_blocks(path: Path, inferences: int) -> tuple[Block, ...]:
    """Return the code that ran, the block with the most instructions executed first."""
    blocks = []
    for line in path.read_text().splitlines():
        count, address, words, *lines = line.split()
        code = b"".join(
            int(words[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(words), 8)
        )
        traffic = tuple(int(value) / inferences for value in lines)
        where, executions = int(address, 16), int(count) / inferences
        blocks.append(
            Block(
                address=where,
                code=code,
                executions=executions,
                fetched=traffic[::2],
                written_back=traffic[1::2],
            )
        )
    return tuple(sorted(blocks, key=lambda b: -len(b.code) * b.executions))
