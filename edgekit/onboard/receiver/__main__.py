"""The board's end of the talk: one JSON request a line in, one JSON answer a line out.

A request is {"do": NAME, ...}; the answer {"ok": {...}} or {"refused": "one line"}. It ends with
its standard input, or when the host is silent for IDLE_S.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.durable import write_whole
from edgekit.onboard.receiver.receiver import Receiver
from edgekit.onboard.receiver.service import Service
from edgekit.onboard.receiver.signature import TRUSTED
from edgekit.onboard.receiver.store import App, app_names, home, strays

IDLE_S = 60.0
"""A host that is there sends an empty line more often; one that is gone must free the lock."""

_MAX_LINE = 1 << 20

Answer = dict[str, Any]


class Talk:
    """One host's requests; holds an application's lock from `open` on, until it closes."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._app: App | None = None
        self._receiver: Receiver | None = None

    def status(self) -> Answer:
        """Return every application here; what cannot be read hides no other."""
        rows = []
        for name in app_names():
            try:
                rows.append(App(name).status())
            except (OSError, Refused) as error:
                rows.append({"app": name, "active": None, "earlier": [], "damage": str(error)})
        for name in strays():
            fault = f"no application: move ~/.edgekit/apps/{name} elsewhere"
            rows.append({"app": name, "active": None, "earlier": [], "damage": fault})
        return {"apps": rows}

    def trust(self, line: str) -> Answer:
        """Add a line to the list of whose bundles are taken, from now on."""
        path = home() / TRUSTED
        if os.path.lexists(path) and not path.is_file():
            raise Refused(
                f"{path} cannot be read: restore it, or remove it and trust every key again"
            )
        if len(line.splitlines()) != 1 or not line.strip():
            raise Refused("a signer to trust is one line")
        lines = path.read_text().splitlines() if path.exists() else []
        if line not in lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "\n".join([*lines, line, ""]).encode())
        return {"trusted": len({*lines, line})}

    def open(self, app: str, wait: float) -> Answer:
        """Take the application's lock."""
        self._app = App(app)
        self._held.enter_context(self._app.locked(wait))
        self._app.sweep()
        return {"active": self._app.active()}

    def roll_back(self, required: bool = False) -> Answer:
        """Let the version serve that served before."""
        app = self._opened()
        before = app.active()
        active = app.roll_back(required)
        try:
            Service(app.folder).restart(active)
        except Refused as refused:
            raise Refused(f"{active[:12]} serves again, but its service: {refused}") from None
        return {"active": active, "before": before}

    def receive(self, bundle: str, size: int) -> Answer:
        """Begin with a bundle: its hash and its size."""
        self._receiver = Receiver(self._opened(), bundle)
        self._held.callback(self._receiver.close)
        return self._receiver.room(size)

    def close(self) -> None:
        """Clean up and let the lock go."""
        self._held.close()

    def answer(self, request: Answer) -> Answer:
        """Do what one request asks for."""
        name = request.pop("do", None)
        own: dict[str, Callable[..., Answer]] = {
            "status": self.status, "trust": self.trust, "open": self.open,
            "roll_back": self.roll_back, "receive": self.receive,
        }  # fmt: skip
        steps: dict[str, Callable[..., Answer]] = {}
        if self._receiver is not None:
            at = self._receiver
            steps = {
                "drop": at.drop, "verify": at.verify, "unpack": at.unpack,
                "environment": at.environment, "golden": at.golden, "latency": at.latency,
                "service": at.service, "restart": at.restart, "switch": at.switch,
                "prune": at.prune,
            }  # fmt: skip
        action = own.get(str(name)) or steps.get(str(name))
        if action is None:
            raise Refused(f"{name!r} cannot be asked for now")
        return action(**request)

    def _opened(self) -> App:
        if self._app is None:
            raise Refused("no application has been opened")
        return self._app


def requests() -> Iterator[Answer]:
    """Yield the host's requests until it closes the line or falls silent."""
    waiting = b""
    while True:
        line, end, rest = waiting.partition(b"\n")
        if end:
            waiting = rest
            if line.strip():
                yield json.loads(line)
            continue
        if not select.select([0], [], [], IDLE_S)[0]:
            return
        part = os.read(0, 1 << 16)
        waiting += part
        if not part or len(waiting) > _MAX_LINE:
            return


def main() -> int:
    """Answer until the host has gone."""
    os.umask(0o022)
    talk = Talk()
    try:
        for request in requests():
            try:
                answer: Answer = {"ok": talk.answer(request)}
            except Refused as refused:
                answer = {"refused": " ".join(str(refused).split())}
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                answer = {"refused": f"{error.strerror or error}{where}: nothing was switched"}
            except Exception as error:  # a request that cannot be: the talk goes on
                answer = {"refused": f"unexpected {type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    except BrokenPipeError:
        return 1
    finally:
        talk.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
