"""Which Python runs a version on this board: one that has, to the letter, what its lock names.

Where the board's own Python lacks it, a virtual environment is made under
`~/.edgekit/environments/`, from the bundle's wheelhouse alone if it has one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from edgekit.board import Refused
from edgekit.board.durable import flush_folder, write_whole
from edgekit.board.programs import last_words, run

RUN = "run"
"""The script in a version's folder that starts its runner with the right Python."""

_INSTALL_S = 1800.0
_PROBE = """
import json, platform, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], "machine": platform.machine(),
                  "glibc": platform.libc_ver()[1], "found": found}))
"""
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


def prepare(python: str, index: dict[str, Any], version: Path, environments: Path) -> str:
    """Return the Python that runs the unpacked `version`, and write its `run` script.

    `python` is the board's own, by name or path. Where no lock of the bundle is for this board,
    that one is taken as it is: the golden test decides. Raises Refused where the locked packages
    are not there and cannot be installed.
    """
    locks = _locks(index, version)
    names = sorted({name for pinned in locks.values() for name in pinned})
    board = probe(python, names, version.with_name(".scratch.aside"))
    chosen, lock = str(shutil.which(python) or python), _lock_for(index, board)
    if lock in locks and any(board["found"].get(n) != v for n, v in locks[lock].items()):
        chosen = str(_environment(chosen, version / lock, version / "wheelhouse", environments))
    script = f'#!/bin/sh\nexec {shlex.quote(chosen)} "$(dirname "$0")/runner.py" "$@"\n'
    write_whole(version / RUN, script.encode(), 0o755)
    return chosen


def probe(python: str, names: list[str], scratch: Path) -> dict[str, Any]:
    """Return what a Python of this board is, and the versions it has of the packages `names`.

    Raises Refused where it is no Python.
    """
    done = run([python, "-c", _PROBE, *names], Path.home(), 60, scratch)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Refused(f"{python} does not answer as Python: {last_words(done)}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("found"), dict):
        raise Refused(f"{python} does not answer as Python does")
    return answer


def _locks(index: dict[str, Any], version: Path) -> dict[str, dict[str, str]]:
    """Return the bundle's locks: file name, and the versions of the packages it names."""
    names = {entry["name"] for entry in index["files"]}
    locks = {str(p["requirements"]) for p in index.get("platforms", [])} & names
    return {name: dict(_PINNED.findall((version / name).read_text())) for name in sorted(locks)}


def _lock_for(index: dict[str, Any], board: dict[str, Any]) -> str:
    """Return the name of the lock that is for this board, or ''."""
    for platform in index.get("platforms", []):
        same = all(platform.get(key) == board[key] for key in ("machine", "python"))
        if same and _numbers(board["glibc"]) >= _numbers(str(platform.get("glibc", ""))):
            return str(platform["requirements"])
    return ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _environment(python: str, lock: Path, wheelhouse: Path, environments: Path) -> Path:
    """Return the Python of the virtual environment that holds `lock`, made where it is missing."""
    identity = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:16]
    place = environments / identity
    environments.mkdir(parents=True, exist_ok=True)
    with (environments / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another application's deploy may want the same
        if not place.is_dir():
            aside = environments / f".{identity}.aside"
            shutil.rmtree(aside, ignore_errors=True)
            try:
                _install(python, lock, wheelhouse, aside)
                os.sync()
                aside.rename(place)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            flush_folder(environments)
    return place / "bin" / "python"


def _install(python: str, lock: Path, wheelhouse: Path, environment: Path) -> None:
    """Make a virtual environment with just the wheels of `lock`.

    Debian's Python comes without ensurepip: pip is the wheelhouse's, or the board's own.
    """
    make = [python, "-m", "venv", "--without-pip", str(environment)]
    scratch = environment.with_name(".scratch.aside")
    made = run(make, lock.parent, _INSTALL_S, scratch)
    if made.returncode:
        raise Refused(f"no virtual environment ({last_words(made)}): install python3-venv")
    inside = str(environment / "bin" / "python")
    pip, source = [python, "-m", "pip", "--python", inside], []
    for wheel in wheelhouse.glob("pip-*.whl"):
        pip, source = [inside, str(wheel / "pip")], ["--no-index", "--find-links", str(wheelhouse)]
    options = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check"]
    options += ["--no-cache-dir", "--require-hashes", "--requirement", str(lock), *source]
    done = run([*pip, "install", *options], lock.parent, _INSTALL_S, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode:
        raise Refused(
            f"the runtime cannot be installed ({last_words(done)}): "
            "bundle it with --wheelhouse, or give --python"
        )
