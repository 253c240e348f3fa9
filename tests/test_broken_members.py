"""Broken files among images: each costs its own row, counted and listed, never the run."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from edgekit.data.images import open_images
from edgekit.data.labelled_folder import open_labelled_folder
from edgekit.data.splits import SplitPlan
from edgekit.data.stores import FolderStore, ZipStore
from edgekit.errors import BadData
from edgekit.onboard.runner import decode


def picture(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "error", [SyntaxError, IndexError, KeyError, TypeError, EOFError, OverflowError, RecursionError]
)
def test_whatever_a_decoder_raises_is_a_broken_image(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise error("of the decoder")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(OSError, match=f"damaged.*{error.__name__}"):
        decode(picture(), 8, 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_changed_or_cut_image_decodes_or_is_refused(kind: str) -> None:
    data = picture(kind)
    for at in range(0, len(data), max(len(data) // 60, 1)):
        for changed in (data[:at], data[:at] + b"\xff" + data[at + 1 :], data[:at] + data):
            try:
                decode(changed, 8, 8)
            except (OSError, ValueError):
                continue


def damaged_zip(path: Path, method: int) -> ZipStore:
    """A zip of one member whose packed bytes are nonsense."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", picture() * 50)
    data = bytearray(path.read_bytes())
    for at in range(60, 90):
        data[at] ^= 0x55
    path.write_bytes(data)
    return ZipStore(path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_member_that_cannot_be_unpacked_costs_itself(tmp_path: Path, method: int) -> None:
    with pytest.raises(OSError, match=r"a\.png cannot be read"):
        damaged_zip(tmp_path / "a.zip", method).read("a.png")


def test_a_member_of_an_unknown_method_or_cut_off_costs_itself(tmp_path: Path) -> None:
    for number, change in enumerate((b"\x63\x00", b"\x0e\x00")):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.png", picture())
        data = path.read_bytes()
        at = data.rindex(b"PK\x01\x02")
        path.write_bytes(data[:8] + change + data[10 : at + 10] + change + data[at + 12 :])
        with pytest.raises(OSError, match=r"a\.png cannot be read"):
            ZipStore(path).read("a.png")


def test_what_is_no_zip_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr("a.png", picture())
    good = (tmp_path / "good.zip").read_bytes()
    for at in range(len(good) - 90, len(good), 3):
        path = tmp_path / f"{at}.zip"
        path.write_bytes(good[:at] + b"\xff\xff" + good[at + 2 :])
        try:
            images = open_images(path)
        except BadData as error:
            assert "\n" not in str(error)
            continue
        for name in images.names:
            try:
                images.read(name)
            except BadData as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["a\0b.png", "loop.png", "pipe.png", "gone.png", "x" * 300])
def test_a_name_that_leads_nowhere_costs_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "good.png").write_bytes(picture())
    store = FolderStore(tmp_path)
    with pytest.raises(OSError):
        store.read(name)
    assert store.names() == ["good.png"]


def test_broken_rows_are_counted_and_listed(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "good.png").write_bytes(picture())
    (tmp_path / "old.png").write_bytes(picture("BMP"))
    absurd = "9" * 5000
    rows = [
        "file,age,gender", "good.png,0-2,male", "loop.png,0-2,male", f"old.png,{absurd},male",
        "gone.png,4-6,female", "a\0b.png,4-6,female",
    ]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    dataset = open_labelled_folder("mine", FolderStore(tmp_path), SplitPlan())
    assert {sample.name for sample in dataset.samples} == {"good.png", "old.png"}
    noted = {text: len(files) for text, files in dataset.decisions.files.items()}
    assert noted["image left out: missing or unreadable"] == 3
    assert any("no age" in text for text in noted)
