"""The device `ssh`: a board reached over SSH, in a work folder under its `~/.edgekit`."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from edgekit.devices._protocol import Completed, stays_inside
from edgekit.devices.ssh_link.address import Address, parse_address
from edgekit.devices.ssh_link.connection import Connection, connect
from edgekit.devices.ssh_link.interpreter import interpreter
from edgekit.errors import DeviceError, DeviceLost
from edgekit.runtimes.table import Environment

if TYPE_CHECKING:
    from edgekit.targets import Target

RECONNECT_S = 180.0
"""A board that restarts is back by then; one that is not is given up."""
ATTEMPTS = 3
"""A job that loses the connection this often is what kills it."""

_PAUSE_S = (1.0, 15.0)
"""Between attempts to reconnect: at first, doubling, up to."""
_ORDER_S = 60.0

# Work folders a day old are of commands that were killed with their network.
_OPEN = """\
mkdir -p "$HOME/.edgekit/work/$1" && chmod 700 "$HOME/.edgekit" && cd "$HOME/.edgekit" || exit
find work -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} + >&2
for place in main numpy1; do
    if [ -x "env/$place/bin/python" ]; then echo "$place"; fi
done
cd "work/$1" && pwd -P
"""
# A connection that was lost may have left a program of ours running: by its folder it is known.
_END = """\
cd -- "$1" || exit
for process in /proc/[0-9]*; do
    case "$(readlink "$process/cwd" 2>/dev/null)" in
        "$1" | "$1"/*) [ "${process#/proc/}" = $$ ] || kill -s KILL "${process#/proc/}" ;;
    esac
done
"""

T = TypeVar("T")


class SshDevice:
    """A board over SSH. A connection that is lost is made again, and what was under way repeated.

    Nothing is counted twice by that: an answer that did not arrive is none. Programs run in the
    environment that `edgekit device provision` made, where there is one, else in `python3`.
    """

    def __init__(self, address: Address) -> None:
        self.name = str(address)
        self._address = address
        self._connection = connect(address)
        self._folder = ""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def put(self, source: Path, name: str) -> None:
        """Copy a file or folder to `name`; files appear there whole."""
        self._check(name)
        self._kept(lambda there: there.put(source, f"{self._folder}/{name}"))

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of the file `name`, computed on the board."""
        if self._check(name) != "file":
            raise self._missing(name)
        return self._kept(lambda there: there.sha256(f"{self._folder}/{name}"))

    def run(
        self, arguments: Sequence[str], *, timeout: float, environment: Environment = "main"
    ) -> Completed:
        """Run the board's Python with `arguments`; its process group is gone when this returns."""
        # Runtimes leave caches in the home folder; here they go with the work folder.
        contained = [f"XDG_CACHE_HOME={self._folder}/.cache", f"TMPDIR={self._folder}"]
        program = ["env", *contained, self._pythons.get(environment, "python3"), *arguments]
        return self._kept(lambda there: there.run(program, folder=self._folder, timeout=timeout))

    def fetch(self, name: str, target: Path) -> None:
        """Copy the file or folder `name` to `target`, which appears whole or not at all."""
        if self._check(name) not in {"file", "folder"}:
            raise self._missing(name)
        self._kept(lambda there: there.fetch(f"{self._folder}/{name}", target))

    def close(self) -> None:
        """Remove the work folder and end the connection; a board that is gone keeps its folder."""
        with suppress(DeviceError):
            if self._folder:
                self._connection.run(["rm", "-rf", "--", self._folder], timeout=_ORDER_S)
        with suppress(DeviceError):
            self._connection.close()

    def _open(self) -> None:
        """Make the work folder and look at the board's Python."""
        work = secrets.token_hex(8)
        done = self._connection.run(["sh", "-c", _OPEN, "sh", work], timeout=_ORDER_S)
        *places, folder = done.stdout.decode(errors="replace").splitlines() or [""]
        if done.exit_code or not folder.startswith("/"):
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise DeviceError(
                f"{self.name}: no folder can be made in ~/.edgekit there ({''.join(said)}): "
                "make room on its disk, or see who owns it"
            )
        self._folder = folder
        environments = f"{self._connection.home}/.edgekit/env"
        self._pythons = {place: f"{environments}/{place}/bin/python" for place in places}
        found = interpreter(self._connection, self._pythons.get("main", "python3"))
        self.provenance: Literal["measured", "emulated"] = (
            "emulated" if found.emulated else "measured"
        )

    def _check(self, name: str) -> str:
        """Return what `name` is there. Raises DeviceError where it leads out of the work folder."""
        inside = stays_inside(name)
        kind = self._kept(lambda there: there.kind_below(self._folder, name)) if inside else ""
        if kind in {"", "link"}:
            raise DeviceError(f"{name!r} is outside the work folder of {self.name}")
        return kind

    def _missing(self, name: str) -> DeviceError:
        return DeviceError(f"{self.name} has no {name!r}: it was not put, or not written")

    def _kept(self, action: Callable[[Connection], T]) -> T:
        """Do it, and again on a new connection where one was lost under it."""
        for _ in range(ATTEMPTS - 1):
            try:
                return action(self._connection)
            except DeviceLost as error:
                self._reconnect(error)
        return action(self._connection)

    def _reconnect(self, lost: DeviceLost) -> None:
        """Connect anew and end what still runs of ours. Raises DeviceLost after RECONNECT_S."""
        logging.getLogger(__name__).warning(
            "%s: trying again for %g s", str(lost).partition(": run ")[0], RECONNECT_S
        )
        with suppress(DeviceError):
            self._connection.close()
        end, pause = time.monotonic() + RECONNECT_S, _PAUSE_S[0]
        while True:
            try:
                self._connection = connect(self._address)
                done = self._connection.run(
                    ["sh", "-c", _END, "sh", self._folder], timeout=_ORDER_S
                )
            except DeviceLost:
                if time.monotonic() + pause > end:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _PAUSE_S[1])
            else:
                break
        if done.exit_code:
            raise DeviceError(
                f"{self.name} has lost its work folder, in a restart perhaps: run the same "
                "command again"
            )


def open_device(address: str, target: Target) -> SshDevice:
    """Return the board at `address`, whatever the target: what it reports is compared later.

    Raises BadTarget for an address that is none, DeviceError where the board cannot be had.
    """
    return SshDevice(parse_address(address))
