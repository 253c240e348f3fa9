"""Every failure of SSH as one line with its remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh

from edgekit.devices.ssh_link.address import Address
from edgekit.errors import DeviceError, DeviceLost


@contextmanager
def told(address: Address) -> Iterator[None]:
    """Turn what asyncssh and the network raise into DeviceError and DeviceLost.

    Every message names the address, our own too.
    """
    try:
        yield
    except DeviceError as error:
        raise type(error)(f"{address}: {error}") from None
    except (asyncssh.Error, OSError, TimeoutError, UnicodeError, ValueError) as error:
        raise _in_one_line(address, error) from None


def _in_one_line(address: Address, error: Exception) -> DeviceError:
    for kind, (lost, words) in _WORDS.items():
        if isinstance(error, kind):
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            text = words.format(at=address, host=address.host, ssh=address.arguments, why=reason)
            return DeviceLost(text) if lost else DeviceError(text)
    raise AssertionError(error)


# The first that fits. Whether trying again may help; the words.
_WORDS: dict[type[Exception] | tuple[type[Exception], ...], tuple[bool, str]] = {
    socket.gaierror: (True, "{at}: no host {host} is found ({why}): check the name and network"),
    ConnectionRefusedError: (
        True,
        "{at} refuses connections: start its SSH server (on a Raspberry Pi: raspi-config, "
        "Interface Options, SSH), or give its port",
    ),
    TimeoutError: (True, "{at} does not answer: check that it is on and on this network"),
    asyncssh.PermissionDenied: (
        False,
        "{at} accepts none of your keys ({why}): put one there with ssh-copy-id {ssh}, and unlock "
        "one that has a passphrase with ssh-add",
    ),
    (asyncssh.ConnectionLost, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection): (
        True,
        "{at}: the connection ended ({why}): run the same command again",
    ),
    asyncssh.SFTPPermissionDenied: (
        False,
        "{at} may not write there ({why}): check who owns ~/.edgekit on the board",
    ),
    asyncssh.SFTPError: (False, "{at} refused a file ({why}): check its disk, then try again"),
    asyncssh.ChannelOpenError: (False, "{at} opens no session ({why}): try ssh {ssh}"),
    asyncssh.DisconnectError: (
        False,
        "{at} does not speak SSH as agreed ({why}): try ssh {ssh}",
    ),
    asyncssh.Error: (False, "{at}: {why}: try ssh {ssh}"),
    OSError: (True, "{at} cannot be reached ({why}): check the network"),
    # Of ~/.ssh: a config that does not parse, a key that is none, a name that is not UTF-8.
    ValueError: (False, "{at}: {why}: correct it in ~/.ssh and try ssh {ssh}"),
}
