"""A disk that one command alone sees: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import os
from pathlib import Path


def on_its_own_disk(disk: Path, options: str) -> tuple[str, ...]:
    """Return the start of a command that has a disk at `disk`, mounted with these options."""
    disk.mkdir()
    rights = () if os.geteuid() == 0 else ("--map-root-user",)
    mount = f'mount -t tmpfs -o {options} none {disk} && exec "$@"'
    return ("unshare", "--mount", *rights, "sh", "-c", mount, "sh")
