"""Runs one ARM program on the emulated CPU, under a time limit and the board's memory.

Memory is limited the way a board does it: not by what a program asks for (Linux grants that), but
by what it touches. RLIMIT_AS and RLIMIT_DATA count reservations, the emulator's own among them, so
the process is watched instead and ended above the limit, as a board's kernel would.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgekit.devices.emulator.crash import Crash, explain
from edgekit.errors import DeviceError, DeviceTimeout
from edgekit.runtimes.table import Environment, Runtime
from edgekit.scratch import leashed, scratch_folder

if TYPE_CHECKING:
    from edgekit.devices.emulator.sysroot import Sysroot

_POLL_S = (0.02, 0.1)
_LOOK_S = (0.2, 5.0)
"""The pauses between polls and between looks at the memory: the first number in a short run, a
tenth of the time so far in a longer one, at most the second. A look takes 3 ms of a core; the end
of a program is seen at once."""
_MAX_OUTPUT_BYTES = 64 * 1024 * 1024
# QEMU places the guest below this address and itself above (its own mappings are the host
# loader's, near the top of 47 bits; aarch64 guests begin at 0x5500000000).
_GUEST_END = 1 << 44

_NEEDED = "import numpy, PIL.Image, PIL.ImageOps, PIL.JpegImagePlugin, PIL.PngImagePlugin"
_IMPORT_EACH = f"""
import os, sys
{_NEEDED}

def fork(module):
    child = os.fork()
    if child:
        return child
    try:
        __import__(module)
    except BaseException:
        os._exit(1)
    os._exit(0)

for child in [fork(module) for module in sys.argv[1:]]:
    print(os.waitpid(child, 0)[1])
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program on the emulated CPU ended.

    `exit_code` is negative for a signal. `seconds` is the host's clock, for time limits only.
    `peak_memory_bytes` is the guest's own, without the emulator's. `crash` names an illegal
    instruction; `out_of_memory` says that the board's memory was too small.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    peak_memory_bytes: int
    crash: Crash | None = None
    out_of_memory: bool = False


def run(
    sysroot: Sysroot,
    arguments: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    environment: Environment = "main",
    options: Sequence[str] = (),
    may_compile: bool = False,
) -> Ended:
    """Run the board's Python with `arguments` in `folder` and return how it ended.

    `options` go to QEMU; with `may_compile` Python may leave its compiled modules in the sysroot.
    Raises DeviceTimeout after `timeout` seconds and DeviceError for a program that floods its
    output; either way its whole process group is gone.
    """
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": sysroot.search_path(environment),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        **({} if may_compile else {"PYTHONDONTWRITEBYTECODE": "1"}),
        # NumPy's own thread pool; the runtimes are told their threads by the job.
        "OPENBLAS_NUM_THREADS": "1",
    }
    program = [str(sysroot.python), *arguments]

    def once(options: Sequence[str]) -> Ended:
        command = [*emulate(sysroot, options), *program]
        return _watch(command, folder, variables, timeout, sysroot)

    ended = once(options)
    if ended.exit_code != -signal.SIGILL:
        return ended
    return replace(ended, crash=explain(once))


def emulate(sysroot: Sysroot, options: Sequence[str] = ()) -> list[str]:
    """Return the command that emulates the board's CPU; the program's path follows."""
    board = sysroot.board
    return [
        *sysroot.qemu.command,
        *options,
        *("-cpu", board.qemu_cpu, "-seed", "1", "-L", str(sysroot.folder)),
    ]


def try_runtimes(
    sysroot: Sysroot, environment: Environment, runtimes: Sequence[Runtime]
) -> list[str]:
    """Import an environment's runtimes, and what the runner needs; return '' or why each died.

    They are forks of one Python that has imported what they all need: most of a start. One that
    fails is imported again alone, which tells why.
    """

    def imported(code: str, *modules: str) -> Ended:
        with scratch_folder() as folder:
            return run(
                sysroot,
                ["-c", code, *modules],
                Path(folder),
                timeout=120,
                environment=environment,
                may_compile=True,
            )

    ended = imported(_IMPORT_EACH, *(runtime.module for runtime in runtimes))
    codes = ended.stdout.split() if ended.exit_code == 0 else []
    fine = {runtime for runtime, code in zip(runtimes, codes, strict=False) if code == b"0"}
    return [
        "" if runtime in fine else why_it_died(imported(f"{_NEEDED}, {runtime.module}"))
        for runtime in runtimes
    ]


def why_it_died(ended: Ended) -> str:
    """Return one line on a program that failed, or '' for one that did not."""
    if ended.exit_code == 0:
        return ""
    if ended.crash:
        return str(ended.crash)
    if ended.out_of_memory:
        return "needs more memory than the board has"
    if ended.exit_code < 0:
        return f"ended by {signal.Signals(-ended.exit_code).name}"
    lines = [line for line in ended.stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {ended.exit_code}"


def _watch(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    timeout: float,
    sysroot: Sysroot,
) -> Ended:
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        contextlib.ExitStack() as stack,
    ):
        start = time.monotonic()
        process = subprocess.Popen(
            leashed(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        memory = _Memory(pid=process.pid)
        try:
            end = stack.enter_context(_end_of(process.pid))
            # A crash must not leave a core file of the whole guest behind.
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
            while True:
                done, status, usage = os.wait4(process.pid, os.WNOHANG)
                if done:
                    memory.ended(usage.ru_maxrss * 1024)
                    break
                seconds = time.monotonic() - start
                _check_limits(command, timeout, seconds, (out, err))
                most = sysroot.board.memory_bytes
                if memory.sample(_between(_LOOK_S, seconds / 10)) > most and memory.sample() > most:
                    os.killpg(process.pid, signal.SIGKILL)
                    memory.exceeded = True
                end.poll(1000 * _between(_POLL_S, seconds / 10))
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            end_group(process)
        seconds = time.monotonic() - start
        out.seek(0)
        err.seek(0)
        return Ended(
            exit_code=process.returncode,
            stdout=out.read(),
            stderr=err.read(),
            seconds=seconds,
            peak_memory_bytes=memory.peak,
            out_of_memory=memory.exceeded,
        )


@contextlib.contextmanager
def _end_of(pid: int) -> Iterator[select.poll]:
    """Return what can be waited on, for a time, until a process has ended."""
    end, handle = select.poll(), os.pidfd_open(pid)
    try:
        end.register(handle, select.POLLIN)
        yield end
    finally:
        os.close(handle)


def _between(limits: tuple[float, float], value: float) -> float:
    return min(max(value, limits[0]), limits[1])


def _check_limits(
    command: Sequence[str], timeout: float, seconds: float, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    if seconds > timeout:
        raise DeviceTimeout(
            f"the emulated program did not end within {timeout:g} s and was stopped: "
            "give it more time, or fewer images"
        )
    if any(os.fstat(file.fileno()).st_size > _MAX_OUTPUT_BYTES for file in outputs):
        raise DeviceError(
            f"the emulated program printed more than {_MAX_OUTPUT_BYTES >> 20} MiB and was stopped"
        )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process group that was started with `start_new_session`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.wait()


@dataclass(kw_only=True)
class _Memory:
    """A guest's resident memory, told apart from its emulator's.

    The kernel keeps the whole process's peak (VmHWM); its map tells whose the memory is now. The
    guest's peak is at least what it holds at any look at the map, and at least the whole's peak
    less what the emulator holds, which only grows.
    """

    pid: int
    exceeded: bool = False
    peak: int = 0
    _emulator: int = 0
    _whole_peak: int = 0
    _next_look: float = 0

    def sample(self, pause: float = 0) -> int:
        """Return the guest's resident bytes now, or 0 where the process is gone.

        The map is looked at `pause` seconds after the last time, or now where there is no pause.
        Between looks, what the emulator has grown by counts as the guest's.
        """
        status = _kilobytes(Path(f"/proc/{self.pid}/status"))
        self._whole_peak = max(self._whole_peak, status.get("VmHWM", 0))
        if not pause or time.monotonic() > self._next_look:
            guest, emulator = self._shares()
            self.peak = max(self.peak, guest)
            # Of a process that is just ending, the kernel shows fewer mappings than there were.
            if emulator >= self._emulator:
                self._emulator = emulator
                self.peak = max(self.peak, self._whole_peak - emulator)
            self._next_look = time.monotonic() + pause
        return max(0, status.get("VmRSS", 0) - self._emulator)

    def ended(self, whole_peak: int) -> None:
        """Take in what no look saw: the last growth, and the peak that the kernel tells at the end.

        That counts our own memory from before the exec: only a larger one is the process's.
        """
        if whole_peak > _kilobytes(Path("/proc/self/status")).get("VmHWM", 0):
            self._whole_peak = max(self._whole_peak, whole_peak)
        self.peak = max(self.peak, self._whole_peak - self._emulator)

    def _shares(self) -> tuple[int, int]:
        """Return the resident bytes within the guest's addresses, and those outside."""
        shares, outside = [0, 0], False
        try:
            with Path(f"/proc/{self.pid}/smaps").open() as file:
                for line in file:
                    if line.startswith("Rss:"):
                        shares[outside] += int(line.split()[1]) * 1024
                    elif line[0] in "0123456789abcdef":
                        outside = int(line.partition("-")[0], 16) >= _GUEST_END
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return 0, 0
        return shares[0], shares[1]


def _kilobytes(path: Path) -> dict[str, int]:
    """Return the fields of a /proc status file that are sizes, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
