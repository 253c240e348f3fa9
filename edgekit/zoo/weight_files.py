"""Reads the tensors of a weights file; nothing in a file from outside is ever executed.

A pickle is read by torch's restricted unpickler. What it holds beside tensors (the options of a
training, say) becomes an empty stand-in, so the tensors next to it can be used.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from edgekit.errors import BadModel, printable

Tensors = dict[str, Tensor]
Parts = dict[tuple[str, ...], Tensors]
"""The state dicts of a file by the keys that lead to them; () is the file's outermost dict."""

_BROKEN = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
    OSError,
    zipfile.BadZipFile,
)
"""What torch's restricted unpickler was seen to raise on a damaged or hostile file."""

_DEEPEST = 3
_MOST_PARTS = 64
_MOST_CLASSES = 200
_SAVE = "torch.save(model.state_dict(), 'weights.pt')"


class _StandIn:
    """Stands for an object whose class is not loaded; it forgets what it is given.

    `holds_modules`: it was pickled as torch pickles a network.
    """

    holds_modules = False

    def __new__(cls, *_: object, **__: object) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.holds_modules = isinstance(state, dict) and "_modules" in state


def read_parts(path: Path) -> Parts:
    """Return every state dict of a weights file. Raises BadModel in one line where it has none.

    `.safetensors`, or what `torch.save` wrote as `.pt`, `.pth`, `.ckpt` or `.bin`.
    """
    check_is_file(path)
    if path.suffix not in _READERS:
        raise BadModel(
            f"{path}: unknown kind of weights '{path.suffix}': give {', '.join(_READERS)}",
        )
    return _READERS[path.suffix](path)


def check_is_file(path: Path) -> None:
    """Raise BadModel where no file is, or one that only stands for the weights."""
    if not path.is_file():
        raise BadModel(f"{path}: no such weights file: check the path")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise BadModel(f"{path}: only a pointer of Git LFS, not the weights: run `git lfs pull`")
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise BadModel(f"{path}: a web page, not weights: download the file itself")


def not_safetensors(path: Path, error: Exception) -> BadModel:
    """Return what to say of a file that the safetensors library does not read."""
    with path.open("rb") as file:
        saved_by_torch = file.read(2) in {b"PK", b"\x80\x02"}
    if saved_by_torch:
        return BadModel(
            f"{path}: not a safetensors file but one of torch.save: rename it to end in .pt"
        )
    return BadModel(f"{path}: truncated, or not a safetensors file: {_line(error)}")


def _read_safetensors(path: Path) -> Parts:
    try:
        return {(): safetensors.torch.load_file(path)}
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def _read_torch(path: Path) -> Parts:
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        content = _load_around_objects(path, error)
    parts = dict(_parts_of(content))
    if not parts:
        raise BadModel(f"{path}: {_nothing(path, content)}")
    return parts


_READERS: dict[str, Callable[[Path], Parts]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
    ".bin": _read_torch,
}


def _check_archive(path: Path) -> None:
    """Raise BadModel for an archive that torch wrote for another purpose than torch.save's."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        raise BadModel(f"{path}: a safetensors file: rename it to end in .safetensors")
    if not start.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except _BROKEN:
        raise BadModel(f"{path}: truncated or damaged: copy or download it again") from None
    if "constants.pkl" in names:
        raise torchscript(path)
    if "models/model.json" in names:
        raise BadModel(f"{path}: an exported program of torch.export: rename it to end in .pt2")


def torchscript(path: Path) -> BadModel:
    """Return what to say of a file that holds a TorchScript program."""
    return BadModel(
        f"{path}: a TorchScript program, which edgekit does not open. If you trust it, save "
        "its weights in Python: torch.save(torch.jit.load("
        f"{path.name!r}).state_dict(), 'weights.pt'), and name the network with --arch"
    )


def _load_around_objects(path: Path, first: Exception) -> Any:
    """Return the content with stand-ins for all that is neither tensor nor plain value."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        if len(names) > _MOST_CLASSES:
            raise ValueError("too many classes")
        with torch.serialization.safe_globals([(_stand_in(name), name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN:
        raise BadModel(
            f"{path}: not a readable checkpoint of tensors ({type(first).__name__}): it is "
            f"damaged, or holds objects that only their own code can open. Save the weights "
            f"alone: {_SAVE}",
        ) from first


def _stand_in(name: str) -> Any:
    if name == "collections.defaultdict":  # the unpickler fills a plain dict and no other
        return lambda *_: {}
    return type(name, (_StandIn,), {})


def _parts_of(content: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the state dicts in a checkpoint, the outermost first."""
    left = _MOST_PARTS
    waiting = [(keys, content)]
    while waiting and left:
        keys, held = waiting.pop(0)
        if not isinstance(held, dict):
            continue
        tensors = {
            name: value
            for name, value in held.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            left -= 1
            yield keys, tensors
        if len(keys) < _DEEPEST:
            waiting += [((*keys, k), v) for k, v in held.items() if isinstance(k, str)]


def _nothing(path: Path, content: object) -> str:
    """Return what to say of a checkpoint without any state dict."""
    held = {"": content, **content} if isinstance(content, dict) else {"": content}
    for key, value in held.items():
        if isinstance(value, _StandIn) and value.holds_modules:
            place = f"[{key!r}]" if key else ""
            name = printable(type(value).__name__)[:80]
            return (
                f"holds a whole pickled model of the class {name}, and opening it would run code. "
                "Where that class can be imported, save the weights alone: "
                f"torch.save(torch.load({path.name!r}, weights_only=False){place}.state_dict(), "
                "'weights.pt'), and name the network with --arch"
            )
    found = ""
    if isinstance(content, dict) and content:
        found = f" but {', '.join(printable(str(key))[:40] for key in list(content)[:8])}"
    return f"holds no state dict (names to tensors){found}: save the weights alone: {_SAVE}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
