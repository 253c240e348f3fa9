"""A talk with one program on the other side: a line there, a line back; it keeps its state."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from contextlib import suppress

import asyncssh

from edgekit.devices.ssh_link.address import Address
from edgekit.devices.ssh_link.failures import told
from edgekit.devices.ssh_link.loop import wait
from edgekit.devices.ssh_link.process import BEGIN, all_of
from edgekit.errors import DeviceError

MAX_LINE_BYTES = 1 << 20
"""No answer of ours is longer; a board cannot fill the host's memory."""

START_S = 30.0
BEAT_S = 10.0
"""How often an empty line says that this side is still there."""


class Talk:
    """A program that was started; it has to end when its standard input does."""

    def __init__(self, address: Address, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._address = address
        self._process = process
        self._beat = asyncio.create_task(_beat(process))

    def ask(self, line: bytes, *, timeout: float) -> bytes:
        """Send a line and return the next that the program prints.

        Raises DeviceLost where the connection ended, DeviceError with the program's last words
        where it did, or where no line came in `timeout` seconds.
        """
        with told(self._address):
            return wait(_ask(self._process, line, timeout))

    def close(self) -> None:
        """End its standard input and wait a little for it to clean up."""
        with suppress(DeviceError), told(self._address):
            wait(_close(self._process, self._beat))


async def start(ssh: asyncssh.SSHClientConnection, address: Address, argv: Sequence[str]) -> Talk:
    """Start `argv` in the home folder, every name in it quoted.

    What the account's start-up files print before it is passed over.
    """
    command = f"echo '{BEGIN}'; exec {shlex.join(argv)}"
    process = await ssh.create_process(command, encoding=None)
    async with asyncio.timeout(START_S):
        passed = 0
        while passed < MAX_LINE_BYTES:
            line = await process.stdout.readline()
            passed += len(line)
            if line.endswith(f"{BEGIN}\n".encode()) or not line:
                break
    return Talk(address, process)


async def _beat(process: asyncssh.SSHClientProcess[bytes]) -> None:
    with suppress(OSError, asyncssh.Error):
        while True:
            await asyncio.sleep(BEAT_S)
            process.stdin.write(b"\n")


async def _ask(process: asyncssh.SSHClientProcess[bytes], line: bytes, timeout: float) -> bytes:
    async with asyncio.timeout(timeout):
        with suppress(BrokenPipeError):  # it has ended: its last words tell why
            process.stdin.write(line + b"\n")
            await process.stdin.drain()
        answer = await process.stdout.readline()
        if answer.endswith(b"\n") and len(answer) <= MAX_LINE_BYTES:
            return answer
        if not process.stdout.at_eof() or len(answer) > MAX_LINE_BYTES:
            process.close()
            raise DeviceError(
                f"a program there sent a line of more than {MAX_LINE_BYTES >> 20} MiB"
            )
        said = (await all_of(process.stderr)).decode(errors="replace").strip().splitlines()
        await process.wait_closed()
    if process.exit_status is None:
        raise asyncssh.ConnectionLost("no exit code came")
    raise DeviceError(
        f"edgekit's program ended there with {process.exit_status}: {''.join(said[-1:])}"
    )


async def _close(process: asyncssh.SSHClientProcess[bytes], beat: asyncio.Task[None]) -> None:
    beat.cancel()
    with suppress(TimeoutError, BrokenPipeError):
        process.stdin.write_eof()
        async with asyncio.timeout(10):
            await process.wait_closed()
    process.close()
