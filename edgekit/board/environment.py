"""Which Python runs a version on this board: one that has, to the letter, what its lock names.

Where the board's own Python lacks it, a virtual environment is made under
`~/.edgekit/environments/`, from the bundle's wheelhouse alone if it has one.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from edgekit.board import Refused
from edgekit.board.durable import flush_tree, write_whole
from edgekit.board.programs import last_words, run

RUN = "run"
"""The script in a version's folder that starts its runner with the right Python."""

_INSTALL_S = 1800.0
_PROBE = """
import json, platform, sys
from importlib import metadata
found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()}
print(json.dumps({"python": "%d.%d" % sys.version_info[:2], "machine": platform.machine(),
                  "glibc": platform.libc_ver()[1], "path": sys.executable, "found": found}))
"""
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


def prepare(python: str, index: dict[str, Any], version: Path, environments: Path) -> str:
    """Return the Python that runs the unpacked `version`, and write its `run` script.

    `python` is the board's own, by name or path. Where no lock of the bundle is for this board,
    that one is taken as it is: the golden test decides. Raises Refused where the locked packages
    are not there and cannot be installed.
    """
    board = probe(python)
    chosen = str(board["path"])
    requirements = _requirements(index, board)
    if requirements:
        lock = version / requirements
        pinned = dict(_PINNED.findall(lock.read_text()))
        if any(board["found"].get(name.lower()) != pinned[name] for name in pinned):
            chosen = str(_environment(chosen, lock, version / "wheelhouse", environments))
    script = f'#!/bin/sh\nexec {shlex.quote(chosen)} "$(dirname "$0")/runner.py" "$@"\n'
    write_whole(version / RUN, script.encode(), 0o755)
    return chosen


def probe(python: str) -> dict[str, Any]:
    """Return what a Python of this board is and has. Raises Refused where it is none."""
    done = run([python, "-c", _PROBE], Path.home(), 60)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Refused(f"{python} does not answer as Python: {last_words(done)}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("found"), dict):
        raise Refused(f"{python} does not answer as Python does")
    return answer


def _requirements(index: dict[str, Any], board: dict[str, Any]) -> str | None:
    """Return the name of the bundle's lock that is for this board, or None."""
    names = {entry["name"] for entry in index["files"]}
    for platform in index.get("platforms", []):
        same = all(platform.get(key) == board[key] for key in ("machine", "python"))
        new_enough = _numbers(board["glibc"]) >= _numbers(str(platform.get("glibc", "")))
        if same and new_enough and platform.get("requirements") in names:
            return str(platform["requirements"])
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _environment(python: str, lock: Path, wheelhouse: Path, environments: Path) -> Path:
    """Return the Python of the virtual environment that holds `lock`, made where it is missing."""
    identity = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:16]
    place = environments / identity
    if not place.is_dir():
        environments.mkdir(parents=True, exist_ok=True)
        aside = environments / f".{identity}.aside"
        shutil.rmtree(aside, ignore_errors=True)
        made = run([python, "-m", "venv", str(aside)], environments, _INSTALL_S)
        if made.returncode:
            raise Refused(f"no virtual environment ({last_words(made)}): install python3-venv")
        command = [str(aside / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        command += [
            "--disable-pip-version-check",
            "--no-input",
            "--require-hashes",
            "-r",
            str(lock),
        ]
        if wheelhouse.is_dir():
            command += ["--no-index", "--find-links", str(wheelhouse)]
        done = run(command, environments, _INSTALL_S)
        if done.returncode:
            shutil.rmtree(aside, ignore_errors=True)
            raise Refused(
                f"the runtime cannot be installed ({last_words(done)}): "
                "bundle it with --wheelhouse, or give --python"
            )
        aside.rename(place)
        flush_tree(environments)
    return place / "bin" / "python"
