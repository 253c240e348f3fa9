"""Image files in a folder or a zip: found in a fixed order, read one by one, hashed."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BadData

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
MAX_FILE_BYTES = 64 * 2**20
"""A larger member of a zip is refused unread: it may be a decompression bomb."""


@dataclass(frozen=True)
class ImageSet:
    """The images of one folder (searched through) or one zip, sorted by name."""

    path: Path
    names: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """Return one image's encoded bytes. Raises BadData where it cannot be read whole."""
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                if archive.getinfo(name).file_size > MAX_FILE_BYTES:
                    raise BadData(f"{name} in {self.path} unpacks to over 64 MiB: remove it")
                return archive.read(name)
        except (OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise BadData(f"cannot read {name} in {self.path} ({error}): replace it") from None


def open_images(path: Path) -> ImageSet:
    """Return the images of a folder, a zip, or a single image file.

    Raises BadData, in one line with the remedy, where there are none.
    """
    if path.is_dir():
        found = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        names = tuple(sorted(name for name in found if _is_image(name)))
    elif path.is_file() and _is_image(path.name):
        return ImageSet(path.parent, (path.name,))
    elif path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                names = tuple(sorted(name for name in archive.namelist() if _is_image(name)))
        except (zipfile.BadZipFile, OSError) as error:
            raise BadData(f"{path} is no folder, image or readable zip ({error})") from None
    else:
        raise BadData(f"no images at {path}: it does not exist; give a folder, a zip or an image")
    if not names:
        raise BadData(f"no images in {path}: it needs files ending in {', '.join(SUFFIXES)}")
    return ImageSet(path, names)


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of an image file's bytes, by which samples are named in manifests."""
    return hashlib.sha256(data).hexdigest()


def _is_image(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.lower().endswith(SUFFIXES) and not last.startswith(".") and "__MACOSX" not in name
