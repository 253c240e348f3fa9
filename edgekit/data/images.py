"""Image files in a folder or a zip: found in a fixed order, read one by one, hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.data.stores import FolderStore, ImageStore, ZipStore
from edgekit.errors import BadData, MissingPackage, UserError
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff",
)  # fmt: skip
UNREAD = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".dng", ".cr2", ".nef")
"""How pictures end that nothing here reads."""


@dataclass(frozen=True)
class ImageSet:
    """The images of one folder (searched through) or one zip, sorted by name."""

    path: Path
    names: tuple[str, ...]
    store: ImageStore

    def read(self, name: str) -> bytes:
        """Return one image's encoded bytes. Raises BadData where it cannot be read whole."""
        try:
            return self.store.read(name)
        except OSError as error:
            raise BadData(f"cannot read {name} in {self.path} ({error}): replace it") from None


YAML = (".yaml", ".yml")
"""How a YOLO data.yaml ends; its pictures lie beside it."""


def open_images(path: Path) -> ImageSet:
    """Return the images of a folder, a zip, or a single image file.

    A YOLO data.yaml stands for its folder. Raises BadData, in one line with the remedy, where
    there are none.
    """
    if not path.exists():
        raise BadData(f"no images at {path}: it does not exist; give a folder, a zip or an image")
    if path.is_file() and is_image(path.name):
        return ImageSet(path.parent, (path.name,), FolderStore(path.parent))
    if path.is_file() and path.suffix in YAML:
        path = path.absolute().parent
    store: ImageStore = FolderStore(path) if path.is_dir() else ZipStore(path)
    names = tuple(name for name in store.names() if is_image(name))
    if not names:
        raise BadData(f"no images in {path}: it needs files ending in {', '.join(SUFFIXES)}")
    return ImageSet(path, names, store)


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of an image file's bytes, by which samples are named in manifests."""
    return hashlib.sha256(data).hexdigest()


def is_image(name: str) -> bool:
    """Tell by its name whether a file is an image, and none that a system left there."""
    return _ends(name, SUFFIXES)


def is_unread(name: str) -> bool:
    """Tell by its name whether a file is a picture of a kind that nothing here reads."""
    return _ends(name, UNREAD)


def _ends(name: str, suffixes: tuple[str, ...]) -> bool:
    last = name.rpartition("/")[2]
    return last.lower().endswith(suffixes) and not last.startswith(".") and "__MACOSX" not in name


def decode_image(data: bytes, spec: InputSpec, find: bool = False) -> NDArray[np.uint8]:
    """Return an encoded image's pixels, uint8 H×W×C, as `spec`'s network takes them.

    `runner.decode_for` the spec; with `find` the largest face in it (`runner.decode_subject`).
    Raises OSError or ValueError as they do.
    """
    import msgspec

    from edgekit.onboard.runner import decode_for, decode_subject

    decode = decode_subject if find else decode_for
    pixels: NDArray[np.uint8] = decode(data, msgspec.to_builtins(spec))
    return pixels


def check_findable(spec: InputSpec | None) -> None:
    """Raise UserError for an input without a subject, MissingPackage without what finds it."""
    from importlib.util import find_spec

    if spec is None or spec.subject is None:
        raise UserError(
            "the model's input has no subject to find: leave --find-subject out, or convert the "
            'model with subject = "face" under [input]'
        )
    if find_spec("dlib") is None:
        raise MissingPackage("dlib-bin (it finds the faces)", "faces")
