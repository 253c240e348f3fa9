"""Files over SFTP: whole or not at all on either side, and nothing followed out of its place."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, TypeVar, cast

import asyncssh
from asyncssh import FXF_CREAT, FXF_EXCL, FXF_READ, FXF_WRITE

from edgekit.errors import DeviceError
from edgekit.files import file_whole, folder_whole, sha256

PART_BYTES = 1 << 20
MAX_BYTES = 4 << 30
"""Of one file or folder that is fetched: a board cannot fill the host's disk."""
MAX_FILES = 10_000
MAX_DEPTH = 20
DIRECTORY_BYTES = 4096
"""What a file costs beside its content: a million empty ones fill a disk too."""
STALL_S = 60.0
"""A server that answers no file request for this long is taken for hung."""

T = TypeVar("T")
Kind = Literal["missing", "link", "file", "folder", "other"]
_KINDS: dict[int, Kind] = {stat.S_IFLNK: "link", stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
Hash = Callable[[str], Awaitable[str]]
"""Returns the SHA-256 of a file on the other side, read back there."""


async def put(sftp: asyncssh.SFTPClient, source: Path, remote: str, hash_there: Hash) -> None:
    """Copy a file or folder to the path `remote`; the folders above it are made.

    A file is written aside under a name made from its hash, flushed to the disk and renamed: a
    reader sees the old one or the new one, and what an interrupted copy left is gone on with.
    A link at `remote` is replaced, never written through.
    """
    if not source.is_dir():
        await _put_file(sftp, source, remote, hash_there)
        return
    await _answered(sftp.makedirs(os.fsencode(remote), exist_ok=True))
    for path in sorted(source.rglob("*")):
        there = f"{remote}/{path.relative_to(source).as_posix()}"
        if path.is_dir():
            await _answered(sftp.makedirs(os.fsencode(there), exist_ok=True))
        else:
            await _put_file(sftp, path, there, hash_there)


async def fetch(sftp: asyncssh.SFTPClient, remote: str, target: Path) -> None:
    """Copy the file or folder `remote` to `target`, which appears whole or not at all.

    Raises DeviceError for links, devices and names that would lead out of `target`.
    """
    kind = (await _looked_at(sftp, remote)).permissions or 0
    if stat.S_ISDIR(kind):
        with folder_whole(target, force=True) as aside:
            await _fetch_folder(sftp, os.fsencode(remote), aside, MAX_BYTES)
    else:
        with file_whole(target) as out:
            await _fetch_file(sftp, os.fsencode(remote), out, MAX_BYTES)


async def kind_below(sftp: asyncssh.SFTPClient, folder: str, name: str) -> Kind:
    """Return what `folder/name` is; `link` where it, or a folder between the two, is one."""
    path = PurePosixPath(name)
    found: Kind = "folder"
    for step in [*path.parents[-2::-1], path]:
        try:
            answer = await _answered(sftp.lstat(os.fsencode(PurePosixPath(folder) / step)))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return "missing"
        found = _KINDS.get(stat.S_IFMT(answer.permissions or 0), "other")
        if found != "folder":
            return found
    return found


async def _put_file(sftp: asyncssh.SFTPClient, source: Path, remote: str, hash_there: Hash) -> None:
    place = PurePosixPath(remote)
    digest, size = _local(source, sha256), _local(source, lambda path: path.stat().st_size)
    aside = os.fsencode(place.parent / f".{digest[:32]}.partial")
    await _answered(sftp.makedirs(os.fsencode(place.parent), exist_ok=True))
    try:
        begun = await _begun(sftp, aside, size)
        await _upload(sftp, source, aside, begun)
        if begun and await hash_there(os.fsdecode(aside)) != digest:
            await _upload(sftp, source, aside, await _begun(sftp, aside, -1))
        await _answered(sftp.posix_rename(aside, os.fsencode(remote)))
    except asyncssh.SFTPFailure as error:
        # OpenSSH's server has one word, Failure, for all; the file system knows more.
        with suppress(asyncssh.SFTPError):
            space = await _answered(sftp.statvfs(os.fsencode(place.parent)))
            if space.bavail * space.frsize < PART_BYTES:
                raise DeviceError(
                    f"no room for {place.name!r} ({size:,} bytes) on the board's disk: make some, "
                    "then run the same command again"
                ) from None
        raise error


async def _begun(sftp: asyncssh.SFTPClient, aside: bytes, size: int) -> int:
    """Return how many bytes of a file of `size` are there from before; else clear its place."""
    try:
        found = await _answered(sftp.lstat(aside))
    except asyncssh.SFTPNoSuchFile:
        return 0
    there = found.size or 0
    if stat.S_ISREG(found.permissions or 0) and 0 < there <= size:
        return there
    await _answered(sftp.remove(aside))
    return 0


async def _upload(sftp: asyncssh.SFTPClient, source: Path, aside: bytes, begun: int) -> None:
    """Write `source` to `aside` from byte `begun` on, and see that it is on the disk."""
    flags = FXF_WRITE if begun else FXF_WRITE | FXF_CREAT | FXF_EXCL
    attributes = asyncssh.SFTPAttrs(permissions=0o644)
    with _local(source, lambda path: path.open("rb")) as local:
        local.seek(begun)
        async with sftp.open(aside, flags, attributes, encoding=None) as there:
            await there.seek(begun)
            while part := _local(source, lambda _: local.read(PART_BYTES)):
                await _answered(there.write(part))
            with suppress(asyncssh.SFTPOpUnsupported):
                await _answered(there.fsync())


async def _fetch_folder(
    sftp: asyncssh.SFTPClient, remote: bytes, target: Path, left: int, depth: int = 0
) -> int:
    """Return how many bytes may still come."""
    entries = await _answered(sftp.readdir(remote))
    if depth > MAX_DEPTH or len(entries) > MAX_FILES:
        raise DeviceError(f"{os.fsdecode(remote)!r} holds more files or folders than any of ours")
    for entry in entries:
        name = os.fsencode(entry.filename)
        if name in {b".", b".."}:
            continue
        if not name or b"/" in name or b"\0" in name:
            raise DeviceError(f"the name {os.fsdecode(name)!r} leads out of its folder: refused")
        place, path = target / os.fsdecode(name), remote + b"/" + name
        kind = (await _answered(sftp.lstat(path))).permissions or 0
        if stat.S_ISDIR(kind):
            place.mkdir()
            left = await _fetch_folder(sftp, path, place, left - DIRECTORY_BYTES, depth + 1)
        else:
            with place.open("xb") as out:
                left = await _fetch_file(sftp, path, out, left - DIRECTORY_BYTES)
    return left


async def _fetch_file(sftp: asyncssh.SFTPClient, remote: bytes, out: BinaryIO, left: int) -> int:
    """Write a file of at most `left` bytes to `out`; return how many may still come."""
    found = await _answered(sftp.lstat(remote))
    if not stat.S_ISREG(found.permissions or 0):
        raise DeviceError(f"{os.fsdecode(remote)!r} is no regular file: refused")
    size = found.size or 0
    if size > left:
        raise DeviceError(f"{os.fsdecode(remote)!r} is {size:,} bytes there: more than any of ours")
    left -= size
    async with sftp.open(remote, FXF_READ, encoding=None) as file:
        while size > 0 and (part := await _answered(_part(file, min(size, PART_BYTES)))):
            out.write(part[:size])
            size -= len(part)
    return left


async def _part(file: asyncssh.SFTPClientFile, size: int) -> bytes:
    return cast(bytes, await file.read(size))  # opened without an encoding


async def _looked_at(sftp: asyncssh.SFTPClient, remote: str) -> asyncssh.SFTPAttrs:
    try:
        return await _answered(sftp.lstat(os.fsencode(remote)))
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        raise DeviceError(f"no {remote!r} there: it was not put, or not written") from None


def _local(source: Path, action: Callable[[Path], T]) -> T:
    """Tell a failure of this machine's disk apart from one of the connection."""
    try:
        return action(source)
    except OSError as error:
        raise DeviceError(f"{source} cannot be read: {error.strerror}") from None


async def _answered(request: Awaitable[T]) -> T:
    return await asyncio.wait_for(request, STALL_S)
