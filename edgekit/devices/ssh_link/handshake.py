"""Connects and logs in: the host key must be known, and a key of the user's must be accepted."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import asyncssh

from edgekit.devices.ssh_link.address import Address
from edgekit.errors import DeviceError

KEEPALIVE_S = 5.0
"""A connection that answers nothing for four times this long is lost."""

_Known = list[str] | bytes


class _Client(asyncssh.SSHClient):
    """Keeps the host key that was refused, and the names it would be known by."""

    offered: tuple[str, str, int, asyncssh.SSHKey] | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse, always: asked only for a key that known_hosts does not hold."""
        self.offered = host, addr, port, key
        return False


async def handshake(address: Address, timeout: float) -> asyncssh.SSHClientConnection:
    """Return a connection, logged in by a key.

    Raises DeviceError for a host key that is not known, with the command to accept it, and what
    asyncssh raises.
    """
    where: dict[str, object] = {"host": address.host}
    if address.port:
        where["port"] = address.port
    if address.user:
        where["username"] = address.user
    options = asyncssh.SSHClientConnectionOptions(
        **where,
        connect_timeout=timeout,
        login_timeout=timeout,
        keepalive_interval=KEEPALIVE_S,
        preferred_auth="publickey",
    )
    known = _known_hosts(options)
    client = _Client()
    try:
        return await asyncssh.connect(
            **where,
            options=options,
            known_hosts=lambda host, addr, port: _matches(known, host, addr, port),
            client_factory=lambda: client,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        if "revoked" in str(error):
            raise DeviceError(
                "its host key is marked @revoked in your known_hosts: somebody may hold a copy of "
                "it. Make the board a new one (sudo dpkg-reconfigure openssh-server there), and "
                "do not log in before"
            ) from None
        if client.offered is None:
            raise
        host, addr, port, key = client.offered
        others = asyncssh.match_known_hosts(known, host, addr, port)[0]
        fingerprint = key.get_fingerprint()
        if others:
            raise DeviceError(
                f"its host key is not the one you accepted before, but {fingerprint}: if the "
                f"board was set up anew, ssh-keygen -R {address.known_hosts_name} && ssh "
                f"{address.arguments}; if not, another machine answers in its place"
            ) from None
        raise DeviceError(
            f"its host key is not known yet ({fingerprint}): compare it with the board's own "
            f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and accept it with ssh "
            f"{address.arguments}"
        ) from None


def _matches(known: _Known, host: str, addr: str, port: int | None) -> tuple[object, ...]:
    """Return what known_hosts says of a host, as asyncssh has it, with all revoked keys.

    asyncssh forgets those revoked for `[host]:port` where no other line is for that port.
    """
    found = asyncssh.match_known_hosts(known, host, addr, port)
    texts = (Path(name).read_text(errors="replace") for name in known if isinstance(name, str))
    marked = (line.split(None, 1) for text in texts for line in text.splitlines())
    lines = "\n".join(words[1] for words in marked if words[:1] == ["@revoked"] and words[1:])
    revoked = [
        key
        for place in (port, None)
        for key in asyncssh.match_known_hosts(lines.encode(), host, addr, place)[0]
    ]
    return (*found[:2], [*found[2], *revoked], *found[3:])


def _known_hosts(options: asyncssh.SSHClientConnectionOptions) -> _Known:
    """Return the user's known_hosts files that exist; with none, nothing is known.

    asyncssh verifies nothing where the config has `UserKnownHostsFile none`. We do, always.
    """
    if options.known_hosts is None:
        return b""
    named = cast(list[str], options.known_hosts) or ["~/.ssh/known_hosts"]
    files = [path for path in (Path(name).expanduser() for name in named) if path.is_file()]
    return [str(path) for path in files] or b""
