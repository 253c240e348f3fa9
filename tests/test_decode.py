"""`runner.decode`: every file's pixels as its maker meant them, or a refusal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgekit.conversion.spec_files import read_spec
from edgekit.data.decoded import centre, frame_of
from edgekit.data.images import decode_image
from edgekit.errors import BadModel
from edgekit.onboard import runner
from edgekit.spec import InputSpec

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


# Crop and letterbox, against Pillow's own functions


def torchvision_crop(image: Image.Image, side: int, height: int, width: int, kind: Any) -> Pixels:
    """Resize(side) and CenterCrop((height, width)) as torchvision's documentation computes them."""
    short, long = sorted(image.size)
    other = int(side * long / short)
    size = (side, other) if image.width <= image.height else (other, side)
    resized = image.resize(size, kind)
    left = int(round((resized.width - width) / 2.0))  # noqa: RUF046
    top = int(round((resized.height - height) / 2.0))  # noqa: RUF046
    return np.asarray(resized.crop((left, top, left + width, top + height)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(801, 603), (300, 611), (64, 64), (67, 64), (20, 31)])
@pytest.mark.parametrize(("side", "height", "width"), [(64, 56, 56), (None, 40, 64), (73, 64, 31)])
def test_crop_is_resize_of_the_shorter_side_and_centre_crop(
    kind: str, filter: str, size: tuple[int, int], side: int | None, height: int, width: int
) -> None:
    data = encode(photograph(*size), kind)
    with Image.open(io.BytesIO(data)) as opened:
        truth = torchvision_crop(
            opened.convert("RGB"),
            side or max(height, width),
            height,
            width,
            Image.Resampling[filter.upper()],
        )
    spec = {"height": height, "width": width, "resize_to": side, "colour": "RGB", "fit": "crop"}
    assert np.array_equal(runner.decode_for(data, {**spec, "filter": filter}), truth)


@pytest.mark.parametrize("size", [(801, 603), (300, 611), (50, 50), (1000, 3)])
@pytest.mark.parametrize("grey", [False, True])
def test_letterbox_fits_inside_and_fills_up_with_the_colour(
    size: tuple[int, int], grey: bool
) -> None:
    image = photograph(*size, "L" if grey else "RGB")
    pad: tuple[int, ...] = (90,) if grey else (10, 20, 30)
    scale = min(96 / size[0], 64 / size[1])
    inner = image.resize(
        (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), Image.Resampling.BILINEAR
    )
    truth = Image.new(image.mode, (96, 64), 90 if grey else (10, 20, 30))
    truth.paste(inner, ((96 - inner.width) // 2, (64 - inner.height) // 2))
    decoded = runner.decode(encode(image, "PNG"), 64, 96, grey=grey, fit="letterbox", pad=pad)
    assert np.array_equal(decoded, np.asarray(truth).reshape(decoded.shape))


def test_a_turned_photograph_is_cropped_upright() -> None:
    upright = photograph(300, 120)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    plain = encode(upright, "PNG")
    cropped = (runner.decode(file, 50, 50, fit="crop") for file in (data, plain))
    assert np.array_equal(*cropped)


@pytest.mark.parametrize(
    ("fit", "resize_to"), [("stretch", None), ("stretch", 40), ("crop", 40), ("letterbox", None)]
)
def test_what_a_golden_test_stores_is_decoded_to_the_same_pixels(
    fit: str, resize_to: int | None
) -> None:
    spec = {"height": 32, "width": 24, "colour": "RGB", "fit": fit, "resize_to": resize_to}
    data = encode(photograph(211, 97), "JPEG")
    stored = Image.fromarray(runner.decode_for(data, spec, cut=False))
    assert np.array_equal(
        runner.decode_for(encode(stored, "PNG"), spec), runner.decode_for(data, spec)
    )


def test_a_picture_that_a_crop_would_blow_up_is_refused() -> None:
    data = encode(Image.new("RGB", (1, 30_000)), "PNG")
    with pytest.raises(ValueError, match="too long and thin"):
        runner.decode(data, 224, 224, fit="crop")


def test_training_and_evaluation_decode_what_the_board_decodes() -> None:
    for spec in (
        InputSpec(32, 24, fit="crop", resize_to=40, filter="bicubic"),
        InputSpec(32, 24, fit="letterbox", pad=(1, 2, 3)),
        InputSpec(32, 24, resize_to=40),
        InputSpec(32, 24, filter="bicubic"),
    ):
        data = encode(photograph(211, 97), "JPEG")
        frame = frame_of(spec)
        whole = runner.decode(
            data, frame.height, frame.width, frame.resize_to, frame.grey,
            frame.fit, frame.filter, frame.pad,
        )  # fmt: skip
        assert np.array_equal(centre(whole[None], spec)[0], decode_image(data, spec))


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"fit": "letterbox", "resize_to": 40}, "a letterbox has no resize_to"),
     ({"pad": (1, 2)}, "pad needs 1 value or 3"), ({"pad": (256,)}, "from 0 to 255")],
)  # fmt: skip
def test_a_fit_that_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InputSpec(32, 32, **fields)


# Labels from a file


def test_labels_are_read_from_a_file_beside_the_spec(tmp_path: Path) -> None:
    text = '[input]\nheight = 8\nwidth = 9\nfit = "crop"\n[[outputs]]\nname = "x"\n'
    spec = tmp_path / "spec.toml"
    spec.write_text(text + 'kind = "classification"\nlabels = "labels.txt"\n')
    with pytest.raises(BadModel, match=r"labels\.txt cannot be read \(No such file"):
        read_spec(str(spec))
    (tmp_path / "labels.txt").write_text("tench\ngoldfish, fresh\nshark\n\n")
    assert read_spec(str(spec)).outputs[0].labels == ("tench", "goldfish, fresh", "shark")
    (tmp_path / "labels.txt").write_text("tench\n\nshark\n")
    with pytest.raises(BadModel, match="line 2 is empty"):
        read_spec(str(spec))
