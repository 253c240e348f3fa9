"""`runner.decode`: every file's pixels as its maker meant them, or a refusal."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgekit.onboard import runner

Pixels = NDArray[np.uint8]
DEEP = np.linspace(0, 65535, 20 * 30).reshape(20, 30).astype(np.uint16)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return smooth.convert(mode)


def first_release(data: bytes, height: int, width: int, grey: bool) -> Pixels:
    """What the first release decoded, from a file that is upright, opaque and of 8 bits."""
    mode = "L" if grey else "RGB"
    with Image.open(io.BytesIO(data)) as encoded:
        encoded.draft(mode, (width, height))
        image = ImageOps.exif_transpose(encoded).convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, -1)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"),
     ("PNG", "1"), ("BMP", "RGB"), ("WEBP", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK"),
     ("PPM", "RGB"), ("GIF", "P")],
)  # fmt: skip
def test_ordinary_files_keep_their_pixels_to_the_bit(kind: str, mode: str, grey: bool) -> None:
    for size in ((31, 47), (300, 200), (801, 603)):
        data = encode(photograph(*size, mode), kind)
        for height, width in ((32, 32), (50, 90), (size[1], size[0])):
            decoded = runner.decode(data, height, width, grey=grey)
            assert np.array_equal(decoded, first_release(data, height, width, grey))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("grey", [False, True])
def test_16_bits_are_scaled_not_clipped(kind: str, grey: bool) -> None:
    decoded = runner.decode(encode(Image.fromarray(DEEP), kind), 20, 30, grey=grey)
    assert np.array_equal(decoded[..., 0], np.rint(DEEP / 257).astype(np.uint8))
    assert decoded.max() == 255 and decoded.min() == 0


def test_a_16_bit_tiff_of_the_other_byte_order_is_the_same_picture() -> None:
    swapped = Image.frombytes("I;16B", (30, 20), DEEP.astype(">u2").tobytes())
    decoded = runner.decode(encode(swapped, "TIFF"), 20, 30, grey=True)
    assert np.array_equal(decoded[..., 0], np.rint(DEEP / 257).astype(np.uint8))


@pytest.mark.parametrize("pixels", [DEEP.astype(np.float32) / 65535, DEEP.astype(np.int32)])
def test_pixels_without_a_known_range_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="no known range: save it with 8 or 16 bits"):
        runner.decode(encode(Image.fromarray(pixels), "TIFF"), 20, 30)


def test_a_16_bit_tiff_in_which_white_is_0_is_refused() -> None:
    data = encode(Image.fromarray(DEEP), "TIFF", tiffinfo={262: 0})
    with pytest.raises(ValueError, match="no known range"):
        runner.decode(data, 20, 30)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_turned_file_is_the_upright_picture(kind: str, orientation: int) -> None:
    """A wide picture of fine lines, asked for as high as it is: no JPEG scaling may lose them."""
    waves = 127 + 120 * np.sin(np.arange(100) * 2 * np.pi / 5)
    upright = Image.fromarray(np.repeat(waves.astype(np.uint8)[:, None], 800, 1))
    upright.paste(0, (0, 0, 200, 50))
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
             6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    turned = upright
    if orientation > 1:
        turned = upright.transpose(Image.Transpose[turns[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind in {"JPEG", "WEBP"} else {}
    data = encode(turned, kind, exif=exif, **options)
    decoded = runner.decode(data, 100, 50, grey=True).astype(int)
    truth = np.asarray(upright.resize((50, 100), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoded[..., 0] - truth).mean() < 4


def test_a_16_bit_file_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(DEEP), "PNG", exif=exif)
    upright = np.rot90(np.rint(DEEP / 257).astype(np.uint8), -1)
    assert np.array_equal(runner.decode(data, 30, 20, grey=True)[..., 0], upright)


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (255, 0, 0, 0)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_white_whatever_colour_hides_there(
    kind: str, hidden: tuple[int, ...]
) -> None:
    image = Image.new("RGBA", (40, 20), hidden)
    image.paste((10, 200, 30, 255), (0, 0, 20, 20))
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = runner.decode(encode(image, kind, **options), 20, 40)
    assert (decoded[:, 20:] == 255).all()
    assert (decoded[:, :20] == (10, 200, 30)).all()


def test_a_transparent_palette_colour_or_grey_is_white() -> None:
    grey = Image.fromarray(np.array([[0, 90, 200]], np.uint8))
    for image in (grey, grey.convert("P"), grey.convert("RGB")):
        key = (0, 0, 0) if image.mode == "RGB" else 0
        decoded = runner.decode(encode(image, "PNG", transparency=key), 1, 3, grey=True)
        assert decoded[..., 0].tolist() == [[255, 90, 200]]
    half = Image.fromarray(np.array([[[100, 128]]], np.uint8))
    assert abs(int(runner.decode(encode(half, "PNG"), 1, 1, grey=True).item()) - 177) <= 1


@pytest.mark.parametrize("kind", ["ICO", "EPS", "TGA", "PCX", "ICNS"])
def test_only_listed_formats_are_opened(kind: str) -> None:
    with pytest.raises(OSError, match="none of JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM"):
        runner.decode(encode(Image.new("RGB", (64, 64), "red"), kind), 8, 8)
