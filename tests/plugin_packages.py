"""Packages that extend edgekit, really installed by pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def install(package: Path, folder: Path) -> Path:
    """Install the package whose source is in `package` under `folder`; return what to import from.

    Without what it depends on: that is in the environment of these tests.
    """
    source, target = folder / "source", folder / "installed"
    shutil.copytree(package, source)
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, *command, "--no-index", "--target", str(target), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


def conforms(test_file: Path, **environment: str) -> str:
    """Return what pytest prints of a package's conformance tests, which must pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test_file)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
