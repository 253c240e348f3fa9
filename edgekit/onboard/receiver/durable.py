"""Files that survive a power cut: written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHUNK = 1 << 20
"""Bytes read at a time: small beside the memory of the smallest board (512 MB)."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Wait until the disk holds the names in `folder`: a rename alone may be lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Wait until the disk holds every name under `folder`, and `folder` itself in its parent.

    The files' contents are flushed by whoever writes them.
    """
    for path, _, _ in os.walk(folder):
        flush_folder(Path(path))
    flush_folder(folder.parent)


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write `content` to `path`; a reader sees the old file or the new one, never a part."""
    aside = path.with_name(f".{path.name}.aside")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.chmod(mode)
    aside.replace(path)
    flush_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make the symbolic link `link` lead to `target` (relative to its folder) in one instant."""
    aside = link.with_name(f".{link.name}.aside")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)
    flush_folder(link.parent)
