"""Finds the data that ships with edgekit: `targets/`, `benchmarks/`, `calibration/`, weights.

In a checkout those folders stand beside the package; in a wheel they are inside it, under
`edgekit/_shelf` (pyproject.toml's force-include). Everything else asks here and never guesses.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ONBOARD = PACKAGE / "onboard"
"""Where the programs are that are sent to boards."""
RESULTS = Path("edgekit-results")
"""The folder that results are saved to, and read from, where none is named."""


def shelf(name: str) -> Path:
    """Return the folder `name` (`targets`, `benchmarks`, `calibration`) as it was shipped."""
    inside = PACKAGE / "_shelf" / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def config_folder() -> Path:
    """Return the user's folder for what edgekit must not forget; the caller creates it.

    `$XDG_CONFIG_HOME/edgekit`, by default `~/.config/edgekit` (XDG Base Directory specification).
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "edgekit"


def cache_folder() -> Path:
    """Return the user's cache folder for edgekit; the caller creates it.

    `$XDG_CACHE_HOME/edgekit`, by default `~/.cache/edgekit` (XDG Base Directory specification).
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "edgekit"
