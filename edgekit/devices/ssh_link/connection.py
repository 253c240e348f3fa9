"""A verified connection to a board: run, put, fetch, sha256. Synchronous; safe to use in threads.

The user's `~/.ssh/config`, keys and agent are asyncssh's to read. A host key that known_hosts does
not hold is refused with the command that accepts it; no password is ever asked for or sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.devices._protocol import Completed
from edgekit.devices.ssh_link.address import Address
from edgekit.devices.ssh_link.loop import wait
from edgekit.errors import DeviceError, DeviceLost, MissingPackage

if TYPE_CHECKING:
    import asyncssh

    from edgekit.devices.ssh_link.talk import Talk
    from edgekit.devices.ssh_link.transfer import Kind

CONNECT_S = 15.0

HASH_S = 600.0
"""A large file on a slow card."""

T = TypeVar("T")

_NO_FILE = 64
_HASH = f'[ -f "$1" ] && [ ! -L "$1" ] || exit {_NO_FILE}; sha256sum <"$1"'


class Connection:
    """One SSH connection; `home` is the account's home folder there, with no links in it.

    Every method raises DeviceLost where the connection ends, and DeviceError in one line for
    what is refused.
    """

    def __init__(self, address: Address, ssh: asyncssh.SSHClientConnection) -> None:
        self.address = address
        self._ssh = ssh
        self._sftp: asyncssh.SFTPClient | None = None
        self.home = self.run(["pwd", "-P"], timeout=CONNECT_S).stdout.decode().removesuffix("\n")
        if not self.home.startswith("/"):
            raise DeviceError(
                f"{address} has no POSIX shell: edgekit needs sh, setsid and SFTP there"
            )

    def run(self, argv: Sequence[str], *, folder: str = "", timeout: float) -> Completed:
        """Run a program, not through a shell of yours: any name is safe in `argv`.

        `folder` is absolute or relative to the home folder. The program has nothing on its
        standard input; its process group is ended at the time limit (DeviceTimeout), on Ctrl-C,
        and by the board itself where the connection or edgekit dies. 127: no such program.
        """
        from edgekit.devices.ssh_link.process import run

        return self._done(run(self._ssh, argv, folder, timeout))

    def talk(self, argv: Sequence[str]) -> Talk:
        """Start a program in the home folder that answers line by line; talk.py says how."""
        from edgekit.devices.ssh_link.talk import start

        return self._done(start(self._ssh, self.address, argv))

    def put(self, source: Path, remote: str) -> None:
        """Copy a file or folder to `remote`, a path as in `run`'s `folder`.

        Each file appears whole, is flushed to the board's disk first, and replaces what was
        there. Put again after a lost connection, a file goes on where it stopped.
        """
        from edgekit.devices.ssh_link.transfer import put

        async def work() -> None:
            await put(await self._files(), source, remote, self._hash)

        self._done(work())

    def fetch(self, remote: str, target: Path) -> None:
        """Copy a file or folder to `target`, whole or not at all; links there are refused."""
        from edgekit.devices.ssh_link.transfer import fetch

        async def work() -> None:
            await fetch(await self._files(), remote, target)

        self._done(work())

    def sha256(self, remote: str) -> str:
        """Return the SHA-256 of the regular file `remote`, computed by the board from its disk."""
        return self._done(self._hash(remote))

    def kind_below(self, folder: str, name: str) -> Kind:
        """Return what `folder/name` is; `link` where it, or a folder between the two, is one."""
        from edgekit.devices.ssh_link.transfer import kind_below

        async def work() -> Kind:
            return await kind_below(await self._files(), folder, name)

        return self._done(work())

    def close(self) -> None:
        """End the connection; what still runs there is ended by the board."""

        async def work() -> None:
            self._ssh.close()
            await self._ssh.wait_closed()

        self._done(work())

    async def _hash(self, remote: str) -> str:
        from edgekit.devices.ssh_link.process import run

        done = await run(self._ssh, ["sh", "-c", _HASH, "sh", remote], "", timeout=HASH_S)
        digest = done.stdout[:64].decode("ascii", errors="replace")
        if done.exit_code or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise DeviceError(
                f"no file {remote!r} there to hash: it was not put, or not written"
                if done.exit_code == _NO_FILE
                else f"{remote!r} cannot be hashed there: exit code {done.exit_code}"
            )
        return digest

    async def _files(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._sftp = await self._ssh.start_sftp_client(path_encoding=None)
            except Exception:
                await self._refuse_chatter()
                raise
        return self._sftp

    async def _refuse_chatter(self) -> None:
        """Raise DeviceError where SFTP cannot work because start-up files print into it."""
        from edgekit.devices.ssh_link.process import chatter

        if said := await chatter(self._ssh):
            raise DeviceError(
                f"its shell's start-up files print {said!r} in every session, which breaks SFTP: "
                "put `[ -t 1 ] || return` at the top of ~/.bashrc there"
            )

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        from edgekit.devices.ssh_link.failures import told

        try:
            with told(self.address):
                return wait(work)
        except DeviceError as error:
            if self._ssh.is_closed() and not isinstance(error, DeviceLost):
                raise DeviceLost(
                    f"{self.address}: the connection ended: run the same command again"
                ) from None
            raise


def connect(address: Address, *, timeout: float = CONNECT_S) -> Connection:
    """Return a connection whose host key known_hosts holds.

    `timeout` seconds each are given to the network and to the login. Raises DeviceLost where the
    board cannot be reached now, DeviceError for a key it refuses or we do, MissingPackage.
    """
    try:
        from edgekit.devices.ssh_link.handshake import handshake
    except ModuleNotFoundError:
        raise MissingPackage("asyncssh", "ssh") from None
    from edgekit.devices.ssh_link.failures import told

    with told(address):
        ssh = wait(handshake(address, timeout))
    try:
        return Connection(address, ssh)
    except BaseException:
        ssh.abort()
        raise
