"""The bundle file: a plain tar that holds an index, perhaps a signature, and the indexed files.

    index.json        what the bundle is, and name, SHA-256 and size of every file, in order
    index.json.sig    an OpenSSH signature of index.json, where it was signed
    ...               the files, in the index's order

Every byte outside the files follows from the index: names, sizes and order decide each 512-byte
header, and a header of any other kind (a link, a device, an owner, a second name) is not equal to
it. So equal input gives equal bytes, and there is nothing to interpret when one is read. Nothing
is compressed: a bundle cannot grow when it is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.durable import CHUNK, flush_tree

INDEX = "index.json"
SIGNATURE = "index.json.sig"
RUN = "run"
"""The script that a board writes beside the files, to start the runner with the right Python."""
# 1: the first.
SCHEMA = 1

MAX_INDEX_BYTES = 4 << 20
MAX_SIGNATURE_BYTES = 16 << 10
MAX_FILES = 10_000
MAX_BYTES = 8 << 30
"""Of all files together: more than any model a small board can load."""

_BLOCK = 512
_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_+-]{0,50}/){0,3}[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
"""Plain words under plain folders: no `..`, no leading slash or dot, no backslash, no control
character; what some file system would read in another way cannot be written."""
_APP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """One file of a bundle."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Head:
    """What stands before a bundle's files: the index as read, as written, and its signature."""

    index: dict[str, Any]
    index_bytes: bytes
    signature: bytes | None
    files: list[Entry]

    @property
    def size(self) -> int:
        """The bytes of a whole bundle with this head."""
        sizes = [len(self.index_bytes)] + [entry.bytes for entry in self.files]
        if self.signature is not None:
            sizes.append(len(self.signature))
        return sum(_BLOCK + size + _padding(size) for size in sizes) + 2 * _BLOCK


def check_app(name: object) -> str:
    """Return the name of an application. Raises Refused where it could not be a folder's."""
    if not isinstance(name, str) or not _APP.fullmatch(name):
        raise Refused(f"{name!r} is no name for an application: use a-z, 0-9, '-', '_' and '.'")
    return name


def check_sha256(value: object) -> str:
    """Return a SHA-256 in hexadecimal. Raises Refused for anything else."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise Refused(f"{str(value)[:80]!r} is no SHA-256")
    return value


def parse_index(data: bytes) -> tuple[dict[str, Any], list[Entry]]:
    """Return the index and its files. Raises Refused for whatever it may not hold."""
    try:
        index = json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the bundle's index cannot be read ({error}): make it again") from None
    if not isinstance(index, dict) or not isinstance(index.get("files"), list):
        raise Refused("the bundle's index lists no files: make it again")
    if index.get("schema") != SCHEMA or isinstance(index["schema"], bool):
        raise Refused(f"the bundle's schema is {index.get('schema')!r}, not {SCHEMA}: update")
    check_app(index.get("name"))
    release = index.get("release")
    if release is not None and (type(release) is not int or not 0 < release < 1 << 53):
        raise Refused("the bundle's release is no number from 1 on: make it again")
    limit, platforms = index.get("max_p90_ms"), index.get("platforms", [])
    if limit is not None and (type(limit) not in (int, float) or not limit > 0):
        raise Refused("the bundle's p90 limit is no time: make it again")
    if not isinstance(platforms, list) or not all(map(_is_platform, platforms)):
        raise Refused("the bundle's platforms are described wrongly: make it again")
    if not 0 < len(index["files"]) <= MAX_FILES:
        raise Refused(f"the bundle's index lists {len(index['files'])} files")
    files = [_entry(item) for item in index["files"]]
    _check_names([entry.name for entry in files])
    if sum(entry.bytes for entry in files) > MAX_BYTES:
        raise Refused(f"the bundle's files are larger than {MAX_BYTES >> 30} GiB together")
    return index, files


def read_head(file: BinaryIO) -> Head:
    """Read a bundle's index and signature, and leave `file` at the first of its files.

    Raises Refused where they are not what this version of edgekit writes.
    """
    index_bytes = _read_entry(file, INDEX, file.read(_BLOCK), MAX_INDEX_BYTES)
    index, files = parse_index(index_bytes)
    start = file.tell()
    header, signature = file.read(_BLOCK), None
    if _named(header) == SIGNATURE:
        signature = _read_entry(file, SIGNATURE, header, MAX_SIGNATURE_BYTES)
    else:
        file.seek(start)
    return Head(index, index_bytes, signature, files)


def open_bundle(path: Path) -> Head:
    """Return the head of the bundle at `path`, whose size it fits. Raises Refused."""
    with path.open("rb") as file:
        head = read_head(file)
    if path.stat().st_size != head.size:
        raise Refused(
            f"the bundle is {path.stat().st_size} bytes, its index says {head.size}: send it again"
        )
    return head


def unpack(path: Path, folder: Path) -> Head:
    """Write the bundle's files into the new folder `folder`, each as its hash says.

    Raises Refused before the first byte where the index asks for anything but plain files below
    `folder`, and in the middle where a file is not what the index says. Returns with every file
    and name flushed to the disk.
    """
    head = open_bundle(path)
    folder.mkdir()
    with path.open("rb") as file:
        read_head(file)
        for entry in head.files:
            if file.read(_BLOCK) != header(entry.name, entry.bytes):
                raise Refused(f"the bundle holds something else than {entry.name!r}: refused")
            place = folder / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, entry, place)
        if file.read() != bytes(2 * _BLOCK):
            raise Refused("the bundle does not end where its index says: refused")
    _write_new(folder / INDEX, head.index_bytes)
    if head.signature is not None:
        _write_new(folder / SIGNATURE, head.signature)
    flush_tree(folder)
    return head


def unpacked_head(folder: Path) -> Head:
    """Return the head of the bundle that was unpacked into `folder`. Raises Refused, OSError."""
    index_bytes = _bounded(folder / INDEX, MAX_INDEX_BYTES)
    index, files = parse_index(index_bytes)
    signed = os.path.lexists(folder / SIGNATURE)
    signature = _bounded(folder / SIGNATURE, MAX_SIGNATURE_BYTES) if signed else None
    return Head(index, index_bytes, signature, files)


def damage(folder: Path, version: str = "") -> str | None:
    """Return what is wrong with an unpacked bundle, or None where it is whole.

    With `version`, the bundle's own SHA-256, nothing in the folder is believed: the bundle's bytes
    follow from its files, and must still have that hash.
    """
    try:
        head = unpacked_head(folder)
    except (OSError, Refused) as error:
        return str(error)
    whole = hashlib.sha256(_head_bytes(head))
    for entry in head.files:
        place, own = folder / entry.name, hashlib.sha256()
        whole.update(header(entry.name, entry.bytes))
        try:
            if place.is_symlink() or not place.is_file() or place.stat().st_size != entry.bytes:
                return f"{entry.name} is missing or changed"
            with place.open("rb") as file:
                while chunk := file.read(CHUNK):
                    own.update(chunk)
                    whole.update(chunk)
        except OSError as error:
            return f"{entry.name} cannot be read ({error.strerror})"
        if own.hexdigest() != entry.sha256:
            return f"{entry.name} is missing or changed"
        whole.update(bytes(_padding(entry.bytes)))
    whole.update(bytes(2 * _BLOCK))
    if version and whole.hexdigest() != version:
        return f"{INDEX} was rewritten: this is not the bundle that was deployed"
    return None


def header(name: str, size: int) -> bytes:
    """Return the tar header (POSIX.1-1988 ustar) of a plain file that belongs to no one."""
    prefix, _, last = name.rpartition("/") if len(name) > 100 else ("", "", name)
    fields = (
        last.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0",
        b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big"),
        b"00000000000\0", b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(80),
        prefix.encode().ljust(155, b"\0"), bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def write_bundle(path: BinaryIO, head: Head, folder: Path) -> None:
    """Write the bundle of `head` with the files of `folder` to an open file."""
    path.write(_head_bytes(head))
    for entry in head.files:
        path.write(header(entry.name, entry.bytes))
        with (folder / entry.name).open("rb") as file:
            while chunk := file.read(CHUNK):
                path.write(chunk)
        path.write(bytes(_padding(entry.bytes)))
    path.write(bytes(2 * _BLOCK))


def _head_bytes(head: Head) -> bytes:
    """Return what a bundle begins with: the index and the signature, each behind its header."""
    parts = ((INDEX, head.index_bytes), (SIGNATURE, head.signature))
    return b"".join(
        header(name, len(data)) + data + bytes(_padding(len(data)))
        for name, data in parts
        if data is not None
    )


def _bounded(path: Path, limit: int) -> bytes:
    """Return a small file's bytes. Raises Refused for a link, or for more than `limit`."""
    if path.is_symlink() or not path.is_file():
        raise Refused(f"{path.name} is missing or changed")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Refused(f"{path.name} is larger than {limit:,} bytes")
    return data


def _padding(size: int) -> int:
    return -size % _BLOCK


def _named(block: bytes) -> str:
    return block[:100].rstrip(b"\0").decode("ascii", "replace")


def _read_entry(file: BinaryIO, name: str, block: bytes, limit: int) -> bytes:
    """Return the bytes of a small entry whose header is `block`."""
    digits = block[124:135]
    size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else -1
    if not 0 <= size <= limit or block != header(name, size):
        raise Refused("this is no edgekit bundle: make one with `edgekit bundle`")
    data = file.read(size + _padding(size))
    if len(data) != size + _padding(size) or any(data[size:]):
        raise Refused("the bundle is cut short: send it again")
    return data[:size]


def _copy(file: BinaryIO, entry: Entry, place: Path) -> None:
    """Copy one file out of the bundle; it is new, and its hash and padding are as they must be."""
    digest, left = hashlib.sha256(), entry.bytes
    with place.open("xb") as out:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise Refused("the bundle is cut short: send it again")
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != entry.sha256:
        raise Refused(f"{entry.name} is not the file the index describes: refused")
    padding = file.read(_padding(entry.bytes))
    if padding != bytes(_padding(entry.bytes)):
        raise Refused(f"the bundle hides something behind {entry.name!r}: refused")


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _entry(item: object) -> Entry:
    if not isinstance(item, dict) or set(item) != {"name", "sha256", "bytes"}:
        raise Refused("the bundle's index describes a file wrongly: make it again")
    name, size = item["name"], item["bytes"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refused(f"the bundle holds {str(name)[:200]!r}, which is no plain name: refused")
    if type(size) is not int or not 0 <= size <= MAX_BYTES:
        raise Refused(f"the bundle's index gives {name!r} a size of {str(size)[:40]}: refused")
    return Entry(name, check_sha256(item["sha256"]), size)


def _is_platform(item: object) -> bool:
    keys = {"machine", "python", "glibc", "requirements"}
    return (
        isinstance(item, dict)
        and set(item) == keys
        and all(isinstance(value, str) for value in item.values())
    )


def _check_names(names: list[str]) -> None:
    """Raise Refused where two names are one on some file system, or a file is also a folder."""
    folders = {parent.casefold() for name in names for parent in _parents(name)}
    seen = {INDEX, SIGNATURE, RUN}
    for name in names:
        if name.casefold() in seen or name.casefold() in folders:
            raise Refused(f"the bundle holds {name!r} twice: refused")
        seen.add(name.casefold())


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key twice")
    return table


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")
