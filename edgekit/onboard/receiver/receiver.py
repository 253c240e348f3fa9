"""One deploy on the board, step by step, as the host asks for them; nothing serves before the end.

A step that is refused, a full disk, a lost host: the version that served goes on serving, and
what was begun is removed when the process ends, or by the next one.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import (
    Head,
    check_sha256,
    damage,
    open_bundle,
    unpack,
    unpacked_head,
)
from edgekit.onboard.receiver.durable import flush_tree, sha256
from edgekit.onboard.receiver.environment import prepare
from edgekit.onboard.receiver.run_script import run_fault
from edgekit.onboard.receiver.service import Service
from edgekit.onboard.receiver.signature import TRUSTED, signer
from edgekit.onboard.receiver.store import App, home, remove
from edgekit.onboard.receiver.trial import golden, latency

_SPARE_BYTES = 1 << 20


class Receiver:
    """Takes one bundle into an application whose lock this process holds."""

    def __init__(self, app: App, bundle: str) -> None:
        self._app = app
        self._version = check_sha256(bundle)
        self._file = app.incoming / self._version
        self._head: Head | None = None
        self._python = ""
        self._proven = False
        self._serving = False
        self._service = Service(app.folder)
        self._unit: tuple[str, str] | None = None

    def room(self, size: int) -> dict[str, Any]:
        """Say where the bundle goes; refuse where the disk could not hold it twice, unpacked too.

        An upload of this bundle that was cut stays, to be continued; every other is removed.
        `serving`: it serves already, and is whole; `verify` then judges what serves.
        """
        if self._app.active() == self._version and self._app.fault(self._version) is None:
            self._serving = True
            return {"serving": True}
        self._app.sweep()
        kept = {self._version, f".{self._version[:32]}.partial"}
        self._app.incoming.mkdir(parents=True, exist_ok=True)
        for path in self._app.incoming.iterdir():
            if path.name not in kept:
                remove(path)
        begun = sum(path.stat().st_size for path in self._app.incoming.iterdir())
        needed = 2 * size - min(begun, size) + _SPARE_BYTES
        free = shutil.disk_usage(self._app.folder).free
        if free < needed:
            raise Refused(
                f"no room: the bundle needs {needed / 1e6:,.1f} MB here and {free / 1e6:,.1f} MB "
                "are free: make some"
            )
        return {"path": str(self._file.relative_to(Path.home())), "serving": False}

    def drop(self) -> dict[str, Any]:
        """Remove the upload: it will not be continued."""
        remove(self._app.incoming)
        return {}

    def verify(self, required: bool, older: bool = False) -> dict[str, Any]:
        """Hash the upload as it is on this disk, and check who signed it.

        What serves already was hashed by `room` and is only asked for its signature. Raises
        Refused for a release below the highest that has served here, unless `older` allows it.
        """
        if self._serving:
            head = unpacked_head(self._app.path(self._version))
            return {
                "sha256": self._version,
                "signed_by": signer(head, home() / TRUSTED, required),
            }
        if not self._file.is_file() or sha256(self._file) != self._version:
            self._file.unlink(missing_ok=True)
            raise Refused("the bundle arrived damaged: check the board's disk, then try again")
        head = open_bundle(self._file)
        if head.index["name"] != self._app.name:
            raise Refused(f"the bundle is of {head.index['name']}, not of {self._app.name}")
        signed_by = signer(head, home() / TRUSTED, required)
        release, floor = head.index.get("release") or 0, self._app.release()
        if release < floor and not older:
            given = f"release {release}" if release else "without a number"
            raise Refused(
                f"this board has served release {floor} and the bundle is {given}: "
                "give --allow-older if you mean to go back"
            )
        self._head = head
        return {"sha256": self._version, "signed_by": signed_by}

    def unpack(self) -> dict[str, Any]:
        """Unpack the verified bundle aside."""
        if self._head is None:
            raise Refused("the bundle has not been verified")
        head = unpack(self._file, self._app.aside)
        if head.index_bytes != self._head.index_bytes:
            raise Refused("the bundle changed after it was verified: refused")
        return {"files": len(head.files)}

    def environment(self, python: str) -> dict[str, Any]:
        """Find or make the Python that runs it."""
        if self._head is None or not self._app.aside.is_dir():
            raise Refused("the bundle has not been unpacked")
        self._python = prepare(python, self._head.index, self._app.aside, home() / "environments")
        return {"python": self._python}

    def golden(self) -> dict[str, Any]:
        """Run the golden test on it."""
        if not self._python:
            raise Refused("the bundle has no Python yet")
        event = golden(self._python, self._app.aside)
        self._proven = True
        return {key: event.get(key) for key in ("count", "outputs", "runtime", "runtime_version")}

    def latency(self, limit_ms: float | None) -> dict[str, Any]:
        """Hold the p90 to the lower of the bundle's limit and `limit_ms`, if there is one."""
        if self._head is None or not self._proven:
            raise Refused("the bundle has not passed its golden test")
        limits = [limit_ms, self._head.index.get("max_p90_ms")]
        given = [float(limit) for limit in limits if limit is not None]
        if not given:
            return {"p90_ms": None}
        self._proven = False
        p90 = latency(self._python, self._app.aside, min(given), self._app.folder)
        self._proven = True
        return {"p90_ms": p90, "limit_ms": min(given)}

    def service(self, unit: str, text: str) -> dict[str, Any]:
        """Take the unit that is to run the application from the switch on; check it only."""
        self._service.check(unit, text)
        self._unit = (unit, text)
        return {"unit": unit}

    def restart(self) -> dict[str, Any]:
        """Let the unit run what serves already, unless it does."""
        active = self._app.active()
        wanted = self._unit or (self._service.unit(), self._service.text())
        now = (self._service.unit(), self._service.text())
        if active and wanted[0] and (now != wanted or self._service.started() != active):
            if self._unit:
                self._service.install(*self._unit)
            self._service.restart(active)
            return {"restarted": wanted[0]}
        return {"restarted": None}

    def switch(self) -> dict[str, Any]:
        """Let the proven version serve, and its service run it.

        A service that does not come up takes the switch back: the version before serves again.
        """
        if self._head is None or not self._proven:
            raise Refused("the bundle has not been proven here")
        before = self._app.active()
        # Its own programs ran in it meanwhile.
        fault = damage(self._app.aside, self._version) or run_fault(self._app.aside)
        if fault:
            raise Refused(f"the version changed while it was tried: {fault}")
        flush_tree(self._app.aside)
        self._app.adopt(self._version)
        unit = (self._service.unit(), self._service.text())
        history, release = self._app.history(), self._app.release()
        self._app.raise_release(self._head.index.get("release"))
        self._app.switch(self._version)
        try:
            if self._unit:
                self._service.install(*self._unit)
            self._service.restart(self._version)
        except Refused as refused:
            self._app.put_back(before, history, release)
            self._restore(unit, before)
            again = f"{before[:12]} serves again" if before else "nothing serves, as before"
            raise Refused(f"the service did not start ({refused}): {again}") from None
        return {"active": self._version, "before": before, "service": self._service.unit()}

    def _restore(self, unit: tuple[str | None, str | None], version: str | None) -> None:
        """Put the unit back that was there, and start it again, as well as systemd lets."""
        name, text = unit
        with suppress(Refused):
            if name and text:
                self._service.install(name, text)
            else:
                self._service.remove()
            if version:
                self._service.restart(version)

    def prune(self, keep: int) -> dict[str, Any]:
        """Remove the upload and all but the last `keep` versions."""
        return {"removed": self._app.prune(keep)}

    def close(self) -> None:
        """Remove what is unfinished; an upload stays, to be continued."""
        self._app.sweep()
