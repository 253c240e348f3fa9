"""The systemd user unit that runs an application: installed before a switch, restarted by it.

    ~/.config/systemd/user/UNIT              the unit, whose program is .../apps/NAME/current/run
    ~/.edgekit/apps/NAME/service.json        its name, and the version it was last started with

A version whose service does not come up is taken back, and the one before is started again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.durable import write_whole

SETTLE_S = 3.0
"""A program that ends at once is seen to end within this; it must be active all the while."""
_POLL_S = 0.5
_TIMEOUT_S = 100.0
"""Longer than systemd's own 90 s for a unit that will not stop."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}\.service")
_MAX_LETTERS = 64 << 10


class Service:
    """The unit of one application, if it has one. Whoever changes it holds the application."""

    def __init__(self, app_folder: Path) -> None:
        self._record = app_folder / "service.json"

    def unit(self) -> str | None:
        """Return the unit's name, or None where the application has none."""
        return self._read("unit")

    def started(self) -> str | None:
        """Return the version the unit was last started with."""
        return self._read("started")

    def text(self) -> str | None:
        """Return the unit as it is installed, or None."""
        unit = self.unit()
        try:
            return (_units() / unit).read_text() if unit else None
        except OSError:
            return None

    def check(self, unit: str, text: str) -> None:
        """Raise Refused where this unit could not be installed here; nothing is changed."""
        if not _NAME.fullmatch(unit):
            raise Refused(f"{unit!r} is no unit's name: call the file NAME.service")
        if len(text) > _MAX_LETTERS or "[Service]" not in text:
            raise Refused(f"{unit} is no systemd service: it lacks the section [Service]")
        other = _units() / unit
        if other.exists() and self.unit() != unit:
            raise Refused(f"{other} is there and was not made by edgekit: give yours another name")
        _systemctl("show-environment")

    def install(self, unit: str, text: str) -> None:
        """Write the unit and let it start with the user's session, in place of an earlier one."""
        old = self.unit()
        if old and old != unit:
            self.remove()
        _units().mkdir(parents=True, exist_ok=True)
        self._write(unit, self.started() if old == unit else None)
        write_whole(_units() / unit, text.encode())
        _systemctl("daemon-reload")
        _systemctl("enable", unit)

    def restart(self, version: str) -> None:
        """Start the unit afresh. Raises Refused in systemd's words where it does not stay up."""
        unit = self.unit()
        if unit is None:
            return
        _systemctl("restart", unit)
        end = time.monotonic() + SETTLE_S
        while True:
            state = _state(unit)
            if state != "active":
                raise Refused(f"{unit} is {state}: see journalctl --user -u {unit} on the board")
            if time.monotonic() >= end:
                break
            time.sleep(_POLL_S)
        self._write(unit, version)

    def remove(self) -> None:
        """Stop the unit and remove it."""
        unit = self.unit()
        if unit is None:
            return
        _systemctl("disable", "--now", unit)
        (_units() / unit).unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        _systemctl("daemon-reload")

    def _read(self, field: str) -> str | None:
        try:
            record = json.loads(self._record.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        value = record.get(field) if isinstance(record, dict) else None
        if not isinstance(value, str) or (field == "unit" and not _NAME.fullmatch(value)):
            return None
        return value

    def _write(self, unit: str, started: str | None) -> None:
        write_whole(self._record, json.dumps({"unit": unit, "started": started}).encode())


def _units() -> Path:
    return Path.home() / ".config" / "systemd" / "user"


def _state(unit: str) -> str:
    """Return what systemd says of a unit: active, activating, failed, inactive."""
    done = _call("is-active", unit)
    return done.stdout.strip()[:50] or f"unknown ({_said(done)})"


def _systemctl(*words: str) -> None:
    """Run `systemctl --user`. Raises Refused in its words where it fails."""
    done = _call(*words)
    if done.returncode:
        raise Refused(f"systemctl --user {' '.join(words)}: {_said(done)}")


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemctl")
    if program is None:
        raise Refused("this board has no systemctl: deploy without --service")
    environment = dict(os.environ)
    # A session over SSH may lack it, and systemctl then finds no user's systemd.
    environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    try:
        return subprocess.run(
            [program, "--user", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"systemctl --user {words[0]}: {error}") from None


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else f"exit code {done.returncode}")[:300]
