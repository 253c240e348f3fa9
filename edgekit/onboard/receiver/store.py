"""The versions of one application on a board, and which of them serves.

    ~/.edgekit/apps/NAME/versions/SHA256/    whole unpacked bundles, by the bundle's hash
    ~/.edgekit/apps/NAME/current             symbolic link to the one that serves
    ~/.edgekit/apps/NAME/history.json        what has served, in order; what follows `current` never
                                             did, or was rolled back
    ~/.edgekit/apps/NAME/release.json        the highest release number that has served, if any
    ~/.edgekit/apps/NAME/service.json        the systemd unit that runs it, if any (service.py)
    ~/.edgekit/apps/NAME/incoming/           uploads not yet whole
    ~/.edgekit/apps/NAME/aside/              a version not yet proven
    ~/.edgekit/apps/NAME/lock                held by the one deploy at work

`current` is the truth; whatever stands in `aside` or `incoming` when the lock is free was left by
a run that died. Order is the history's, never a clock's.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import RUN, check_app, damage, unpacked_head
from edgekit.onboard.receiver.durable import flush_folder, flush_tree, point, write_whole
from edgekit.onboard.receiver.run_script import run_fault
from edgekit.onboard.receiver.signature import TRUSTED, signer

_POLL_S = 0.1


def home() -> Path:
    """Return the one folder on a board that edgekit writes to."""
    return Path.home() / ".edgekit"


def app_names() -> list[str]:
    """Return the applications of this board."""
    return [path.name for path in _in_apps() if _is_app(path)]


def strays() -> list[str]:
    """Return what stands among the applications and is none."""
    return [path.name for path in _in_apps() if not _is_app(path)]


def _in_apps() -> list[Path]:
    folder = home() / "apps"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_app(path: Path) -> bool:
    try:
        return bool(check_app(path.name)) and path.is_dir()
    except Refused:
        return False


class App:
    """One application's folder. Whoever changes it holds `locked`."""

    def __init__(self, name: str) -> None:
        self.name = check_app(name)
        self.folder = home() / "apps" / name
        self.versions = self.folder / "versions"
        self.incoming = self.folder / "incoming"
        self.aside = self.folder / "aside"
        self._current = self.folder / "current"
        self._history = self.folder / "history.json"
        self._release = self.folder / "release.json"

    @contextmanager
    def locked(self, wait: float) -> Iterator[None]:
        """Hold the application for this process; the system lets go of it however that ends.

        Raises Refused where another process still holds it after `wait` seconds.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + wait
        with (self.folder / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise Refused(
                            f"another deploy of {self.name} is at work on this board: wait for it"
                        ) from None
                    time.sleep(_POLL_S)
            yield

    def sweep(self) -> None:
        """Remove what a run that died left half done; uploads stay, they can be continued."""
        for path in (self.aside, *self.folder.glob(".*.aside")):
            remove(path)

    def path(self, version: str) -> Path:
        """Return the folder of a version."""
        return self.versions / version

    def active(self) -> str | None:
        """Return the version that serves, or None where none does yet."""
        try:
            version = self._current.readlink().name
        except OSError:
            return None
        return version if self.path(version).is_dir() else None

    def history(self) -> list[str]:
        """Return the versions that have served, the present one last."""
        try:
            listed = json.loads(self._history.read_bytes())
        except (OSError, ValueError):
            listed = []
        listed = listed if isinstance(listed, list) else []
        known = [v for v in listed if isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v)]
        known = [version for version in known if self.path(version).is_dir()]
        active = self.active()
        if active is None:
            return []
        return known[: known.index(active) + 1] if active in known else [active]

    def adopt(self, version: str) -> None:
        """Move the proven `aside` into its place among the versions.

        A whole one that is there already stays, since it may be the one that serves; it only
        takes over how it is run.
        """
        place = self.path(version)
        self.versions.mkdir(exist_ok=True)
        if damage(place, version) is None:
            (self.aside / RUN).replace(place / RUN)
        else:
            broken = self.folder / ".broken.aside"
            if place.exists():
                place.rename(broken)
            self.aside.rename(place)
            shutil.rmtree(broken, ignore_errors=True)
        flush_tree(self.versions)

    def fault(self, version: str) -> str | None:
        """Return what is wrong with a version in its place, its `run` script too, or None."""
        place = self.path(version)
        return damage(place, version) or run_fault(place)

    def release(self) -> int:
        """Return the highest release number that has served here, 0 where none had one.

        Raises Refused where that is no longer known: an old release must not pass for a new one.
        """
        if not os.path.lexists(self._release):
            return 0
        try:
            number = json.loads(self._release.read_bytes())
        except (OSError, ValueError, RecursionError):
            number = None
        if type(number) is not int:
            raise Refused(
                f"{self._release} is damaged: write the release number into it that serves"
            )
        return number

    def raise_release(self, number: int | None) -> None:
        """Remember the release number of what is about to serve; it never sinks by itself."""
        if number is not None and number > self.release():
            write_whole(self._release, json.dumps(number).encode())

    def switch(self, version: str) -> None:
        """Let a version serve that is in its place, in one instant.

        The history is written first: where a cut falls between, its last entry never served, and
        is read as such.
        """
        before = [item for item in self.history() if item != version]
        write_whole(self._history, json.dumps([*before, version]).encode())
        point(self._current, f"versions/{version}")

    def put_back(self, version: str | None, history: list[str], release: int) -> None:
        """Take a switch back: let `version` serve again, or nothing where nothing did."""
        if release:
            write_whole(self._release, json.dumps(release).encode())
        else:
            self._release.unlink(missing_ok=True)
        if version is None:
            self._current.unlink(missing_ok=True)
            self._history.unlink(missing_ok=True)
            flush_folder(self.folder)
            return
        point(self._current, f"versions/{version}")
        write_whole(self._history, json.dumps(history).encode())

    def roll_back(self, required: bool = False) -> str:
        """Let the version serve that served before, and return it.

        Raises Refused where there is none, where it is not whole any more, and where this board,
        or the host (`required`), takes signed bundles only and nobody trusted has signed it.
        """
        history = self.history()
        if len(history) < 2:
            raise Refused(f"{self.name} has no earlier version on this board: deploy one")
        version = history[-2]
        fault = self.fault(version)
        if fault:
            raise Refused(f"the earlier version {version[:12]} is damaged ({fault}): deploy it")
        try:
            signer(unpacked_head(self.path(version)), home() / TRUSTED, required)
        except Refused as refused:
            raise Refused(f"the earlier version {version[:12]} may not serve: {refused}") from None
        point(self._current, f"versions/{version}")
        write_whole(self._history, json.dumps(history[:-1]).encode())
        return version

    def prune(self, keep: int) -> list[str]:
        """Remove all versions but the last `keep` that served, and every upload; return them."""
        kept = self.history()[-max(keep, 1) :]
        gone = [path for path in sorted(self.versions.iterdir()) if path.name not in kept]
        for path in gone:
            shutil.rmtree(path)
        shutil.rmtree(self.incoming, ignore_errors=True)
        flush_folder(self.versions)
        return [path.name for path in gone]

    def status(self) -> dict[str, Any]:
        """Return which version serves, whether it is whole, and which can be rolled back to."""
        active, history = self.active(), self.history()
        about: dict[str, Any] = {"app": self.name, "active": active, "earlier": history[:-1]}
        if active:
            about["damage"] = self.fault(active)
            if about["damage"] is None:
                about["label"] = str(unpacked_head(self.path(active)).index.get("label", ""))
        return about


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
