"""Ships a bundle to a board over SSH, step by step; the last step but one lets it serve.

Until `switch` nothing that serves is touched, and `switch` itself is one rename on the board. So
wherever this ends, the old version serves or the new one does, and the same call again completes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.deployment.bundle import Bundle
from edgekit.devices.ssh_link.address import Address
from edgekit.devices.ssh_link.connection import Connection, connect
from edgekit.errors import DeviceError, DeviceLost, UserError
from edgekit.paths import ONBOARD
from edgekit.progress import Say, silent
from edgekit.scratch import scratch_folder

if TYPE_CHECKING:
    from edgekit.devices.ssh_link.talk import Talk

STEPS = (
    "connect", "open", "receive", "upload", "verify", "unpack", "environment", "golden", "latency",
    "service", "switch", "prune",
)  # fmt: skip
"""What a deploy does, in order; each begins when the one before it has succeeded.

`service` only where a unit is given.
"""

ANSWER_S = 3600.0
"""The longest step is installing a runtime on a slow board, at most half an hour of pip."""

KEEP = 3
WAIT_S = 5.0
"""How long to wait for another deploy's lock: enough for the end of one that was cut."""


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """What to deploy and what it has to meet.

    `python` is the board's own, by name or path. `max_p90_ms` holds beside the bundle's own
    limit. `require_signature`: refuse a bundle that nobody in the board's `trusted` has signed,
    even where the board has no such list. `allow_older`: take one whose release number is below
    the highest that has served there. `keep` versions stay, the new one among them. `service` is
    a systemd unit to install for the user and to restart at the switch; a version whose unit does
    not come up is taken back. An application that has one already has it restarted without it.
    """

    bundle: Bundle
    python: str = "python3"
    max_p90_ms: float | None = None
    require_signature: bool = False
    allow_older: bool = False
    keep: int = KEEP
    wait: float = WAIT_S
    service: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """How a deploy ended on one board; versions are bundles' hashes, `before` None at the first."""

    device: str
    app: str
    version: str
    before: str | None
    already: bool = False
    signed_by: str | None = None
    python: str = ""
    p90_ms: float | None = None


class Board:
    """The receiver at work on a board, for one talk."""

    def __init__(self, connection: Connection, talk: Talk) -> None:
        self.connection = connection
        self._talk = talk

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Return the board's answer. Raises DeviceError in its own words where it refuses."""
        line = json.dumps({"do": what, **arguments}).encode()
        text = self._talk.ask(line, timeout=ANSWER_S)
        address = self.connection.address
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("ok"), dict):
            return dict(answer["ok"])
        if isinstance(answer, dict) and "refused" in answer:
            raise DeviceError(f"{address}: {what}: {str(answer['refused'])[:1000]}")
        raise DeviceError(f"{address}: {what}: the board's answer is none: {text[:200]!r}")


@contextmanager
def reached(address: Address, python: str = "python3") -> Iterator[Board]:
    """Yield the receiver on a board, copied there first, its hash read back from the board."""
    connection = connect(address)
    try:
        tool = _put_receiver(connection)
        talk = connection.talk([python, "-I", tool])
        try:
            yield Board(connection, talk)
        finally:
            talk.close()
    finally:
        connection.close()


def deploy(request: DeployRequest, address: Address, say: Say = silent) -> Deployed:
    """Bring a board to serve the bundle and return how; nothing is done where it does already.

    Raises DeviceError in one line with what the board refused, DeviceLost where the connection
    ended: the version that served before still does, unless the new one does by then.
    """
    bundle, name = request.bundle, str(address)
    unit = check_unit(request.service)
    app, version = bundle.name, bundle.sha256
    say(name, "connect")
    with reached(address, request.python) as board:
        say(name, "open")
        before = board.ask("open", app=app, wait=request.wait)["active"]
        say(name, "receive")
        place = board.ask("receive", bundle=version, size=bundle.path.stat().st_size)
        already = place.get("serving") is True
        if not already:
            say(name, "upload")
            _upload(board, bundle.path, str(place["path"]))
        say(name, "verify")
        seen = board.ask("verify", required=request.require_signature, older=request.allow_older)
        if seen.get("sha256") != version:
            raise DeviceError(f"{name}: the bundle has another hash there: check the board's disk")
        signed_by = seen.get("signed_by")
        if already:
            if unit:
                say(name, "service")
                board.ask("service", **unit)
            board.ask("restart")
            board.ask("prune", keep=request.keep)  # the run before may have ended just there
            say(name, "done")
            return Deployed(
                device=name,
                app=app,
                version=version,
                before=before,
                already=True,
                signed_by=signed_by,
            )
        say(name, "unpack")
        board.ask("unpack")
        say(name, "environment")
        python = board.ask("environment", python=request.python)["python"]
        say(name, "golden")
        board.ask("golden")
        say(name, "latency")
        p90_ms = board.ask("latency", limit_ms=request.max_p90_ms)["p90_ms"]
        if unit:
            say(name, "service")
            board.ask("service", **unit)
        say(name, "switch")
        board.ask("switch")
        say(name, "prune")
        board.ask("prune", keep=request.keep)
    say(name, "done")
    return Deployed(
        device=name,
        app=app,
        version=version,
        before=before,
        signed_by=signed_by,
        python=python,
        p90_ms=p90_ms,
    )


def check_unit(file: Path | None) -> dict[str, str] | None:
    """Return a unit's name and text. Raises UserError for a file that is none."""
    if file is None:
        return None
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--service {file} cannot be read ({error}): give a .service file"
        ) from None
    if file.suffix != ".service" or "[Service]" not in text:
        raise UserError(f"--service {file} is no systemd unit: give a .service file")
    return {"unit": file.name, "text": text}


def roll_back(
    app: str, address: Address, python: str = "python3", require_signature: bool = False
) -> Deployed:
    """Let the version serve that served before. Raises DeviceError where there is none.

    A board that trusts some keys, or `require_signature`, lets only what they signed serve again.
    """
    with reached(address, python) as board:
        board.ask("open", app=app, wait=WAIT_S)
        answer = board.ask("roll_back", required=require_signature)
    return Deployed(
        device=str(address), app=app, version=str(answer["active"]), before=answer["before"]
    )


def status(address: Address, python: str = "python3") -> list[dict[str, Any]]:
    """Return one row per application of a board: what serves, whether it is whole, what did."""
    with reached(address, python) as board:
        return list(board.ask("status")["apps"])


def trust(line: str, address: Address, python: str = "python3") -> None:
    """Let a board take bundles of this signer only (and of those it was told of before)."""
    with reached(address, python) as board:
        board.ask("trust", line=line)


def receiver() -> bytes:
    """Return the program for the board as one file for its Python; equal code gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        start = "from edgekit.onboard.receiver.__main__ import main\nraise SystemExit(main())\n"
        packages = ("edgekit/__init__.py", "edgekit/onboard/__init__.py")
        for name, text in (("__main__.py", start), *((package, "") for package in packages)):
            archive.writestr(zipfile.ZipInfo(name), text)
        for path in sorted((ONBOARD / "receiver").glob("*.py")):
            place = zipfile.ZipInfo(f"edgekit/onboard/receiver/{path.name}")
            archive.writestr(place, path.read_bytes())
    return buffer.getvalue()


def _put_receiver(connection: Connection) -> str:
    """Return where the receiver is on the board, put there if it was not."""
    content = receiver()
    digest = hashlib.sha256(content).hexdigest()
    place = f".edgekit/tools/receiver-{digest[:16]}.pyz"
    try:
        if connection.sha256(place) == digest:
            return place
    except DeviceLost:
        raise
    except DeviceError:
        pass  # not there yet
    with scratch_folder() as scratch:
        file = Path(scratch) / "receiver.pyz"
        file.write_bytes(content)
        connection.put(file, place)
    if connection.sha256(place) != digest:
        raise DeviceError(f"{connection.address}: a file arrived damaged: check the board's disk")
    return place


def _upload(board: Board, bundle: Path, place: str) -> None:
    """Put the bundle; one that finds no room leaves the board none the fuller."""
    try:
        board.connection.put(bundle, place)
    except DeviceLost:
        raise
    except DeviceError:
        board.ask("drop")
        raise
