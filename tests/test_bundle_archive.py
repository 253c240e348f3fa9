"""A bundle file is exactly what its index says, or no byte of it lands."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import (
    INDEX,
    RUN,
    SIGNATURE,
    Head,
    damage,
    header,
    open_bundle,
    parse_index,
    unpack,
    write_bundle,
)

NOT_SERIOUS = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def record(name: Any, data: bytes, **other: Any) -> dict[str, Any]:
    found = {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return found | other


def index_of(files: list[dict[str, Any]], **other: Any) -> bytes:
    return json.dumps({"schema": 1, "name": "cats", "files": files} | other).encode()


def padded(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def raw(index: bytes, *entries: tuple[str, bytes], end: bytes = bytes(1024)) -> bytes:
    """Return a bundle's bytes with no check made."""
    return padded(INDEX, index) + b"".join(padded(*entry) for entry in entries) + end


DATA = b"weights"
GOOD = raw(index_of([record("model.onnx", DATA)]), ("model.onnx", DATA))


def tar_with(**fields: Any) -> bytes:
    """Return the good bundle with an entry of another kind in the model's place."""
    entry = tarfile.TarInfo("model.onnx")
    entry.size = len(DATA)
    for name, value in fields.items():
        setattr(entry, name, value)
    index = padded(INDEX, index_of([record("model.onnx", DATA)]))
    block = entry.tobuf(tarfile.PAX_FORMAT)
    return index + block + DATA + bytes(-len(DATA) % 512) + bytes(1024)


def named(name: Any) -> bytes:
    """Return a bundle whose index calls its one file so."""
    return raw(index_of([record(name, DATA)]), ("x", DATA))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil", "x")
    return buffer.getvalue()


def two(first: str, second: str) -> bytes:
    files = [record(first, DATA), record(second, DATA)]
    return raw(index_of(files), (first, DATA), (second, DATA))


MALICIOUS: dict[str, bytes] = {
    "path traversal": named("../evil"),
    "deep traversal": named("golden/../../evil"),
    "traversal at the end": named("golden/.."),
    "absolute path": named("/tmp/evil"),
    "home": named("~/evil"),
    "windows drive": named("C:/evil"),
    "backslashes": named("..\\evil"),
    "double slash": named("a//b"),
    "dot": named("./model.onnx"),
    "hidden file": named(".bashrc"),
    "hidden folder": named(".ssh/authorized_keys"),
    "empty name": named(""),
    "trailing slash": named("folder/"),
    "newline": named("a\nb"),
    "carriage return": named("a\rb"),
    "zero byte": named("a\0b"),
    "escape code": named("a\x1b[2Jb"),
    "space": named("a b"),
    "unicode look-alike": named("m\u043edel.onnx"),
    "combining form": named("e\u0301"),
    "right-to-left override": named("a\u202eb"),
    "lone surrogate": named("\ud800"),
    "a name too long": named("a" * 5000),
    "folders too deep": named("a/b/c/d/e/f"),
    "a name that is a number": named(7),
    "a name that is a list": named(["a"]),
    "an option": named("-rf"),
    "a name twice": two("model.onnx", "model.onnx"),
    "case collision": two("model.onnx", "MODEL.onnx"),
    "folder case collision": two("Golden", "golden/a"),
    "a file that is a folder": two("golden", "golden/a"),
    "the index again": two("model.onnx", "index.json"),
    "the index in capitals": two("model.onnx", "INDEX.JSON"),
    "the signature as a file": two("model.onnx", SIGNATURE),
    "the board's own script": two("model.onnx", "run"),
    "symbolic link": tar_with(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": tar_with(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "character device": tar_with(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": tar_with(type=tarfile.BLKTYPE, devmajor=8),
    "pipe": tar_with(type=tarfile.FIFOTYPE),
    "folder entry": tar_with(type=tarfile.DIRTYPE),
    "sparse file": tar_with(type=tarfile.GNUTYPE_SPARSE),
    "long name entry": tar_with(type=tarfile.GNUTYPE_LONGNAME),
    "pax header": tar_with(pax_headers={"path": "../../evil"}),
    "set-user-id": tar_with(mode=0o4755),
    "another owner": tar_with(uid=1000, uname="pi"),
    "another name": tar_with(name="other.onnx"),
    "a path behind the index's back": tar_with(name="../../evil"),
    "another size": tar_with(size=0),
    "negative size in the index": raw(
        index_of([record("m", DATA, bytes=-1)]), ("m", DATA)
    ),
    "huge size in the index": raw(index_of([record("m", DATA, bytes=10**18)]), ("m", DATA)),
    "a size beyond the file": raw(index_of([record("m", DATA, bytes=5000)]), ("m", DATA)),
    "a size too small": raw(index_of([record("m", DATA, bytes=3)]), ("m", DATA)),
    "a size that is true": raw(index_of([record("m", b"1", bytes=True)]), ("m", b"1")),
    "a size that is a float": raw(index_of([record("m", DATA, bytes=7.0)]), ("m", DATA)),
    "wrong hash": raw(index_of([record("m", b"other")]), ("m", b"weigh")),
    "a hash that is no hash": raw(index_of([record("m", DATA, sha256="../x")]), ("m", DATA)),
    "a field too many": raw(index_of([record("m", DATA, mode=4755)]), ("m", DATA)),
    "too many files": raw(index_of([record(f"f{i}", b"") for i in range(10_001)])),
    "no files": raw(index_of([])),
    "files that are no list": raw(index_of({"m": 1})),  # type: ignore[arg-type]
    "an entry too many": raw(index_of([record("m", DATA)]), ("m", DATA), ("evil", DATA)),
    "an entry missing": raw(index_of([record("m", DATA), record("n", DATA)]), ("m", DATA)),
    "entries in another order": raw(
        index_of([record("m", b"1"), record("n", b"2")]), ("n", b"2"), ("m", b"1")
    ),
    "bytes after the end": GOOD + bytes(512),
    "a second archive after the end": GOOD + GOOD,
    "no end": GOOD[:-1024],
    "something at the end": GOOD[:-1] + b"!",
    "something in the padding": GOOD[:-1500] + b"!" + GOOD[-1499:],
    "unknown schema": raw(index_of([record("m", DATA)], schema=2), ("m", DATA)),
    "schema true": raw(index_of([record("m", DATA)], schema=True), ("m", DATA)),
    "no schema": raw(b'{"name": "cats", "files": []}'),
    "an application outside": raw(index_of([record("m", DATA)], name="../x"), ("m", DATA)),
    "an application that is hidden": raw(index_of([record("m", DATA)], name=".x"), ("m", DATA)),
    "a limit that is no time": raw(
        index_of([record("m", DATA)], max_p90_ms="never"), ("m", DATA)
    ),
    "platforms that are none": raw(index_of([record("m", DATA)], platforms=[1]), ("m", DATA)),
    "index with NaN": raw(index_of([record("m", DATA)], max_p90_ms=float("nan")), ("m", DATA)),
    "index with a key twice": raw(b'{"schema": 1, "schema": 1, "name": "a", "files": []}'),
    "index that is a list": raw(b"[]"),
    "index not JSON": raw(b"{"),
    "index not text": raw(b"\xff\xfe"),
    "index nested beyond reason": raw(b"[" * 100_000),
    "index too large": header(INDEX, 5 << 20) + bytes(6 << 20),
    "signature too large": raw(index_of([record("m", DATA)]), (SIGNATURE, bytes(20_000))),
    "zip": zipped(),
    "nothing": b"",
    "a few bytes": b"PK",
    "zeros": bytes(10_000),
    "cut in the index": GOOD[:600],
    "cut in a file": GOOD[:1540],
    "a compressed bundle": gzip.compress(GOOD),
}  # fmt: skip


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_malicious_bundle_lands_nowhere(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "deep" / "home"
    home.mkdir(parents=True)
    bundle = home / "bundle"
    bundle.write_bytes(MALICIOUS[kind])
    with pytest.raises(Refused) as caught:
        unpack(bundle, home / "aside")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    outside = {name for name in names_below(tmp_path) if not name.startswith("deep/home/aside/")}
    assert outside <= {"deep", "deep/home", "deep/home/bundle", "deep/home/aside"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_there_are_dozens_of_them() -> None:
    assert len(MALICIOUS) >= 80


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(GOOD)
    (tmp_path / "aside").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        unpack(bundle, tmp_path / "aside")
    assert not (tmp_path / "elsewhere").exists()


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,30}", fullmatch=True)
FILES = st.dictionaries(
    st.tuples(st.sampled_from(["", "golden/", "a/b/"]), NAMES).map("".join),
    st.binary(max_size=2000),
    min_size=1,
    max_size=6,
).filter(lambda files: _apart(list(files)))


def _apart(names: list[str]) -> bool:
    low = [name.lower() for name in names]
    reserved = {INDEX, SIGNATURE, RUN, "golden", "a", "a/b"}
    return len(set(low)) == len(low) and not reserved & set(low)


def made(files: dict[str, bytes], folder: Path, signature: bytes | None = None) -> bytes:
    index = index_of([record(name, data) for name, data in files.items()])
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    buffer = io.BytesIO()
    parsed, entries = parse_index(index)
    write_bundle(buffer, Head(parsed, index, signature, entries), folder)
    return buffer.getvalue()


Folder = Callable[[], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    count = iter(range(10_000))

    def new() -> Path:
        path = tmp_path / str(next(count))
        path.mkdir()
        return path

    return new


@NOT_SERIOUS
@given(files=FILES, signature=st.none() | st.binary(min_size=1, max_size=700))
def test_what_is_written_comes_back(
    folder: Folder, files: dict[str, bytes], signature: bytes | None
) -> None:
    place = folder()
    written = made(files, folder(), signature)
    assert written == made(files, folder(), signature), "equal input gives equal bytes"
    (place / "bundle").write_bytes(written)
    head = unpack(place / "bundle", place / "out")
    assert head.signature == signature and head.size == len(written)
    assert {name: (place / "out" / name).read_bytes() for name in files} == files
    assert damage(place / "out") is None
    with tarfile.open(place / "bundle") as plain:
        assert {e.name for e in plain} - {INDEX, SIGNATURE} == set(files), "any tar reads it"


@NOT_SERIOUS
@given(files=FILES, where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_byte_can_be_changed(
    folder: Folder, files: dict[str, bytes], where: float, flip: int
) -> None:
    """Bytes of the index may mean the same in other letters; then the files are still whole."""
    place = folder()
    data = bytearray(made(files, folder()))
    at = int(where * len(data))
    data[at] ^= flip
    (place / "bundle").write_bytes(data)
    try:
        unpack(place / "bundle", place / "out")
    except Refused:
        return
    assert 512 <= at < 512 + int(data[124:135], 8), "only within the index"
    assert damage(place / "out") is None
    assert names_below(place) - {"bundle", "out"} == {
        f"out/{name}" for name in names_below(place / "out")
    }


@NOT_SERIOUS
@given(data=st.binary(max_size=3000), cut=st.floats(0, 1, exclude_max=True))
def test_garbage_and_cuts_are_refused(folder: Folder, data: bytes, cut: float) -> None:
    place = folder()
    for content in (data, GOOD[: int(cut * len(GOOD))], GOOD[:512] + data):
        (place / "bundle").write_bytes(content)
        with pytest.raises(Refused):
            open_bundle(place / "bundle")


@NOT_SERIOUS
@given(st.text(max_size=60) | st.from_regex(r"(\.\./)*[a-z./\\]{1,20}", fullmatch=True))
def test_any_name_stays_inside_or_is_refused(folder: Folder, name: str) -> None:
    place = folder()
    (place / "bundle").write_bytes(raw(index_of([record(name, DATA)]), ("x", DATA)))
    try:
        _, files = parse_index(index_of([record(name, DATA)]))
    except Refused:
        with pytest.raises(Refused):
            unpack(place / "bundle", place / "out")
        assert names_below(place) == {"bundle"}
        return
    inside = (place / "out" / files[0].name).resolve()
    assert inside.is_relative_to(place / "out") and inside != place / "out"


def test_a_changed_or_missing_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(GOOD)
    unpack(tmp_path / "bundle", tmp_path / "out")
    model = tmp_path / "out" / "model.onnx"
    model.write_bytes(b"wEights")
    assert "model.onnx" in str(damage(tmp_path / "out"))
    model.unlink()
    assert "model.onnx" in str(damage(tmp_path / "out"))
    (tmp_path / "elsewhere").write_bytes(DATA)
    model.symlink_to(tmp_path / "elsewhere")
    assert "model.onnx" in str(damage(tmp_path / "out"))
    assert damage(tmp_path / "nothing") is not None


def test_a_rewritten_index_does_not_make_a_swapped_model_whole(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(GOOD)
    head = unpack(tmp_path / "bundle", tmp_path / "out")
    version = hashlib.sha256(GOOD).hexdigest()
    assert damage(tmp_path / "out", version) is None
    name = head.files[0].name
    (tmp_path / "out" / name).write_bytes(b"swapped")
    listed = [
        record(entry.name, (tmp_path / "out" / entry.name).read_bytes()) for entry in head.files
    ]
    (tmp_path / "out" / INDEX).write_bytes(index_of(listed))
    assert damage(tmp_path / "out") is None, "its own index agrees"
    assert "rewritten" in str(damage(tmp_path / "out", version))
