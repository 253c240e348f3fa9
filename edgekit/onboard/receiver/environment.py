"""Which Python runs a version on this board: one that has, to the letter, what its lock names.

Where the board's own Python lacks it, a virtual environment is made under
`~/.edgekit/environments/`, from the bundle's wheelhouse alone if it has one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.durable import flush_folder
from edgekit.onboard.receiver.programs import last_words, run
from edgekit.onboard.receiver.run_script import write_run

_INSTALL_S = 1800.0
_VERSIONS = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


def prepare(python: str, index: dict[str, Any], version: Path, environments: Path) -> str:
    """Return the Python that runs the unpacked `version`, and write its `run` script.

    `python` is the one this runs in, by the name or path it was started with. Where no lock of the
    bundle is for this board, that one is taken as it is: the golden test decides. Raises Refused
    where the locked packages are not there and cannot be installed.
    """
    chosen, lock = shutil.which(python), _lock_for(index)
    if chosen is None:
        raise Refused(f"this board has no {python}: give --python")
    if lock and not _has(chosen, version / lock):
        chosen = str(_environment(chosen, version / lock, version / "wheelhouse", environments))
    write_run(version, chosen)
    return chosen


def _lock_for(index: dict[str, Any]) -> str | None:
    """Return the name of the bundle's lock that is for this board, or None."""
    names = {entry["name"] for entry in index["files"]}
    here = {"machine": platform.machine(), "python": "{}.{}".format(*sys.version_info[:2])}
    glibc = _numbers(platform.libc_ver()[1])
    for item in index.get("platforms", []):
        same = all(item[key] == value for key, value in here.items())
        if same and glibc >= _numbers(item["glibc"]) and item["requirements"] in names:
            return str(item["requirements"])
    return None


def _has(python: str, lock: Path) -> bool:
    """Tell whether a Python has every package of a lock, in just its version."""
    pinned = dict(_PINNED.findall(lock.read_text()))
    command = [python, "-c", _VERSIONS, *pinned]
    done = run(command, lock.parent, 60, lock.parent.parent.with_name(".scratch.aside"))
    try:
        return bool(json.loads(done.stdout) == pinned)
    except ValueError:
        raise Refused(f"{python} does not work here: {last_words(done)}") from None


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
