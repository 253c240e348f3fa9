"""Where a board is: `ssh://user@host:port`, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import BadTarget

SCHEME = "ssh://"

# Strict, since these are printed in commands to be pasted: nothing a shell or ssh itself would
# take for more than a name, so no leading dash either.
_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._+-]*)@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*)|\[(?P<six>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host; `user` and `port` None leave them to the user's `~/.ssh/config`."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """`ssh://pi@raspberrypi.local:2222`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{self._login(host)}{f':{self.port}' if self.port else ''}"

    @property
    def arguments(self) -> str:
        """What ssh itself, or ssh-copy-id, takes for this address: `-p 2222 pi@host`."""
        return f"{f'-p {self.port} ' if self.port else ''}{self._login(self.host)}"

    @property
    def known_hosts_name(self) -> str:
        """The name known_hosts files hold it under: `host`, or `'[host]:2222'` in quotes."""
        return f"'[{self.host}]:{self.port}'" if self.port not in {None, 22} else self.host

    def _login(self, host: str) -> str:
        return f"{self.user}@{host}" if self.user else host


def parse_address(text: str) -> Address:
    """Return the address `ssh://user@host:port`, or the same without its `ssh://`.

    An IPv6 address stands in brackets. Raises BadTarget in one line.
    """
    found = _ADDRESS.fullmatch(text.removeprefix(SCHEME).removesuffix("/"))
    if found is None:
        if re.match(r"[^@/]*:[^@/]*@", text.removeprefix(SCHEME)):
            raise BadTarget(
                "an SSH address holds no password: use a key (ssh-copy-id puts yours on the board)"
            )
        raise BadTarget(f"{text!r} is no SSH address: write it as ssh://pi@raspberrypi.local:22")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise BadTarget(f"{text!r}: port {port} is not within 1 to 65535")
    return Address(found["host"] or found["six"], found["user"], port)
