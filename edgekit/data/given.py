"""The files that a person means by names, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgekit.data.images import is_image, is_unread, open_images
from edgekit.data.samples import open_sample_files
from edgekit.data.stores import FolderStore
from edgekit.errors import BadData


def files_of(given: Iterable[Path], *, samples: bool = False) -> list[Path]:
    """Return the files that are given, in order; of a folder the images in it.

    With `samples` the .npz and .npy files in it. A name with `*`, `?` or `[` that is no file is a
    pattern. Raises BadData for a folder without any, a pattern that nothing fits, or an archive.
    """
    found: list[Path] = []
    for path in given:
        for place in _places(path):
            if place.suffix.lower() == ".zip":
                raise BadData(f"{place} is an archive: unpack it and give its folder")
            if place.is_dir():
                names = open_sample_files(place).names if samples else _pictures(place)
                found += [place / name for name in names]
            else:
                found.append(place)
    return found


def _pictures(folder: Path) -> Sequence[str]:
    """Return the images of a folder, and those of a kind that nothing here reads: their rows say
    so. Raises BadData where there is neither."""
    names = [n for n in FolderStore(folder).names() if is_image(n) or is_unread(n)]
    return names or open_images(folder).names


def _places(path: Path) -> list[Path]:
    """Return what a pattern fits, sorted, or the path itself."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    # Path.glob takes no absolute pattern.
    fitting = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    if not fitting:
        raise BadData(f"no file fits {path}: check the pattern")
    return fitting
