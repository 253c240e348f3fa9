"""What an artifact needs to run on a board, locked per platform, with the wheels if wanted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.backends import load_backend
from edgekit.runtimes.locks import known_locks
from edgekit.runtimes.platforms import ARCHITECTURE
from edgekit.runtimes.table import find_runtime
from edgekit.runtimes.wheels import fetch, pip_wheel

_ALWAYS = ("numpy", "pillow")
"""What the runner itself imports."""


def write_requirements(
    artifact: Artifact, folder: Path, wheelhouse: Path | None
) -> list[dict[str, Any]]:
    """Write `requirements/PLATFORM.txt` for every locked platform and return the platforms.

    Each names the architecture, Python and least glibc it is for, and its file. With a
    `wheelhouse` the wheels are copied to `wheelhouse/`, those it lacks fetched to it first.
    """
    runtime = find_runtime(load_backend(artifact.manifest.backend).RUNTIME)
    half = artifact.manifest.precision == "fp16-compute"
    needed = {*runtime.distributions(half=half), *_ALWAYS} if runtime else set(_ALWAYS)
    platforms: dict[str, dict[str, Any]] = {}
    for lock in known_locks():
        name = f"requirements/{ARCHITECTURE}-python{lock.python}-glibc{lock.glibc}.txt"
        wheels = tuple(
            wheel for wheel in lock.wheels if wheel.place == "main" and wheel.name in needed
        )
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(wheel.requirement for wheel in wheels))
        if wheelhouse:
            fetch(replace(lock, wheels=wheels), wheelhouse)
            (folder / "wheelhouse").mkdir(exist_ok=True)
            pip = pip_wheel(lock.python, lock.glibc, wheelhouse)
            for file in (pip.name, *(wheel.file for wheel in wheels)):
                shutil.copyfile(wheelhouse / file, folder / "wheelhouse" / file)
        platforms[name] = {
            "machine": ARCHITECTURE,
            "python": lock.python,
            "glibc": lock.glibc,
            "requirements": name,
        }
    return list(platforms.values())
