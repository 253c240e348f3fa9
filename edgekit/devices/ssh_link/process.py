"""Runs one program on the other side and leaves nothing of it behind, however it ends."""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress

import asyncssh

from edgekit.devices._protocol import Completed
from edgekit.errors import DeviceError, DeviceTimeout

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
"""More than this is no answer of ours; a device cannot fill the host's memory."""

BEGIN = "edgekit: begin"
"""Printed before a program's own output: what a login shell's start-up files print stands before
it, and is passed over."""

_END_S = 10.0
"""How long the other side may take to end a program before its channel is closed under it."""

# The program gets a session of its own. Our standard input is its lifeline: that ends when we say
# so, when edgekit is killed and when the connection is lost, and the program's group with it.
_SUPERVISOR = f"""\
echo '{BEGIN}'; echo '{BEGIN}' >&2
"""
_SUPERVISOR += """\
cd -- "${1:-$HOME}" || exit 126
shift
exec 3<&0
setsid "$@" 3<&- </dev/null &
program=$!
{ cat; kill -s KILL -- "-$program" "$program"; } <&3 >/dev/null 2>&1 &
lifeline=$!
wait "$program"
code=$?
kill -s KILL -- "-$program" "$lifeline" 2>/dev/null
exit "$code"
"""


async def run(
    ssh: asyncssh.SSHClientConnection, argv: Sequence[str], folder: str, timeout: float
) -> Completed:
    """Run `argv` in `folder` (empty: the home folder), with nothing on its standard input.

    Exit codes 129 to 192 are a shell's way to name a signal and are returned negative. Raises
    DeviceTimeout after `timeout` seconds, DeviceError for a flood of output, and
    asyncssh.ConnectionLost; the program's process group is gone in every case but the last, and
    there as soon as the other side notices.
    """
    start = time.monotonic()
    process = await ssh.create_process(_command(argv, folder), encoding=None)
    try:
        async with asyncio.timeout(timeout):
            out, err = await asyncio.gather(all_of(process.stdout), all_of(process.stderr))
            await process.wait_closed()
    except TimeoutError:
        raise DeviceTimeout(f"{_shown(argv)} took more than {timeout:g} s and was ended") from None
    finally:
        await _end(process)
    code = process.returncode
    if code is None:
        raise asyncssh.ConnectionLost("no exit code came")
    if 128 < code <= 128 + 64:
        code = 128 - code
    return Completed(
        exit_code=code, stdout=_own(out), stderr=_own(err), seconds=time.monotonic() - start
    )


async def chatter(ssh: asyncssh.SSHClientConnection) -> str:
    """Return the first line that the account's start-up files print in every session, or ''."""
    process = await ssh.create_process(f"echo '{BEGIN}'", encoding=None)
    try:
        async with asyncio.timeout(_END_S):
            before = (await all_of(process.stdout)).partition(BEGIN.encode())[0]
    finally:
        process.close()
    lines = [line.strip() for line in before.decode(errors="replace").splitlines()]
    return next((line for line in lines if line), "")[:100]


def _own(printed: bytes) -> bytes:
    """Return what was printed from the mark on."""
    before, mark, after = printed.partition(f"{BEGIN}\n".encode())
    return after if mark else before


def _command(argv: Sequence[str], folder: str) -> str:
    """Return one line that says the same to every login shell: sh, bash, zsh, fish and csh.

    They do not quote alike (fish takes `\\'` within single quotes for a quote), so that what is to
    be quoted goes in base64 and is read by the board's sh alone.
    """
    if any("\0" in text for text in (*argv, folder)):
        raise DeviceError(f"{_shown(argv)} holds a zero byte, which no program can be given")
    script = f"set -- {shlex.join([folder, *argv])}\n{_SUPERVISOR}"
    encoded = base64.b64encode(os.fsencode(script)).decode()
    return f"exec sh -c 'eval \"$(echo {encoded} | base64 -d)\"'"


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(shlex.join(argv).split())
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


async def all_of(reader: asyncssh.SSHReader[bytes]) -> bytes:
    """Return what comes until the end. Raises DeviceError for a flood."""
    parts, size = [], 0
    while part := await reader.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MAX_OUTPUT_BYTES:
            raise DeviceError(
                f"a program there printed more than {MAX_OUTPUT_BYTES >> 20} MiB and was ended"
            )
    return b"".join(parts)


async def _end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Cut the lifeline and wait until the supervisor has ended the program."""
    if process.returncode is None:
        with suppress(OSError, asyncssh.Error, TimeoutError):
            process.stdin.write_eof()
            async with asyncio.timeout(_END_S):
                await process.wait(check=False)
    process.close()
