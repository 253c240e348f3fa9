"""Gives a board the runtimes: virtual environments of its own under `~/.edgekit`, and no more.

    ~/.edgekit/env/main-<digest>/   an environment; the digest is that of its wheels
    ~/.edgekit/env/main             a link to the one in use, switched once the new one works
    ~/.edgekit/env/numpy1 ...       the same for tflite-runtime, which dies with NumPy 2
    ~/.edgekit/wheels/              what was sent: pip itself, and the wheels of a wheelhouse

Debian's Python comes without ensurepip, often without pip: pip's own wheel is sent and runs from
there, so that a board needs no more than python3 and its venv module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.devices.ssh_link.address import Address
from edgekit.devices.ssh_link.connection import Connection, connect
from edgekit.devices.ssh_link.environment import (
    DEFAULT_RUNTIMES,
    BoardEnvironment,
    environments,
    lock_for,
)
from edgekit.devices.ssh_link.interpreter import interpreter
from edgekit.errors import DeviceError
from edgekit.files import sha256
from edgekit.progress import Say, silent
from edgekit.runtimes import wheels
from edgekit.scratch import scratch_folder
from edgekit.targets import DeviceFacts, Target

BUILD_S = 3600.0
"""A hundred megabytes from a slow network, unpacked on a slow card."""
_ORDER_S = 60.0
_WHEELS = ".edgekit/wheels"

_BUSY, _NO_VENV, _NO_WHEELS, _NO_IMPORT = 75, 70, 71, 72
# In one program, so that the lock is the kernel's and ends with it however it ends. What the new
# environment replaces stays until the next time: something may be running in it.
_BUILD = f"""\
place=$1 new=$2 pip=$HOME/$3 pinned=$HOME/$4 imports=$5
shift 5
mkdir -p "$HOME/.edgekit/env" && cd "$HOME/.edgekit/env" || exit
exec 9>.lock
flock -n 9 || exit {_BUSY}
for old in "$place"-*; do
    [ "$old" = "$(readlink "$place")" ] || rm -rf "$old"
done
python3 -I -m venv --without-pip "$new" || exit {_NO_VENV}
export TMPDIR="$HOME/.edgekit/env/$new/tmp" XDG_CACHE_HOME="$HOME/.edgekit/env/$new/tmp"
mkdir "$TMPDIR" || exit
"$new/bin/python" -I "$pip/pip" install --quiet --no-input --no-deps --no-cache-dir \\
    --disable-pip-version-check --only-binary=:all: --require-hashes --requirement "$pinned" \\
    "$@" || exit {_NO_WHEELS}
"$new/bin/python" -I -c "$imports" || exit {_NO_IMPORT}
rm -rf "$TMPDIR"
sync
ln -sfn "$new" ".$place" && mv -fT ".$place" "$place"
"""
_WHY = {
    _BUSY: "another provisioning is at work there: wait for it",
    _NO_VENV: "its Python makes no virtual environment: sudo apt install python3-venv there",
    _NO_WHEELS: "pip there did not get the runtimes: a board without internet needs --wheelhouse",
    _NO_IMPORT: "a runtime does not start there",
}


@dataclass(frozen=True, slots=True)
class Provisioned:
    """An environment that is in use on a board; `kept` where it was before."""

    environment: BoardEnvironment
    kept: bool


def provision(
    address: Address,
    facts: DeviceFacts,
    *,
    target: Target | None = None,
    runtimes: Sequence[str] = DEFAULT_RUNTIMES,
    wheelhouse: Path | None = None,
    say: Say = silent,
) -> tuple[Provisioned, ...]:
    """Give the board what `runtimes` (the runner's names) need; what it has already is kept.

    The wheels are those of the board's lock where one is for it, else the newest that it accepts.
    With `wheelhouse` they are fetched into that folder here and sent, and the board needs no
    network; else its own pip settings serve. Raises UserError for an unknown runtime, and
    DeviceError in one line, with what the board used before still in use.
    """
    connection = connect(address)
    try:
        with scratch_folder() as scratch:
            store = wheelhouse or Path(scratch)
            store.mkdir(parents=True, exist_ok=True)
            say("wheels", "choosing")
            found = interpreter(connection)
            lock = lock_for(found, facts, target)
            made = []
            for item in environments(found, lock, runtimes, store):
                kept = _in_use(connection, item)
                if not kept:
                    if lock and wheelhouse:
                        say("wheels", "fetching those of the board's lock")
                        wheels.fetch(replace(lock, wheels=item.wheels), store)
                    pip = wheels.pip_wheel(found.minor, found.glibc, store)
                    sent = [store / wheel.file for wheel in item.wheels] if wheelhouse else []
                    for file in (pip, *sent):
                        say("wheels", f"sending {file.name.partition('-')[0]}")
                        _send(connection, file)
                    say("install", f"{item.place}: {', '.join(item.runtimes)}")
                    _build(connection, item, pip.name, offline=wheelhouse is not None)
                made.append(Provisioned(item, kept))
            say("wheels", "done")
            say("install", "done")
            return tuple(made)
    finally:
        connection.close()


_STOP_SERVICES = """
: "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR
for record in "$HOME"/.edgekit/apps/*/service.json; do
  [ -f "$record" ] || continue
  unit=$(sed -n 's/.*"unit": "\\([A-Za-z0-9][A-Za-z0-9_.-]*\\.service\\)".*/\\1/p' "$record")
  [ -n "$unit" ] || continue
  systemctl --user disable --now "$unit"
  rm -f "$HOME/.config/systemd/user/$unit"
  systemctl --user daemon-reload
done
"""
"""What `edgekit deploy --service` installed outside of ~/.edgekit."""


def clean(address: Address) -> bool:
    """Remove `~/.edgekit` from the board, and its services; returns whether there was one."""
    connection = connect(address)
    try:
        connection.run(["sh", "-c", _STOP_SERVICES], timeout=BUILD_S)
        there = connection.kind_below(connection.home, ".edgekit") != "missing"
        done = connection.run(["rm", "-rf", "--", ".edgekit"], timeout=BUILD_S)
        if done.exit_code:
            raise DeviceError(f"{address}: ~/.edgekit cannot be removed: {_last(done.stderr)}")
        return there
    finally:
        connection.close()


def _in_use(connection: Connection, item: BoardEnvironment) -> bool:
    """Tell whether the board uses just this environment and it still starts."""
    link = connection.run(["readlink", f".edgekit/env/{item.place}"], timeout=_ORDER_S)
    if link.stdout.decode(errors="replace").strip() != item.folder:
        return False
    folder = f"{connection.home}/.edgekit/env/{item.folder}"
    python = ["env", f"XDG_CACHE_HOME={folder}/cache", f"{folder}/bin/python", "-I"]
    tried = connection.run([*python, "-c", _imports(item)], timeout=BUILD_S)
    return tried.exit_code == 0


def _send(connection: Connection, file: Path) -> None:
    """Send a wheel unless it is there; one that was cut off goes on."""
    there = f"{_WHEELS}/{file.name}"
    if connection.kind_below(connection.home, there) != "file" or (
        connection.sha256(there) != sha256(file)
    ):
        connection.put(file, there)


def _build(connection: Connection, item: BoardEnvironment, pip: str, *, offline: bool) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(item.pinned)
        pinned.flush()
        connection.put(Path(pinned.name), f"{_WHEELS}/{item.place}.txt")
    options = ["--no-index", "--find-links", f"{connection.home}/{_WHEELS}"] if offline else []
    arguments = [
        *(item.place, item.folder, f"{_WHEELS}/{pip}", f"{_WHEELS}/{item.place}.txt"),
        *(_imports(item), *options),
    ]
    done = connection.run(["sh", "-c", _BUILD, "sh", *arguments], timeout=BUILD_S)
    if done.exit_code:
        why = _WHY.get(done.exit_code, "its environment cannot be made")
        raise DeviceError(f"{connection.address}: {why} ({_last(done.stderr)})")


def _imports(item: BoardEnvironment) -> str:
    return f"import {', '.join(item.modules)}"


def _last(stderr: bytes) -> str:
    """Return the line that says most of why a program failed: pip's own ERROR, or the last."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors[-1:] or lines[-1:] or ["it did not say why"])[0]
