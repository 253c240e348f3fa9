"""What lies in the cache folder: its parts, what each is for, and what may be removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from edgekit.errors import UserError, did_you_mean
from edgekit.paths import cache_folder

FACES = "pictures of your datasets (faces, if they hold faces)"
_PARTS = (
    ("decoded", "pixels of images that were decoded once", FACES, True),
    ("reframed", "the same images framed otherwise, for evaluate --reframe", FACES, True),
    ("lessons", "what teacher networks answered, for train", "answers, no pictures", True),
    ("unfinished", "finished parts of an evaluate that was interrupted", "answers", True),
    ("executed", "times of emulated runs, for predict-latency", "numbers", True),
    ("sample-images-*", "the pictures that are used where you give none", "sample pictures", True),
    ("sample-photograph", "the photograph that the demo answers", "a sample picture", True),
    ("logs", "logs of runs and of unexpected errors", "commands and messages", True),
    ("virtual", "the emulated boards: Debian's system and the ARM runtimes", "programs", False),
    ("onnx2tf-*", "what converts .onnx to TFLite, with a Python of its own", "programs", True),
    ("locks", "your own locks of boards' runtimes, of `edgekit device relock`", "hashes", False),
    ("weights", "weights that `edgekit weights` trained here (hours of work)", "weights", False),
)
"""Its folders' names, what they are for, what they hold, and whether `clear` takes them unasked."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One folder or file of the cache; `bytes` as the disk holds it, links not followed."""

    name: str
    purpose: str
    holds: str
    bytes: int
    by_itself: bool
    """Whether edgekit makes it again by itself, and `clear` without names removes it."""


def parts() -> list[Part]:
    """Return what the cache folder holds, the largest first; nothing where there is none."""
    folder = cache_folder()
    found = [_part(path) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(found, key=lambda part: (-part.bytes, part.name))


def clear(names: list[str]) -> list[Part]:
    """Remove the named parts, or without names all that is made again by itself; return them.

    Raises UserError for a name that is not there, before anything is removed.
    """
    here = {part.name: part for part in parts()}
    for name in names:
        if name not in here:
            if not here:
                raise UserError(f"{cache_folder()} is empty: there is no '{name}' to remove")
            raise UserError(did_you_mean("cache part", name, sorted(here)))
    chosen = [here[name] for name in dict.fromkeys(names)]
    chosen = chosen or [part for part in here.values() if part.by_itself]
    for part in chosen:
        path = cache_folder() / part.name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return chosen


def _part(path: Path) -> Part:
    unknown = (path.name, "not known to this version of edgekit", "unknown", False)
    _, purpose, holds, by_itself = next(
        (known for known in _PARTS if fnmatch(path.name, known[0])), unknown
    )
    return Part(
        name=path.name,
        purpose=purpose,
        holds=holds,
        bytes=_size(path),
        by_itself=by_itself,
    )


def _size(path: Path) -> int:
    inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in inner if file.is_symlink() or file.is_file())
