"""The only code of edgekit that runs on a board: it loads one artifact and does one job with it.

    python3 runner.py JOB.json              one job, one JSON line per event on standard output
    python3 runner.py predict [--whole] [ARTIFACT] IMAGE [IMAGE ...]
    python3 runner.py serve [--whole] [ARTIFACT]       image paths on standard input, one JSON line
                                                       an answer
    python3 runner.py serve [--whole] [ARTIFACT] FOLDER          every file of a folder, by name
    python3 runner.py golden [ARTIFACT]     does it answer here as it did where it was bundled?
    python3 runner.py APP.py [ARGUMENT ...] run an application that imports this file

In an application:

    from runner import load
    model = load()                          # the artifact beside this file
    model("face.jpg")                       # or an array of pixels: {"age": {"label": ...}, ...}
    model.find("photo.jpg")                 # one such answer for each face, with its "box"

An artifact is a folder with a manifest.json; where none is named it is the runner's own folder.
It needs Python 3.9, NumPy and one runtime (onnxruntime, ai-edge-litert or tflite-runtime,
openvino, ncnn), and Pillow where it reads images. A model of faces answers each face in a picture,
which dlib (`pip install dlib-bin`) finds; with --whole a picture is one face, cut out before. It
imports nothing else of edgekit: copying this one file is enough. A job that fails prints
{"error": ..., "kind": ...} and exits with 3.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

try:
    import numpy as np
except ModuleNotFoundError:  # a bare board: it can still say what it is, and is provisioned by that
    np = None  # type: ignore[assignment]

MAX_PIXELS = 50_000_000
"""Larger images are refused: a few kilobytes of PNG can hold gigabytes of pixels."""

MAX_SAMPLES = 5_000
"""Of one process; what takes under 0.2 ms a call would fill files with samples that add nothing."""

HERE = Path(__file__).resolve().parent
"""Where a deployed version has its artifact, beside this file."""

Array = Any
"""A NumPy array; spelled Any because NumPy 1 and 2 type it differently."""


# Pixels


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What is decoded, by Pillow's names: pictures of pixels, in decoders that read no more than asked.

Others stay shut: EPS starts Ghostscript, and a small ICO can take hundreds of megabytes.
"""

_ORIENTATION = 0x0112
"""The EXIF tag that says how a picture lies."""

_ON_ITS_SIDE = (5, 6, 7, 8)
"""Its values for a picture that is stored on its side."""

_TURNS = (
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
)
"""What turns a picture upright, for the tag's values from 2 on."""


def decode(
    data: bytes,
    height: int,
    width: int,
    resize_to: Optional[int] = None,
    grey: bool = False,
    fit: str = "stretch",
    filter: str = "bilinear",
    pad: Sequence[int] = (114,),
    cut: bool = True,
) -> Array:
    """Return an encoded image's pixels as uint8, height × width × 3 (RGB) or × 1 (grey).

    The one path from an image file to a network, used by training, calibration, accuracy and the
    board alike. The image is turned upright by its EXIF tag, then resized by one of Pillow's
    antialiased filters. Transparent pixels are laid on white. 16-bit pixels are divided by 257, so
    that 65535 becomes 255. Of a GIF the first frame is taken.

    `stretch` resizes to height × width; with `resize_to` to that square, whose centre is cut out.
    `crop` resizes the shorter side to `resize_to`, else to the larger of height and width, and
    cuts out the centre. `letterbox` resizes to fit inside and fills up with `pad`. For `stretch`
    with `bilinear`, JPEGs are decoded at the smallest scale that still covers the size asked for
    (libjpeg's scaled decoding). Without `cut` the centre is not cut out.

    Raises OSError where Pillow cannot decode or the format is not one of FORMATS, ValueError for
    an image of more than MAX_PIXELS or one whose pixels have no known range (floats, 32-bit
    integers).
    """
    draft = fit == "stretch" and filter == "bilinear"
    scale = (lambda size: _scaled(size, height, width, resize_to, fit)) if draft else None
    image = upright(data, "L" if grey else "RGB", scale)
    return fit_picture(image, height, width, resize_to, fit, filter, pad, cut)


def fit_picture(
    image: Any,
    height: int,
    width: int,
    resize_to: Optional[int],
    fit: str,
    filter: str,
    pad: Sequence[int],
    cut: bool,
) -> Array:
    """Return an open picture's pixels as `decode` does."""
    from PIL import Image

    target = _scaled(image.size, height, width, resize_to, fit)
    if image.size != target:
        image = image.resize(target, Image.Resampling[filter.upper()])
    pixels = np.asarray(image, dtype=np.uint8).reshape(target[1], target[0], -1)
    if fit == "letterbox":
        framed = np.empty((height, width, pixels.shape[2]), np.uint8)
        framed[:] = np.array(pad, np.uint8)
        top, left = (height - target[1]) // 2, (width - target[0]) // 2
        framed[top : top + target[1], left : left + target[0]] = pixels
        pixels = framed
    if not cut:
        return np.ascontiguousarray(pixels)
    spare = pixels.shape[0] - height, pixels.shape[1] - width
    # torchvision's CenterCrop rounds a half to the even number.
    top, left = (round(s / 2) if fit == "crop" else s // 2 for s in spare)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def upright(
    data: bytes,
    mode: str = "RGB",
    scale: "Optional[Callable[[tuple[int, int]], tuple[int, int]]]" = None,
) -> Any:
    """Return an encoded image as a Pillow image, turned upright by its EXIF tag.

    `scale` takes its size and returns the smallest that will do. Raises as `decode`.
    """
    from PIL import Image

    encoded = _opened(data)
    with encoded, _decoding():
        turn = encoded.getexif().get(_ORIENTATION)
        if scale:
            target = scale(encoded.size)
            encoded.draft(mode, target[::-1] if turn in _ON_ITS_SIDE else target)
        encoded.load()
        image = _plain(encoded).convert(mode)
        turn = encoded.getexif().get(_ORIENTATION)  # after load(), which turns a TIFF itself
        if isinstance(turn, int) and 2 <= turn <= 8:
            image = image.transpose(Image.Transpose[_TURNS[turn - 2]])
    return image


def picture_size(data: bytes) -> "tuple[int, int]":
    """Return the width and height of an encoded image, as it is upright. Raises as `decode`."""
    with _opened(data) as encoded, _decoding():
        turned = encoded.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
        size: "tuple[int, int]" = encoded.size[::-1] if turned else encoded.size
    return size


def _opened(data: bytes) -> Any:
    """Return an encoded image of which nothing is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _decoding():
            encoded = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    except UnidentifiedImageError:
        raise OSError(f"it is none of {', '.join(FORMATS)}, or damaged") from None
    if encoded.width * encoded.height > MAX_PIXELS:
        raise ValueError(f"image of {encoded.width}x{encoded.height} pixels: over {MAX_PIXELS}")
    return encoded


def framing(spec: Dict[str, Any], size: "tuple[int, int]") -> "tuple[tuple[float, ...], ...]":
    """Return the scales and offsets, (x, y), from a picture of `size` to the network's input.

    `size` is (width, height), `spec` a manifest's `input`. What lies at x in the upright picture
    is at x times the scale plus the offset in the pixels that `decode_for` returns.
    """
    frame = spec["width"], spec["height"]
    fit = spec.get("fit", "stretch")
    scaled = _scaled(size, spec["height"], spec["width"], spec.get("resize_to"), fit)
    spare = [frame[i] - scaled[i] for i in (0, 1)]
    if fit == "letterbox":
        offsets = [s // 2 for s in spare]
    else:
        offsets = [-round(-s / 2) if fit == "crop" else -(-s // 2) for s in spare]
    return tuple(scaled[i] / size[i] for i in (0, 1)), tuple(map(float, offsets))


def _scaled(
    size: "tuple[int, int]", height: int, width: int, resize_to: Optional[int], fit: str
) -> "tuple[int, int]":
    """Return the width and height that an image of `size` (width, height) is resized to."""
    if fit == "crop":
        # As torchvision's Resize computes it: the longer side is rounded down.
        short, side = min(size), resize_to or max(height, width)
        scaled = int(side * size[0] / short), int(side * size[1] / short)
    elif fit == "letterbox":
        scale = min(width / size[0], height / size[1])
        scaled = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    else:
        return (resize_to, resize_to) if resize_to else (width, height)
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise ValueError(f"image of {size[0]}x{size[1]} pixels is too long and thin to resize")
    return scaled


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Raise OSError for whatever else Pillow's decoders raise on a damaged file."""
    try:
        yield
    except (OSError, ValueError, NameError):
        raise
    except Exception as error:  # SyntaxError, struct.error, IndexError, EOFError and others
        raise OSError(f"it is damaged ({type(error).__name__}: {error})") from None


def _plain(encoded: Any) -> Any:
    """Return a loaded image with 8 bits a channel and nothing transparent."""
    from PIL import Image

    clear = encoded.info.get("transparency")
    if encoded.mode[:1] in ("I", "F"):
        # 16-bit PNG and PGM have mode "I" in older Pillow, "I;16" in newer.
        deep = encoded.mode.startswith("I;16") or encoded.format in ("PNG", "PPM")
        if encoded.mode == "F" or not deep or _odd_tiff(encoded):
            raise ValueError(
                f"its pixels ({encoded.format}, mode {encoded.mode}) have no known range: "
                "save it with 8 or 16 bits a channel"
            )
        values = np.asarray(encoded).astype(np.uint32)
        scaled = ((values + 128) // 257).astype(np.uint8)
        if isinstance(clear, int):
            scaled[values == clear] = 255
        return Image.fromarray(scaled)
    if clear is None and encoded.mode not in ("LA", "PA", "La", "RGBA", "RGBa"):
        return encoded
    image = encoded.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _odd_tiff(encoded: Any) -> bool:
    """Tell whether a TIFF's 16-bit mode hides another range: 12 bits, or white stored as 0."""
    tags = getattr(encoded, "tag_v2", {})
    return bool(tags) and (tuple(tags.get(258, (16,))) != (16,) or tags.get(262, 1) != 1)


def decode_for(data: bytes, spec: Dict[str, Any], cut: bool = True) -> Array:
    """Return `decode`'s pixels for a manifest's `input` (an InputSpec as a dict)."""
    return decode(data, grey=spec["colour"] == "GREY", cut=cut, **_frame(spec))


def _frame(spec: Dict[str, Any]) -> Dict[str, Any]:
    """Return what `decode` is told of an input's size and fit."""
    return {
        "height": spec["height"],
        "width": spec["width"],
        "resize_to": spec.get("resize_to"),
        "fit": spec.get("fit", "stretch"),
        "filter": spec.get("filter", "bilinear"),
        "pad": spec.get("pad", (114,)),
    }


# Faces, for an input whose `subject` is "face"


Box = Any
"""Left, top, right and bottom in pixels of the upright picture; a frame may reach outside it."""

FIND_SIDE = 1600
"""The longer side at which a picture is searched, at most; a face is found from 70 pixels on."""

ENLARGE_SIDE = 1000
"""Where nothing was found in a picture of no more than this, it is searched enlarged, too."""

SMALL_SIDE = 160
"""A picture whose shorter side is no longer is enlarged at once: it can only be a crop."""

FACE_SCORE = 0.2
"""dlib's score from which a find counts: true faces mostly have 1, wrong finds seldom 0.1."""

FILLS = 0.8
"""A face whose frame is so much of both sides of its picture: the picture is a crop already."""

CUT_SIDE = 2048
"""A frame is cut out at this many pixels, at most: one wider than its picture stays small."""

_FINDERS = threading.local()
"""dlib's detector holds the picture it works on: two threads in one of them end the process."""


class NoFace(ValueError):
    """A picture in which no face was found."""


VIEWS = (
    (1.0, 0.0, 0.0, False),
    (1.0, -0.05, -0.05, True),
    (1.0, 0.05, 0.05, True),
    (0.9, 0.0, 0.0, False),
    (1.1, 0.0, 0.0, True),
)
"""How a face that was found is looked at: its frame scaled, moved right and down by shares of its
side, mirrored. What finds it draws the frame some 10 % larger or smaller from one picture to the
next, and the answer to one frame hangs on that. One of four sets that were tried on 573 faces
pasted into photographs (docs/faces.md)."""


def decode_faces(data: bytes, spec: Dict[str, Any], cut: bool = True) -> "List[tuple[Box, Array]]":
    """Return each face of an image file: its frame, and its pixels as `decode_for` gives them.

    The frame is a square around dlib's box, longer than the box by the share `margin`, its centre
    lower by the share `shift`. A picture that one face fills is not cut again: its frame is
    the whole picture. Faces come from left to right.
    Raises NoFace where there is none, ModuleNotFoundError without dlib, else as `decode`.
    """
    return [(frame, seen[0]) for frame, seen in decode_views(data, spec, cut, VIEWS[:1])]


def decode_views(
    data: bytes, spec: Dict[str, Any], cut: bool = True, views: "Sequence[Any]" = VIEWS
) -> "List[tuple[Box, List[Array]]]":
    """Return the faces of `decode_faces`, each with its pixels in all views, the plain one first.

    A picture that one face fills has only that.
    """
    picture = upright(data)
    frames = [_around(box, spec) for box in find_faces(picture)]
    if not frames:
        raise NoFace("no face found")
    side = frames[0][2] - frames[0][0]
    if len(frames) == 1 and side >= FILLS * max(picture.size):
        return [([0, 0, *picture.size], [decode_for(data, spec, cut)])]
    mode = "L" if spec["colour"] == "GREY" else "RGB"

    def seen(frame: Box, view: Any) -> Array:
        scale, right, down, mirrored = view
        side = frame[2] - frame[0]
        half = side * scale / 2
        x, y = (frame[0] + frame[2]) / 2 + right * side, (frame[1] + frame[3]) / 2 + down * side
        part = cut_out(picture, [x - half, y - half, x + half, y + half]).convert(mode)
        pixels = fit_picture(part, cut=cut, **_frame(spec))
        return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels

    return [(frame, [seen(frame, view) for view in views]) for frame in frames]


def decode_subject(data: bytes, spec: Dict[str, Any], cut: bool = True) -> Array:
    """Return the pixels of the largest face of an image file. Raises as `decode_faces`."""
    found = decode_faces(data, spec, cut)
    return max(found, key=lambda item: item[0][2] - item[0][0])[1]


def find_faces(picture: Any) -> "List[Box]":
    """Return the boxes of the faces in an upright picture, as dlib draws them, from left to right.

    Raises ModuleNotFoundError where dlib is not installed.
    """
    from PIL import Image

    scale = min(1.0, FIND_SIDE / max(picture.size))
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    pixels = np.array(picture.convert("RGB"))
    small = min(picture.size) <= SMALL_SIDE
    finder = face_finder()
    boxes, _, _ = finder.run(pixels, int(small), FACE_SCORE)
    if not boxes and not small and max(picture.size) <= ENLARGE_SIDE:
        boxes, _, _ = finder.run(pixels, 1, FACE_SCORE)
    edges = [(b.left(), b.top(), b.right() + 1, b.bottom() + 1) for b in boxes]
    return sorted([edge / scale for edge in box] for box in edges)


def face_finder() -> Any:
    """Return this thread's detector, made at first use. Raises ModuleNotFoundError."""
    if not hasattr(_FINDERS, "detector"):
        try:
            import dlib
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "dlib, which finds the faces, is not installed: pip install dlib-bin, "
                "or say --whole where every picture is one face, cut out"
            ) from None
        _FINDERS.detector = dlib.get_frontal_face_detector()
    return _FINDERS.detector


def _around(box: Box, spec: Dict[str, Any]) -> Box:
    """Return the frame that a network takes of a face."""
    left, top, right, bottom = box
    size = max(right - left, bottom - top)
    half = size * (1 + spec.get("margin", 0.0)) / 2
    x, y = (left + right) / 2, (top + bottom) / 2 + size * spec.get("shift", 0.0)
    return [x - half, y - half, x + half, y + half]


def cut_out(picture: Any, frame: Box) -> Any:
    """Return a frame of a picture; outside of the picture its edge is repeated."""
    from PIL import Image

    scale = min(1.0, CUT_SIDE / (frame[2] - frame[0]))
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top, side = (round(v * scale) for v in (frame[0], frame[1], frame[2] - frame[0]))
    side = max(1, side)
    columns = np.arange(left, left + side).clip(0, picture.width - 1)
    rows = np.arange(top, top + side).clip(0, picture.height - 1)
    inside = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    pixels = np.asarray(picture.crop(inside))
    return Image.fromarray(pixels[rows - rows[0]][:, columns - columns[0]])


DAMAGED_ARRAYS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise for a file that is no array, or a damaged one."""


def read_samples(data: bytes, manifest: Dict[str, Any]) -> List[Dict[str, Array]]:
    """Return the samples in a .npz file, an array an input name, or in a .npy file of the only one.

    An array has the shape of its input, or one dimension more in front, the samples'; where the
    batch is 1 it may count the samples itself, or be left out. An image's pixels are uint8, height
    x width x channels. Raises ValueError for what does not fit.
    """
    wanted = {tensor["name"]: tensor for tensor in manifest["tensors"]}
    image = manifest.get("input")
    if image:
        size = [image["height"], image["width"], 1 if image["colour"] == "GREY" else 3]
        wanted[image["name"]] = {"shape": size, "dtype": "uint8"}
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            given = {"": loaded}
        else:
            given = {name: loaded[name] for name in loaded.files}
    except (*DAMAGED_ARRAYS, MemoryError) as error:  # a header may claim any size
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"it is no .npz or .npy file, or damaged ({reason})") from None
    if list(given) == [""] and len(wanted) == 1:
        given = dict.fromkeys(wanted, given[""])
    missing = ", ".join(f"'{name}'" for name in wanted if name not in given)
    if missing:
        held = ", ".join(f"'{name}'" for name in given) or "nothing"
        raise ValueError(f"it lacks the array {missing} (it holds {held})")
    columns = {name: _column(name, given[name], spec) for name, spec in wanted.items()}
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1 or 0 in counts:
        told = ", ".join(f"{len(column)} of '{name}'" for name, column in columns.items())
        raise ValueError(f"its arrays hold different numbers of samples: {told}")
    return [{name: column[i] for name, column in columns.items()} for i in range(counts.pop())]


def _column(name: str, array: Array, spec: Dict[str, Any]) -> Array:
    """Return an input's samples, (N, *shape), in its dtype. Raises ValueError."""
    shape = tuple(spec["shape"])
    if array.shape == shape:
        array = array[None]
    elif shape[:1] == (1,) and array.shape == shape[1:]:
        array = array[None, None]
    elif shape[:1] == (1,) and array.shape[1:] == shape[1:]:
        array = array[:, None]
    elif array.shape[1:] != shape:
        raise ValueError(f"its array '{name}' is {array.shape}, the model takes {shape}")
    dtype = np.dtype(spec["dtype"])
    if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(f"its array '{name}' is {array.dtype}, the model takes {dtype}")
    if dtype.kind == "i" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(f"its array '{name}' has values that {dtype} cannot hold")
    if not np.isfinite(array).all():
        raise ValueError(f"its array '{name}' holds NaN or infinity")
    low, high = spec.get("range") or (None, None)
    if low is not None and (array.min() < low or array.max() > high):
        raise ValueError(
            f"its array '{name}' has values from {array.min():g} to {array.max():g}, "
            f"outside of {low:g} to {high:g}"
        )
    return array.astype(dtype)


def fitted(pixels: Any, manifest: Dict[str, Any]) -> Array:
    """Return pixels at the network's size; those of that size are taken as they are.

    Raises ValueError for an array that is no picture, or where the network takes no picture.
    """
    spec = manifest.get("input")
    if not spec or manifest.get("tensors"):
        named = ", ".join(input_names(manifest))
        raise ValueError(f"the model takes arrays by name: give a dict with {named}")
    grey = spec["colour"] == "GREY"
    array = np.asarray(pixels)
    if array.ndim == 2 and grey:
        array = array[..., None]
    channels = 1 if grey else 3
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != channels or not array.size:
        raise ValueError(
            f"the array is {array.dtype} {array.shape}: give uint8 pixels, height x width x "
            f"{channels} ({'grey' if grey else 'RGB'})"
        )
    if array.shape[:2] == (spec["height"], spec["width"]):
        return np.ascontiguousarray(array)
    return decode_for(_as_file(array[..., 0] if grey else array), spec)


def _as_file(pixels: Array) -> bytes:
    """Return pixels as an image file, without loss, for what reads only files."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PPM")
    return buffer.getvalue()


def feed(sample: Any, manifest: Dict[str, Any]) -> Any:
    """Return what the artifact takes of one sample: a tensor, or a list of them, in order.

    A sample is an image's pixels or, where the manifest has `tensors`, arrays by input name.
    """
    if not manifest.get("tensors"):
        return feed_image(sample, manifest)
    image = (manifest.get("input") or {}).get("name")
    return [
        feed_image(sample[name], manifest) if name == image else np.asarray(sample[name])
        for name in input_names(manifest)
    ]


def input_names(manifest: Dict[str, Any]) -> List[str]:
    """Return the names of an artifact's inputs, in the order in which its network takes them."""
    spec = manifest.get("input")
    image = [spec.get("name", "image")] if spec else []
    return list(manifest.get("order") or ()) or [
        *image,
        *(tensor["name"] for tensor in manifest.get("tensors") or ()),
    ]


def feed_image(pixels: Array, manifest: Dict[str, Any]) -> Array:
    """Return the artifact's input tensor of one image.

    `pixels` is uint8 H×W×C. The manifest's `feed` says what the artifact takes: `uint8`, the
    pixels as they are, 1×H×W×C; `int8`, pixel − 128, done by flipping the top bit; `float32`
    (--raw-input), normalised by the manifest's `input`, in its layout.
    """
    if manifest["feed"] == "uint8":
        return pixels[None]
    if manifest["feed"] == "int8":
        return (pixels ^ np.uint8(0x80)).view(np.int8)[None]
    spec = manifest["input"]
    ordered = pixels[..., ::-1] if spec["colour"] == "BGR" else pixels
    normalised = (ordered.astype(np.float32) - np.float32(spec["mean"])) / np.float32(spec["std"])
    batch = normalised[None]
    return np.ascontiguousarray(
        batch.transpose(0, 3, 1, 2) if spec["layout"] == "NCHW" else batch, dtype=np.float32
    )


def decide(value: Array, output: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Return what one output says of one image, by its kind, or None for a plain tensor.

    `value` is the output of one image, with its batch dimension; of a detection, what `read_with`
    makes of it.
    """
    decider = DECIDERS.get(output["kind"])
    return decider(np.asarray(value, dtype=np.float64), output) if decider else None


def _decide_class(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the argmax and how sure it is."""
    flat = value.reshape(-1)
    index = int(flat.argmax())
    confidence = float(confidences(flat[None], output)[0])
    return {"label": output["labels"][index], "index": index, "confidence": confidence}


def confidences(values: Array, output: Dict[str, Any]) -> Array:
    """Return the confidence, 0 to 1, of each image's largest score, (N,); `values` is (N, C).

    The softmax of the logits over the output's temperature, or the network's own probability.
    """
    heat = output.get("temperature", 1.0)
    if output.get("scores") == "probabilities":
        if heat == 1:
            return np.clip(values.max(1), 0, 1)
        values = np.log(np.clip(values, 1e-12, 1))
    shares = np.exp((values - values.max(1, keepdims=True)) / heat)
    return 1 / shares.sum(1)


def _decide_regression(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the value rounded half up and clipped to the labels."""
    number = float(value.reshape(-1)[0])
    index = int(np.clip(np.floor(number + 0.5), 0, len(output["labels"]) - 1))
    return {"label": output["labels"][index], "index": index, "value": number}


def _decide_labels(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the labels at or over the threshold, each with its probability."""
    flat = value.reshape(-1)
    if output.get("scores") != "probabilities":
        flat = 1 / (1 + np.exp(-np.clip(flat, -500, 500)))
    chosen = np.flatnonzero(flat >= output.get("threshold", 0.5))
    return {"labels": {output["labels"][i]: float(np.clip(flat[i], 0, 1)) for i in chosen}}


def _decide_value(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    return {"value": float(value.reshape(-1)[0]), "unit": output.get("unit", "")}


def _decide_embedding(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    return {"vector": [float(number) for number in value.reshape(-1)]}


def _decide_image(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    return {"shape": list(value.shape[1:]), "range": [float(value.min()), float(value.max())]}


def _decide_map(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the share of the picture that each class covers, of those that cover any."""
    classes = class_map(value, output)
    found, counts = np.unique(classes, return_counts=True)
    labels = output["labels"]
    return {
        "shares": {
            labels[int(i)] if 0 <= i < len(labels) else str(int(i)): float(n / classes.size)
            for i, n in sorted(zip(found, counts), key=lambda item: -item[1])
        }
    }


def _decide_boxes(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the boxes that are sure enough, the surest first, as corners in the output's unit."""
    boxes, scores, classes = detections(value[0], output, output["threshold"])
    return {
        "boxes": [
            {
                "label": output["labels"][index],
                "index": int(index),
                "confidence": float(score),
                "box": [float(number) for number in box],
            }
            for box, score, index in zip(boxes, scores, classes)
        ]
    }


def _decide_points(value: Array, output: Dict[str, Any]) -> Dict[str, Any]:
    """Return the points of each thing found, or of the whole picture, in the output's unit."""
    if not output.get("boxes"):
        return {"points": _told_points(value[0], output)}
    places, scores, classes = found_rows(value[0], output, output["threshold"])
    return {
        "boxes": [
            {
                "label": output["labels"][index],
                "index": int(index),
                "confidence": float(score),
                "box": [float(number) for number in row[:4]],
                "points": _told_points(points_of(row, output), output),
            }
            for row, score, index in zip(value[0][places], scores, classes)
        ]
    }


def _told_points(points: Array, output: Dict[str, Any]) -> List[List[float]]:
    """Return x and y of each point (K, 3), and its probability where the network says one."""
    told = 3 if output["points"]["values"] == 3 or output["points"]["shown"] else 2
    return [[float(number) for number in point[:told]] for point in points]


DECIDERS: "Dict[str, Callable[[Array, Dict[str, Any]], Dict[str, Any]]]" = {
    "classification": _decide_class,
    "ordinal": _decide_class,
    "regression": _decide_regression,
    "multilabel": _decide_labels,
    "value": _decide_value,
    "embedding": _decide_embedding,
    "image": _decide_image,
    "segmentation": _decide_map,
    "detection": _decide_boxes,
    "keypoints": _decide_points,
}
"""What is printed of an output, by its kind."""


def class_map(values: Array, output: Dict[str, Any]) -> Array:
    """Return the class index of every place, (N, H, W).

    `values` are scores, (N, C, H, W) or (N, H, W, C), one score a place for two classes,
    (N, 1, H, W), or classes already.
    """
    count = len(output["labels"])
    if values.ndim == 4 and values.shape[1] == count:
        return values.argmax(1)
    if values.ndim == 4 and values.shape[3] == count:
        return values.argmax(3)
    flat = values.reshape(values.shape[0], *values.shape[-2:])
    if count == 2:
        return (flat > (0.5 if output.get("scores") == "probabilities" else 0)).astype(np.int64)
    return np.rint(flat).astype(np.int64)


# Boxes


MAX_CANDIDATES = 30_000
"""Of one picture, the surest; more would only be suppressed. ultralytics takes as many."""

MAX_BOXES = 300
"""Of one picture, and one label's of those that are judged: no detector is trained for more."""


def read_with(output: Dict[str, Any], values: "Dict[str, Array]") -> Array:
    """Return what an output's answer is read from: its own values, (N, ...), of `values` by name.

    Of a detection, with the outputs that hold its boxes and classes: (N, ROWS, 4 + SCORES), where
    the four are two corners (x, y, x, y), and the scores are one probability a label or, where
    its row is `final`, a probability and a class index. Of keypoints with boxes, x, y and the
    probability of each of K points follow: (N, ROWS, 4 + SCORES + 3 K). Without: (N, K, 3).
    """
    own = values[output["name"]]
    spec, points = output.get("boxes"), output.get("points")
    if not spec:
        return own if not points else _points(own.reshape(len(own), 1, -1), output, values)[:, 0]
    labels, final = len(output["labels"]), spec["row"] == "final"
    own = np.asarray(own, np.float32)
    after = points["count"] * points["values"] if points and not points["output"] else 0
    if spec["output"]:
        boxes = _rows(np.asarray(values[spec["output"]], np.float32), 4)
        scores = _rows(own, 1 if final else labels)
    else:
        width = 4 + _row_width(output)
        rows = _rows(own, width + after)
        boxes, scores, own = rows[..., :4], rows[..., 4:width], rows[..., width:]
    if final:
        if spec["classes"]:
            classes = _rows(np.asarray(values[spec["classes"]], np.float32), 1)
            scores = np.concatenate([scores, classes], -1)
        sure = scores[..., :1]
        if output.get("scores") == "logits":
            scores = np.concatenate([_sigmoid(sure), scores[..., 1:]], -1)
    else:
        if output.get("scores") == "logits":
            scores = _sigmoid(scores) if spec["background"] is None else _softmax(scores)
        if spec["row"] == "objectness":
            scores = scores[..., 1:] * scores[..., :1]
    parts = [_corners(boxes, spec["format"]), scores]
    if points:
        there = values[points["output"]] if points["output"] else own
        three = _points(_rows(there, points["count"] * points["values"]), output, values)
        parts.append(three.reshape(*three.shape[:2], -1))
    return np.concatenate(parts, -1)


def _points(flat: Array, output: Dict[str, Any], values: "Dict[str, Array]") -> Array:
    """Return x, y and the probability of every point, (N, ROWS, K, 3); 1 where none is said.

    `flat` is (N, ROWS, K x VALUES).
    """
    points = output["points"]
    shape = (*flat.shape[:2], points["count"])
    held = np.asarray(flat, np.float32).reshape(*shape, points["values"])
    if points["values"] == 3:
        return held
    shown = np.ones((*shape, 1), np.float32)
    if points["shown"]:
        given = np.asarray(values[points["shown"]], np.float32)
        rows = _rows(given, shape[2]) if output.get("boxes") else given
        shown = rows.reshape(*shape, 1)
    return np.concatenate([held, shown], -1)


def points_of(row: Array, output: Dict[str, Any]) -> Array:
    """Return the points (..., K, 3) in `read_with`'s rows of keypoints with boxes."""
    count = output["points"]["count"]
    return row[..., -3 * count :].reshape(*row.shape[:-1], count, 3)


def _row_width(output: Dict[str, Any]) -> int:
    """Return how many numbers a detection's row has beside the box."""
    labels = len(output["labels"])
    return {"final": 2, "scores": labels, "objectness": 1 + labels}[output["boxes"]["row"]]


def _rows(values: Array, width: int) -> Array:
    """Return an output as rows of `width` numbers, (N, ROWS, width); channels may be first."""
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 4:  # rows of points
        values = values.reshape(*values.shape[:2], -1)
    return values if values.shape[2] == width else values.transpose(0, 2, 1)


def _corners(boxes: Array, form: str) -> Array:
    """Return boxes of any form as two corners, x and y of each."""
    if form == "xyxy":
        return boxes
    if form == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    size = boxes[..., 2:]
    first = boxes[..., :2] - size / 2 if form == "cxcywh" else boxes[..., :2]
    return np.concatenate([first, first + size], -1)


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def _softmax(values: Array) -> Array:
    shares = np.exp(values - values.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def detections(
    rows: Array, output: Dict[str, Any], threshold: float, every: bool = False
) -> "tuple[Array, Array, Array]":
    """Return boxes (B, 4), scores (B) and class indices (B) of one picture, the surest first.

    `rows` is `read_with`'s, of one picture. A row counts by its best label or, with `every`, by
    each label that reaches the threshold, as those count who measure a mean average precision. Of
    boxes of one label that overlap by more than the output's `overlap` the surest is kept.
    """
    places, scores, classes = found_rows(rows, output, threshold, every)
    return rows[places, :4], scores, classes


def found_rows(
    rows: Array, output: Dict[str, Any], threshold: float, every: bool = False
) -> "tuple[Array, Array, Array]":
    """Return the places in `rows` (B), scores and class indices of what `detections` finds."""
    places, scores, classes = candidates(rows, output, threshold, every)
    order = np.argsort(-scores, kind="stable")
    if output["boxes"]["row"] == "final":
        kept = order[:MAX_BOXES]
    else:
        order = order[:MAX_CANDIDATES]
        boxes = rows[places[order], :4]
        kept = order[suppress(boxes, classes[order], output["boxes"]["overlap"])]
    return places[kept], scores[kept], classes[kept]


def candidates(
    rows: Array, output: Dict[str, Any], threshold: float, every: bool = False
) -> "tuple[Array, Array, Array]":
    """Return what `found_rows` does, in no order, of which none is suppressed."""
    spec = output["boxes"]
    if spec["row"] == "final":
        places = np.flatnonzero(rows[:, 4] >= threshold)
        scores, classes = rows[places, 4], np.rint(rows[places, 5]).astype(np.int64)
        known = (classes >= 0) & (classes < len(output["labels"]))
        if spec["background"] is not None:
            known &= classes != spec["background"]
        places, scores, classes = places[known], scores[known], classes[known]
    else:
        grid = rows[:, 4 : 4 + len(output["labels"])]
        if spec["background"] is not None:
            grid = grid.copy()
            grid[:, spec["background"]] = -1
        if every:
            places, classes = np.nonzero(grid >= threshold)
        else:
            best = grid.argmax(1)
            places = np.flatnonzero(grid[np.arange(len(grid)), best] >= threshold)
            classes = best[places]
        scores = grid[places, classes]
    return places, scores, classes


def suppress(boxes: Array, classes: Array, overlap: float) -> Array:
    """Return the places of boxes, sorted by score, that no surer one of their class overlaps."""
    kept: List[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < MAX_BOXES:
        first, left = left[0], left[1:]
        kept.append(first)
        same = classes[left] == classes[first]
        left = left[~(same & (ious(boxes[first], boxes[left]) > overlap))]
    return np.array(kept, np.int64)


def ious(box: Array, others: Array) -> Array:
    """Return the intersection over union of one box with each of N others, (N)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    either = np.prod(box[2:] - box[:2]) + areas - shared
    return np.where(either > 0, shared / np.where(either > 0, either, 1), 0.0)


def in_picture(
    decision: Dict[str, Any],
    output: Dict[str, Any],
    spec: Dict[str, Any],
    size: "tuple[int, int]",
) -> Dict[str, Any]:
    """Return an answer with its boxes and points in pixels of the upright picture of `size`.

    What lies outside of the picture is cut off; a box of which nothing is left is left out. A point
    outside is moved to the edge.
    """
    if "boxes" not in decision:
        return {"points": place_points(decision["points"], output, spec, size)}
    found = [
        {**item, "points": place_points(item["points"], output, spec, size)}
        if "points" in item
        else item
        for item in decision["boxes"]
    ]
    given = np.array([item["box"] for item in found], np.float64).reshape(-1, 4)
    placed = place(given, output, spec, size)
    return {
        **decision,
        "boxes": [
            {**item, "box": [float(edge) for edge in box]}
            for item, box in zip(found, placed)
            if box[0] < box[2] and box[1] < box[3]
        ],
    }


def place(
    boxes: Array, output: Dict[str, Any], spec: Dict[str, Any], size: "tuple[int, int]"
) -> Array:
    """Return a detection's boxes (B, 4) in pixels of the upright picture, cut off at its edges.

    Or points (P, 2).
    """
    scales, offsets = (np.array(pair, np.float64) for pair in framing(spec, size))
    fractions = (output.get("boxes") or output["points"])["unit"] == "fractions"
    unit = np.array((spec["width"], spec["height"]) if fractions else (1, 1), np.float64)
    corners = boxes.reshape(-1, 2)
    placed = np.clip((corners * unit - offsets) / scales, 0, np.array(size, np.float64))
    return placed.reshape(boxes.shape)


def place_points(
    points: "List[List[float]]",
    output: Dict[str, Any],
    spec: Dict[str, Any],
    size: "tuple[int, int]",
) -> "List[List[float]]":
    """Return the points of an answer, (x, y) or (x, y, probability) each, placed as boxes are."""
    placed = place(np.array([point[:2] for point in points], np.float64), output, spec, size)
    return [[float(x), float(y), *point[2:]] for (x, y), point in zip(placed, points)]


# What kinds are judged by, over N images: the larger the better.


def _jaccard(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return how many of the labels that either gives both give, as a share; 1 for none at all."""
    least = output.get("threshold", 0.5)
    if output.get("scores") != "probabilities":
        least = float(np.log(least / (1 - least)))
    mine, theirs = ours >= least, reference >= least
    either = int((mine | theirs).sum())
    return float((mine & theirs).sum() / either) if either else 1.0


def _cosine(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return the mean cosine, of four images or more without the mean vector of the reference.

    What all images share says nothing of them: of embeddings that are never negative, even a
    constant answer has a cosine of 0.8 with them.
    """
    mine = ours.reshape(len(ours), -1).astype(np.float64)
    theirs = reference.reshape(len(reference), -1).astype(np.float64)
    if len(theirs) >= 4 and (theirs != theirs[:1]).any():
        mine, theirs = mine - theirs.mean(0), theirs - theirs.mean(0)
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    dots = (mine * theirs).sum(1)
    equal = (mine == theirs).all(1)
    return float(np.where(equal, 1.0, dots / np.where(lengths == 0, 1.0, lengths)).mean())


def _psnr(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return the worst image's PSNR in dB, over the range of the reference; 200 at most."""
    reference = reference.astype(np.float64)
    squares = np.square(ours.astype(np.float64) - reference).reshape(len(ours), -1).mean(1).max()
    span = float(reference.max() - reference.min())
    if squares == 0:
        return 200.0
    return float(min(200.0, 10 * np.log10(span**2 / squares))) if span else 0.0


def _mean_iou(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return intersection over union, the mean over the classes that either shows."""
    mine, theirs = class_map(ours, output), class_map(reference, output)
    ratios = []
    for index in np.union1d(mine, theirs):
        here, there = mine == index, theirs == index
        ratios.append((here & there).sum() / (here | there).sum())
    return float(np.mean(ratios))


MATCHED_IOU = 0.5
"""Two boxes of one label that overlap by so much show the same thing."""


def _matched(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return the share of boxes that both give, each less the distance of the two scores.

    Of either side count the boxes at the threshold; a partner may be as unsure as half of it, so
    that one who is just over and one who is just under cost their distance and no more. Where the
    reference finds nothing at all, the threshold is half of its largest score instead.
    """
    least = output["threshold"]
    top = max(_largest(rows, output) for rows in reference)
    if 0 < top < least:
        least = top / 2
    points, count = 0.0, 0
    for mine, theirs in zip(ours, reference):
        sides = [_things(rows, output, least / 2) for rows in (mine, theirs)]
        for these, those in (sides, sides[::-1]):
            similar = _partners(these, those, least, output)
            points, count = points + sum(similar), count + len(similar)
    return points / count if count else 1.0


def _largest(rows: Array, output: Dict[str, Any]) -> float:
    """Return the largest score of one picture's rows that is over 0, else 0."""
    _, scores, _ = candidates(rows, output, 1e-9)
    return float(scores.max()) if len(scores) else 0.0


def _things(rows: Array, output: Dict[str, Any], least: float) -> Any:
    """Return boxes, scores, class indices and points (empty where there are none), by the score."""
    places, scores, classes = found_rows(rows, output, least)
    found = rows[places]
    points = points_of(found, output) if output.get("points") else np.empty((len(found), 0, 3))
    return found[:, :4], scores, classes, points


def _partners(these: Any, those: Any, least: float, output: Dict[str, Any]) -> List[float]:
    """Return for each of these boxes 1 less the distance of its partner's score, 0 for none.

    Where they have points, that times the similarity of the points.
    """
    free = np.ones(len(those[0]), bool)
    similar = []
    for box, score, index, points in zip(*these):
        if score < least:
            break
        overlaps = np.where(free & (those[2] == index), ious(box, those[0]), 0.0)
        place = int(overlaps.argmax()) if len(overlaps) else 0
        if len(overlaps) and overlaps[place] >= MATCHED_IOU:
            free[place] = False
            near = 1 - abs(float(score) - float(those[1][place]))
            if len(points):
                area = float(np.prod(box[2:] - box[:2]))
                near *= similarity(those[3][place], points, area, output)
            similar.append(near)
        else:
            similar.append(0.0)
    return similar


SHOWN = 0.5
"""The probability from which a point counts as one that shows."""

SIGMA = 0.05
"""Of a point whose spec gives no sigma: COCO's own are 0.025 (eyes) to 0.107 (hips)."""


def similarity(ours: Array, reference: Array, area: float, output: Dict[str, Any]) -> float:
    """Return how near points (K, 3) are to others of a thing of that `area`, 0 to 1.

    COCO's object keypoint similarity (cocodataset.org, keypoint evaluation): the mean over the
    points that show of exp(-d^2 / (2 area k^2)), with d the distance and k twice the point's sigma.
    Here a point shows where either side says so (where none does, all count), and each is less the
    distance of the two probabilities.
    """
    sigmas = np.array(output["points"]["sigmas"] or [SIGMA] * len(reference), np.float64)
    squares = np.square(ours[:, :2].astype(np.float64) - reference[:, :2]).sum(1)
    near = np.exp(-squares / np.maximum(2 * area * np.square(2 * sigmas), 1e-12))
    sure = np.clip(ours[:, 2], 0, 1), np.clip(reference[:, 2], 0, 1)
    near *= 1 - np.abs(sure[0] - sure[1])
    shown = np.maximum(*sure) >= SHOWN
    return float(near[shown].mean() if shown.any() else near.mean())


def _matched_points(ours: Array, reference: Array, output: Dict[str, Any]) -> float:
    """Return the share of things that both give, as `_matched`, each times their points'
    similarity; of landmarks the mean similarity.

    Landmarks are as large as the square around the reference's points.
    """
    if output.get("boxes"):
        return _matched(ours, reference, output)
    whole = float(np.ptp(reference[..., :2], axis=(0, 1)).max())
    sides = np.ptp(reference[..., :2].astype(np.float64), axis=1).max(1)
    near = [
        similarity(mine, theirs, float(side or whole) ** 2, output)
        for mine, theirs, side in zip(ours, reference, sides)
    ]
    return float(np.mean(near))


METRICS: "Dict[str, tuple[str, Callable[[Array, Array, Dict[str, Any]], float]]]" = {
    "multilabel": ("shared labels", _jaccard),
    "embedding": ("cosine", _cosine),
    "image": ("PSNR", _psnr),
    "segmentation": ("mean IoU", _mean_iou),
    "detection": ("matched boxes", _matched),
    "keypoints": ("matched points", _matched_points),
}
"""The name and the function of what a kind is judged by: (ours, reference, output) → a number.

Both are what `read_with` returns.
"""


# Distances between answers


MAX_SLICES = 128
"""An axis of more entries is taken for a list of places or features of one kind."""

MIN_SAMPLES = 8
"""Fewer values than this have no spread to speak of."""


class Distances:
    """How far answers are from others, (N, ...), in units of the others' own spread.

    The distance is the root mean square of the differences. The unit is the standard deviation of
    the reference over images and places, or a tenth of its largest absolute value where that is
    more: of what hardly varies, 1 in 10 is a change. An output may hold quantities of different
    size (boxes in pixels beside scores of 0 to 1), so every slice along axis 1 (channels first)
    and along the last axis (channels last) is held to its own spread, not to the largest. Four
    axes are taken for a picture, whose rows and columns are places: only its channels are sliced,
    the last axis where that is the shortest, else axis 1. Left out are axes of more than MAX_SLICES
    entries, slices of less than MIN_SAMPLES values, and slices that stay under a ten-thousandth of
    the output's largest value.

    `whole`: distance over the output as a whole. `axes`: axis → (distances, largest absolute
    values) of its slices; a slice left out has distance 0. `one_range` leaves `axes` empty: all
    values share one range, as probabilities do.
    """

    def __init__(self, ours: Array, reference: Array, one_range: bool = False) -> None:
        difference = ours.astype(np.float64) - reference.astype(np.float64)
        self.whole = float(_in_spreads(difference, reference, None)[0])
        self.axes: Dict[int, Any] = {}
        largest = np.abs(reference).max()
        for axis in () if one_range else _unit_axes(reference.shape):
            count = reference.shape[axis]
            if not 1 < count <= MAX_SLICES or reference.size < MIN_SAMPLES * count:
                continue
            others = tuple(other for other in range(reference.ndim) if other != axis)
            distances, tops = _in_spreads(difference, reference, others)
            self.axes[axis] = np.where(tops > 1e-4 * largest, distances, 0.0), tops

    @property
    def worst(self) -> float:
        """The largest distance, of the whole or of any slice."""
        return max([self.whole, *(float(distances.max()) for distances, _ in self.axes.values())])


def _unit_axes(shape: "tuple[int, ...]") -> List[int]:
    """Return the axes along which the entries of an output may have units of their own."""
    if len(shape) == 4:
        return [3 if shape[3] < min(shape[1:3]) else 1]
    return sorted({1, len(shape) - 1}) if len(shape) > 1 else []


def _in_spreads(difference: Array, reference: Array, over: Any) -> "tuple[Array, Array]":
    """Return RMS differences over some axes in units of the spread, and largest absolute values."""
    reference = reference.astype(np.float64)
    top = np.abs(reference).max(axis=over)
    unit = np.maximum(reference.std(axis=over), 0.1 * top)
    rms = np.sqrt(np.square(difference).mean(axis=over))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rms == 0, 0.0, rms / unit), top


# ONNX Runtime since 1.29 reports its use and the model's name and hashes to its maker by default.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Runtimes: each loads a model file and returns a function from input tensor to outputs, in the
# manifest's order, with the dtype that the runtime gives.

Invoke = Callable[[Array], List[Array]]


def onnxruntime_options(threads: int) -> Any:
    """Return the SessionOptions of every session of ours."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # x86 without VNNI adds pairs of uint8 × int8 products in 16 bits, where 8-bit weights overflow:
    # there ONNX Runtime makes weights over 64 uint8 and adds in 32 bits. Others ignore it.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def onnxruntime_session(model: str, options: Any) -> Any:
    """Return a session of ours on the CPU.

    One half of what x64quantprecision turns on is left out: it runs before operators are fused,
    and fails on a transformer's layers (ONNX Runtime 1.32: "Attempt to replace the existing
    tensor"). The other half, after fusing, is what keeps products from overflowing.
    """
    import onnxruntime

    return onnxruntime.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["QDQS8ToU8Transformer"],
    )


def load_onnxruntime(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Load an .onnx file in ONNX Runtime's CPU provider."""
    session = onnxruntime_session(model, onnxruntime_options(threads))
    outputs = [output.name for output in session.get_outputs()]
    name_of = by_name([item.name for item in session.get_inputs()], manifest)
    return lambda tensor: session.run(outputs, name_of(tensor))


INNER = "edgekit_inner_"
"""What stands before an ONNX input's name where an output has it too: a file has each name once."""


def by_name(found: Sequence[str], manifest: Dict[str, Any]) -> "Callable[[Any], Dict[str, Array]]":
    """Return what names the tensors of `feed` as a model does that has the inputs `found`.

    One input may be called as it likes. Of several, one that the network does not use is gone.
    """
    names = input_names(manifest)
    own = {name[len(INNER) :] if name.startswith(INNER) else name: name for name in found}

    def named(tensor: Any) -> Dict[str, Array]:
        if not isinstance(tensor, list):
            return {found[0]: tensor}
        if len(tensor) == 1:
            return {found[0]: tensor[0]}
        return {own[name]: value for name, value in zip(names, tensor) if name in own}

    return named


def load_ai_edge_litert(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Load a .tflite file in LiteRT, with its default XNNPACK delegate."""
    if computes_in_half(manifest):
        return _half_litert(model, threads)
    from ai_edge_litert.interpreter import Interpreter

    return _interpreter(Interpreter(model_path=model, num_threads=threads))


def computes_in_half(manifest: Dict[str, Any]) -> bool:
    """Tell whether an artifact is to be computed in half precision, and this CPU can.

    Others compute it in float32: its answers are then the more exact.
    """
    return manifest.get("precision") == "fp16-compute" and has_half()


def has_half() -> bool:
    """Tell whether this CPU has vector arithmetic in half precision (Arm's asimdhp)."""
    return bool(re.search(r"^Features\s*:.*\basimdhp\b", _read("/proc/cpuinfo"), re.MULTILINE))


FORCE_FP16 = 4
"""TFLITE_XNNPACK_DELEGATE_FLAG_FORCE_FP16: convolutions and all else in half precision."""


def half_litert(model: str, threads: int) -> Any:
    """Return a .tflite file in LiteRT's compiled model: its interpreter cannot ask for fp16."""
    from ai_edge_litert.compiled_model import (
        CompiledModel,
        CpuOptions,
        HardwareAccelerator,
        Options,
    )

    cpu = CpuOptions(num_threads=threads, xnnpack_flags=FORCE_FP16)
    return CompiledModel.from_file(
        model, options=Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
    )


def fill(buffers: Sequence[Any], ends: Dict[str, Any], tensor: Any) -> None:
    """Write the tensors of `feed` into a compiled model's inputs; `ends` is its signature."""
    tensors = tensor if isinstance(tensor, list) else [tensor]
    for buffer, name in zip(buffers, ends["inputs"]):
        place = int((re.findall(r"args_([0-9]+)", name) or [0])[0])
        buffer.write(np.ascontiguousarray(tensors[place]))


def _half_litert(model: str, threads: int) -> Invoke:
    """Load a .tflite file that LiteRT computes in half precision."""
    compiled = half_litert(model, threads)
    ((key, ends),) = compiled.get_signature_list().items()
    details = compiled.get_output_tensor_details(key)
    given, taken = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    order = sorted(range(len(taken)), key=lambda at: _last_number(ends["outputs"][at]))

    def invoke(tensor: Any) -> List[Array]:
        fill(given, ends, tensor)
        compiled.run_by_index(0, given, taken)
        values = []
        for at in order:
            said = details[ends["outputs"][at]]
            count, dtype = int(np.prod(said["shape"])), np.dtype(said["dtype"])
            values.append(np.array(taken[at].read(count, dtype)).reshape(said["shape"]))
        return values

    return invoke


def _last_number(name: str) -> int:
    return int((re.findall(r"[0-9]+", name) or ["0"])[-1])


def load_tflite_runtime(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Load a .tflite file in tflite-runtime, LiteRT's predecessor (last release 2.14)."""
    from tflite_runtime.interpreter import Interpreter

    return _interpreter(Interpreter(model_path=model, num_threads=threads))


def tflite_inputs(interpreter: Any) -> "Dict[int, Tuple[int, Any]]":
    """Return the tensor of each input and its type, by the input's place in the network.

    litert-torch numbers the inputs (serving_default_args_1:0) and keeps them in any order.
    """
    return {
        int((re.findall(r"args_([0-9]+)", item["name"]) or [0])[0]): (item["index"], item["dtype"])
        for item in interpreter.get_input_details()
    }


def narrowed(value: Array, dtype: Any) -> Array:
    """Return integers as the type that a .tflite takes: of int64 tokens its converter makes int32.

    Raises ValueError for a value that the type cannot hold; what is no integer passes as it is.
    """
    kind = np.dtype(dtype)
    if value.dtype == kind or value.dtype.kind not in "iu" or kind.kind not in "iu":
        return value
    bounds = np.iinfo(kind)
    if value.size and not bounds.min <= value.min() <= value.max() <= bounds.max:
        raise ValueError("an input holds {}, the model takes {}".format(value.max(), kind))
    return value.astype(kind)


def _interpreter(interpreter: Any) -> Invoke:
    """Return the invoke function of either TFLite interpreter; they share their interface."""
    interpreter.allocate_tensors()
    sources = tflite_inputs(interpreter)
    # A scale of 0 marks what is not quantized: floats, and integers or booleans as such.
    outputs = [(item["index"], *item["quantization"]) for item in interpreter.get_output_details()]

    def invoke(tensor: Any) -> List[Array]:
        given = tensor if isinstance(tensor, list) else [tensor]
        for place, (index, dtype) in sources.items():
            interpreter.set_tensor(index, narrowed(given[place], dtype))
        interpreter.invoke()
        values = []
        for index, scale, zero_point in outputs:
            raw = interpreter.get_tensor(index)
            values.append(
                np.float32(scale) * (raw.astype(np.float32) - zero_point) if scale else raw
            )
        return values

    return invoke


def openvino_settings(threads: int, half: bool = False) -> Dict[str, Any]:
    """Return the CPU plugin's settings.

    Arithmetic is held at float32: on CPUs with bfloat16 the plugin would otherwise round to it,
    and no longer compute the model that was proven. `half`: at half precision.
    """
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f16" if half else "f32",
    }


def openvino_feed(compiled: Any, manifest: Dict[str, Any]) -> "Callable[[Any], Any]":
    """Return what makes of the tensors of `feed` what a compiled model's request takes."""
    if len(input_names(manifest)) > 1:
        return by_name([port.get_any_name() for port in compiled.inputs], manifest)
    return lambda tensor: tensor if isinstance(tensor, list) else [tensor]


WIDE_INT8 = "weights of 8 bits: for Arm, and for x86 with VNNI"
"""The note of an OpenVINO artifact whose int8 products overflow where a CPU adds in 16 bits."""


def adds_in_32_bits() -> bool:
    """Tell whether this CPU adds int8 products without overflow: Arm, or x86 with VNNI or AMX."""
    if platform.machine().lower().startswith(("aarch64", "arm")):
        return True
    return bool({"avx_vnni", "avx512_vnni", "amx_int8"} & set(_read("/proc/cpuinfo").split()))


NO_KERNEL = "object is not initialized"
"""What OpenVINO says where none of its libraries has a kernel for a layer."""


def lacks_half_precision() -> bool:
    """Tell whether this is an Arm CPU without half-precision arithmetic: a Raspberry Pi 4 or 3."""
    arm = platform.machine().lower().startswith(("aarch64", "arm"))
    return arm and "asimdhp" not in _read("/proc/cpuinfo").split()


def load_openvino(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Load an OpenVINO IR in its CPU plugin.

    Raises ValueError for int8 weights that overflow on this CPU: its answers would be wrong. And
    where OpenVINO takes a kernel of half precision that this CPU does not have: 2026.4 does on Arm
    after an int8 convolution that has signs in its input or its output, but not in both.
    """
    import openvino

    if WIDE_INT8 in manifest.get("notes", ()) and not adds_in_32_bits():
        raise ValueError(
            "its int8 weights of 8 bits overflow on this CPU, which has no VNNI: "
            "convert it again without --target, or for this CPU"
        )
    settings = openvino_settings(threads, computes_in_half(manifest))
    try:
        compiled = openvino.Core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        if NO_KERNEL not in str(error) or not lacks_half_precision():
            raise
        raise ValueError(
            "OpenVINO computes a layer of this network in half precision on Arm, and this CPU has "
            "none: take its fp32 artifact, or int8 of another backend"
        ) from None
    request = compiled.create_infer_request()
    count = len(compiled.outputs)
    given = openvino_feed(compiled, manifest)

    def invoke(tensor: Any) -> List[Array]:
        request.infer(given(tensor))
        return [np.array(request.get_output_tensor(index).data) for index in range(count)]

    return invoke


def ncnn_net(model: str, threads: int, keep_blobs: bool = False) -> Any:
    """Return an ncnn.Net of a .param file and the .bin file beside it, in float32.

    ncnn would otherwise round weights and activations to half precision or bfloat16 where a CPU
    has them. `keep_blobs` keeps what each layer made until the inference ends.
    """
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.lightmode = not keep_blobs
    for rounding in (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_packed",
        "use_bf16_storage",
    ):
        setattr(net.opt, rounding, False)
    weights = model[: -len("param")] + "bin"
    if net.load_param(model) or net.load_model(weights):
        raise ValueError("ncnn cannot load " + model)
    return net


def ncnn_input(tensor: Array, manifest: Dict[str, Any]) -> Any:
    """Return an input tensor as an ncnn.Mat, which has no batch and keeps its channels apart.

    Pixels go through ncnn's own reader of them, which also makes them float, 0 to 255, and swaps
    red and blue for a network that takes BGR.
    """
    import ncnn

    if manifest["feed"] != "uint8":
        return ncnn.Mat(np.ascontiguousarray(tensor[0])).clone()
    kinds = ncnn.Mat.PixelType
    kind = {"RGB": kinds.PIXEL_RGB, "BGR": kinds.PIXEL_RGB2BGR, "GREY": kinds.PIXEL_GRAY}
    pixels = np.ascontiguousarray(tensor[0])
    height, width = pixels.shape[:2]
    return ncnn.Mat.from_pixels(pixels, kind[manifest["input"]["colour"]], width, height)


def load_ncnn(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Load an ncnn network; its input is named in0, its outputs out0, out1 and so on."""
    net = ncnn_net(model, threads)
    names = ["out" + str(index) for index in range(len(manifest["outputs"]))]

    def invoke(tensor: Array) -> List[Array]:
        run = net.create_extractor()
        run.input("in0", ncnn_input(tensor, manifest))
        values = []
        for name in names:
            code, value = run.extract(name)
            if code:
                raise RuntimeError("ncnn could not compute " + name)
            values.append(np.array(value)[None])
        return values

    return invoke


def load_null(model: str, manifest: Dict[str, Any], threads: int) -> Invoke:
    """Answer zeros at once: what is left of a measurement is the harness's own cost."""
    scored = ("classification", "ordinal", "multilabel")
    outputs = manifest["outputs"]
    shapes: "Dict[str, tuple[int, ...]]" = {
        o["name"]: (1, len(o["labels"]) if o["kind"] in scored else 1) for o in outputs
    }
    for output in (o for o in outputs if o.get("boxes")):
        boxes, row = output["boxes"], _row_width(output)
        shapes[output["name"]] = (1, 1, row if boxes["output"] else 4 + row)
        if boxes["output"]:
            shapes[boxes["output"]] = (1, 1, 4)
        if boxes["classes"]:
            shapes[output["name"]] = shapes[boxes["classes"]] = (1, 1)
    answer = [np.zeros(shapes[output["name"]], np.float32) for output in outputs]
    return lambda tensor: answer


Loader = Callable[[str, Dict[str, Any], int], Invoke]

RUNTIMES: Dict[str, Loader] = {
    "onnxruntime": load_onnxruntime,
    "ai_edge_litert": load_ai_edge_litert,
    "tflite_runtime": load_tflite_runtime,
    "openvino": load_openvino,
    "ncnn": load_ncnn,
    "null": load_null,
}

BACKEND_RUNTIMES = {
    "onnx": ["onnxruntime"],
    "tflite": ["ai_edge_litert", "tflite_runtime"],
    "openvino": ["openvino"],
    "ncnn": ["ncnn"],
    "null": ["null"],
}
"""What can load a backend's artifacts, the default first."""


DISTRIBUTIONS: Dict[str, str] = {}
"""The distributions of runtimes that are not called as theirs is; other programs add their own."""


_INSTALLED = re.compile(r"(?P<name>.+?)(?:-(?P<version>[^-]+)(?:-py[\d.]+)?)?\.(?:dist|egg)-info")
"""The folder that an installer leaves of a distribution; an old one's development install leaves
its version only inside."""


def runtime_version(name: str) -> str:
    """Return the installed version of a runtime's distribution, or '' where it is not installed.

    It is what importlib.metadata says. That imports the parser of e-mail, 0.1 s of each start on an
    emulated board, so it is asked only where a folder's name does not say enough.
    """
    wanted = DISTRIBUTIONS.get(name, name)
    for place in sys.path:
        for installed in _names_in(Path(place)):
            found = _INSTALLED.fullmatch(installed)
            if found and _spelt_one_way(found["name"]) == _spelt_one_way(wanted):
                return found["version"] or _version_inside(found["name"])
    return ""


def _version_inside(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _names_in(folder: Path) -> List[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:  # an archive, or not there
        return []


def _spelt_one_way(distribution: str) -> str:
    """Return a distribution's name as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


# What the machine says of itself


def peak_memory_bytes() -> int:
    """Return this process's peak resident memory (Linux's VmHWM), or 0 where it is not told."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def clock_mhz() -> Optional[float]:
    """Return the first core's present clock in MHz, where the system tells it."""
    kilohertz = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").strip()
    if kilohertz.isdigit():
        return int(kilohertz) / 1000
    for line in _read("/proc/cpuinfo").splitlines():
        if line.lower().startswith("cpu mhz"):
            return float(line.split(":")[1])
    return None


def temperature_c() -> Optional[float]:
    """Return the first thermal zone's temperature in °C, where there is one."""
    text = _read("/sys/class/thermal/thermal_zone0/temp").strip()
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def throttled() -> Optional[str]:
    """Return the Raspberry Pi firmware's throttling flags ('0x0' is none), where it tells them."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    answer = subprocess.run(
        [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=False
    )
    return answer.stdout.strip().rpartition("=")[2] or None


def condition() -> Dict[str, Any]:
    """Return clock, temperature and throttling as they are now."""
    return {"clock_mhz": clock_mhz(), "temperature_c": temperature_c(), "throttled": throttled()}


def probe() -> Dict[str, Any]:
    """Return what this machine reports of itself: CPU, memory, system, Python, runtimes."""
    cpu = [line.split(":", 1) for line in _read("/proc/cpuinfo").splitlines() if ":" in line]
    fields: Dict[str, str] = {}
    for key, value in cpu:
        fields.setdefault(key.strip().lower(), value.strip())
    memory = _read("/proc/meminfo").split()
    release = dict(
        line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line
    )
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "glibc": platform.libc_ver()[1],
        "cpu_model": fields.get("model name") or fields.get("cpu part", ""),
        "board": _read("/proc/device-tree/model").strip("\0 \n"),
        "cpu_features": sorted((fields.get("flags") or fields.get("features", "")).split()),
        "cores": len(usable(0)) if usable else os.cpu_count() or 1,
        "memory_bytes": int(memory[1]) * 1024 if len(memory) > 1 else 0,
        "os": release.get("PRETTY_NAME", platform.system()).strip('"'),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        "runtimes": {name: runtime_version(name) for name in RUNTIMES if runtime_version(name)},
        **condition(),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


# Jobs


AVERAGED = ("classification", "ordinal", "multilabel", "regression", "value")
"""Kinds of outputs whose mean over several views of one thing is an answer."""


class Loaded:
    """One artifact, loaded: its manifest, its invoke function and how long loading took."""

    maps = False
    """Whether a segmentation's answer holds its whole map."""

    def __init__(self, job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
        import numpy  # noqa: F401  (where it is missing, this says so)

        if job.get("cores") and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # none of them is there
                os.sched_setaffinity(0, job["cores"])
            missing = set(job["cores"]) - os.sched_getaffinity(0)  # Linux passes over these
            if missing:
                raise ValueError(f"there is no core {min(missing)}: choose others with --cores")
        self.folder = Path(job["artifact"])
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.runtime = job["runtime"]
        model = str(self.folder / self.manifest["files"][0]["name"])
        start = time.perf_counter()
        self.invoke = runtimes[self.runtime](model, self.manifest, int(job.get("threads", 1)))
        self.load_s = time.perf_counter() - start
        self.maps = bool(job.get("maps"))

    def sample(self, data: bytes) -> Any:
        """Return an encoded image's pixels at this artifact's size, or a file's one sample."""
        if not self.manifest.get("tensors"):
            return decode_for(data, self.manifest["input"])
        samples = read_samples(data, self.manifest)
        if len(samples) > 1:
            raise ValueError(f"it holds {len(samples)} samples: give one a file")
        return samples[0]

    def faces(self, data: bytes) -> "List[tuple[Box, Dict[str, Any]]]":
        """Return the frame and the decisions of each face in an encoded image."""
        found = decode_views(data, self.manifest["input"])
        return [(frame, self.answer_views(views, frame)) for frame, views in found]

    def stored(self, job: Dict[str, Any]) -> Any:
        """Return the samples of a job that come from one file: pixels, or arrays by input name."""
        if "samples" in job:
            return read_samples(Path(job["samples"]).read_bytes(), self.manifest)
        return np.load(job["pixels"], allow_pickle=False)

    def __call__(self, given: Any) -> Dict[str, Any]:
        """Return each output's decision by its name, as `predict` prints it.

        `given` is a path, an encoded file's bytes, or pixels: uint8 RGB, height × width × 3 (grey:
        height × width, with or without × 1). Pixels of another size than the network's are fitted
        to it as a file's are. A model that takes tensors is given arrays by input name. Raises
        OSError or ValueError for what cannot be read.
        """
        return self.answer(*self._taken(given))

    def arrays(self, given: Any) -> Dict[str, Array]:
        """Return each output by its name as the network gives it, with its batch dimension.

        `given` is as in a call. For what a decision does not hold: a picture, a mask, or a state
        that goes back into the network with the next sample.
        """
        values = self.invoke(feed(self._taken(given)[0], self.manifest))
        names = [output["name"] for output in self.manifest["outputs"]]
        return {name: np.array(value) for name, value in zip(names, values)}

    def _taken(self, given: Any) -> "tuple[Any, bytes, Optional[tuple[int, int]]]":
        """Return the sample that a call was given, its file's bytes, and the picture's size.

        Of an array there are no bytes; of a file the size is in them.
        """
        if isinstance(given, (str, os.PathLike)):
            given = Path(given).read_bytes()
        if isinstance(given, (bytes, bytearray, memoryview)):
            return self.sample(bytes(given)), bytes(given), None
        if isinstance(given, dict):
            buffer = io.BytesIO()
            save_arrays(buffer, given)
            return self.sample(buffer.getvalue()), b"", None
        pixels = np.asarray(given)
        return fitted(given, self.manifest), b"", (pixels.shape[1], pixels.shape[0])

    def find(self, given: Any) -> List[Dict[str, Any]]:
        """Return the answer to each face in a picture, from left to right; none: an empty list.

        `given` is a path, an encoded file's bytes, or uint8 RGB pixels, height × width × 3. An
        answer has each output's decision by its name and, as `box`, the face's frame in pixels.
        Raises ValueError for a model without a subject, ModuleNotFoundError without dlib, else as
        `decode`.
        """
        if not (self.manifest.get("input") or {}).get("subject"):
            raise ValueError("the model's input has no subject to find: call the model itself")
        if isinstance(given, (str, os.PathLike)):
            given = Path(given).read_bytes()
        if not isinstance(given, (bytes, bytearray, memoryview)):
            given = _as_file(np.asarray(given))
        try:
            found = self.faces(bytes(given))
        except NoFace:
            return []
        return [{"box": frame, **decisions} for frame, decisions in found]

    def answer_views(self, views: Sequence[Any], frame: Box = None) -> Dict[str, Any]:
        """Return each output's decision on views of one thing, by the mean of what is said of each.

        Outputs of which a mean says nothing (boxes, masks, pictures) are of the first view. With
        the thing's `frame` in a picture, boxes and points are in pixels of the picture.
        """
        if any(output["kind"] not in AVERAGED for output in self.manifest["outputs"]):
            views = views[:1]
        seen = [self.invoke(feed(view, self.manifest)) for view in views]
        means = [np.mean(values, axis=0) for values in zip(*seen)]
        if frame is None:
            return self._decided(means)
        left, top, right, bottom = frame
        decided = self._decided(means, size=(right - left, bottom - top))
        return {name: _moved(decision, left, top) for name, decision in decided.items()}

    def answer(
        self, sample: Any, data: bytes = b"", size: "Optional[tuple[int, int]]" = None
    ) -> Dict[str, Any]:
        """Return each output's decision on one sample; boxes in the picture that `data` encodes.

        Or in one of `size` (width, height). Without both, and where no input is an image, boxes are
        as the network gives them. What an output is read with says nothing for itself.
        """
        return self._decided(self.invoke(feed(sample, self.manifest)), data, size)

    def _decided(
        self, values: List[Array], data: bytes = b"", size: "Optional[tuple[int, int]]" = None
    ) -> Dict[str, Any]:
        outputs = self.manifest["outputs"]
        named = {output["name"]: value for output, value in zip(outputs, values)}
        found = {o["name"]: decide(read_with(o, named), o) for o in outputs}
        for output in outputs:
            if self.maps and output["kind"] == "segmentation":
                (classes,) = class_map(np.asarray(named[output["name"]]), output)
                found[output["name"]] = {**(found[output["name"]] or {}), "map": _packed(classes)}
            boxes, points = output.get("boxes") or {}, output.get("points") or {}
            if (boxes or points) and (data or size) and not self.manifest.get("tensors"):
                spec, decision = self.manifest["input"], found[output["name"]] or {}
                whole = size or picture_size(data)
                found[output["name"]] = in_picture(decision, output, spec, whole)
            held = (boxes.get("output"), boxes.get("classes"))
            for part in (*held, points.get("output"), points.get("shown")):
                found.pop(part, None)
        return found


def _packed(classes: Array) -> Dict[str, Any]:
    """Return a map of class indices (H, W) as JSON holds it: 16 bits a place, little-endian, row
    after row, by zlib and base64."""
    places = np.clip(classes, 0, 2**16 - 1).astype("<u2")
    text = base64.b64encode(zlib.compress(places.tobytes())).decode()
    return {"height": classes.shape[0], "width": classes.shape[1], "classes": text}


def _moved(decision: Any, left: float, top: float) -> Any:
    """Return an answer whose boxes and points lie so much further right and down."""
    if not isinstance(decision, dict):
        return decision
    moved = dict(decision)
    if "box" in moved:
        sides = zip(moved["box"], (left, top) * 2)
        moved["box"] = [edge + offset for edge, offset in sides]
    if "points" in moved:
        moved["points"] = [[p[0] + left, p[1] + top, *p[2:]] for p in moved["points"]]
    if "boxes" in moved:
        moved["boxes"] = [_moved(item, left, top) for item in moved["boxes"]]
    return moved


def job_bench(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Time load, first, invoke and end to end apart; print every raw sample, in seconds."""
    manifest = json.loads((Path(job["artifact"]) / "manifest.json").read_text())
    if manifest.get("precision") == "fp16-compute" and not has_half():
        raise ValueError("this CPU has no half-precision arithmetic: it would time float32")
    encoded = [Path(path).read_bytes() for path in job["images"]]
    loaded = Loaded(job, runtimes)
    tensors = [feed(loaded.sample(data), loaded.manifest) for data in encoded]
    conditions = [condition()]
    first_s = _time(loaded.invoke, tensors[0])
    warmup_s, settled = _warm_up(loaded.invoke, tensors, float(job["warmup_max_seconds"]))
    conditions.append(condition())
    minimum = (float(job["min_seconds"]), int(job["min_count"]))
    invoke_s = _collect(loaded.invoke, tensors, *minimum)
    conditions.append(condition())
    end_to_end_s = _collect(
        lambda data: loaded.answer(loaded.sample(data), data), encoded, 0, minimum[1]
    )
    conditions.append(condition())
    _print(
        {
            "event": "bench",
            "load_s": loaded.load_s,
            "first_s": first_s,
            "warmup_s": warmup_s,
            "settled": settled,
            "invoke_s": invoke_s,
            "end_to_end_s": end_to_end_s,
            "peak_memory_bytes": peak_memory_bytes(),
            "runtime": loaded.runtime,
            "runtime_version": runtime_version(loaded.runtime),
            **{key: [item[key] for item in conditions] for key in conditions[0]},
        }
    )


def _time(action: Callable[[Any], Any], argument: Any) -> float:
    start = time.perf_counter()
    action(argument)
    return time.perf_counter() - start


def _collect(
    action: Callable[[Any], Any], arguments: Sequence[Any], seconds: float, count: int
) -> List[float]:
    """Return one duration per call, rotating over `arguments`, until both minima are reached.

    The minimum time gives way at MAX_SAMPLES.
    """
    samples: List[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < count or (time.perf_counter() < end and len(samples) < MAX_SAMPLES):
        samples.append(_time(action, arguments[len(samples) % len(arguments)]))
    return samples


def _warm_up(action: Invoke, tensors: Sequence[Array], limit: float) -> "tuple[List[float], bool]":
    """Run until two windows' medians agree within 2 %, for at most `limit` seconds.

    A window is 0.1 s and at least five calls. Returns all samples and whether the windows agreed.
    """
    samples: List[float] = []
    previous, end = 0.0, time.perf_counter() + limit
    while time.perf_counter() < end:
        window = _collect(action, tensors, 0.1, 5)
        samples += window
        median = sorted(window)[len(window) // 2]
        if abs(median - previous) <= 0.02 * median:
            return samples, True
        previous = median
    return samples, False


def job_outputs(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Save each output of each image, (N, ...) float32, by output name, as an .npz."""
    loaded = Loaded(job, runtimes)
    if "pixels" in job or "samples" in job:
        images: Any = loaded.stored(job)
    else:
        images = (loaded.sample(Path(path).read_bytes()) for path in job["images"])
    start = time.perf_counter()
    columns, count = _outputs(loaded, images)
    seconds = time.perf_counter() - start
    save_arrays(job["save"], columns)
    _print(
        {
            "event": "outputs",
            "count": count,
            "load_s": loaded.load_s,
            "seconds": seconds,
            "peak_memory_bytes": peak_memory_bytes(),
            "runtime_version": runtime_version(loaded.runtime),
        }
    )


def of_one(value: Array) -> Array:
    """Return an output without its batch dimension of 1; whole, where its first is another.

    A network that is fed its own state has such an output: (layers, batch, size).
    """
    return value[0] if value.shape[0] == 1 else value


def _outputs(loaded: Loaded, images: Iterable[Array]) -> "tuple[Dict[str, Array], int]":
    """Return each output of all images, (N, ...) float32, by name, and N."""
    rows = [
        [np.array(of_one(v), np.float32) for v in loaded.invoke(feed(image, loaded.manifest))]
        for image in images
    ]
    names = [output["name"] for output in loaded.manifest["outputs"]]
    return {name: np.stack([row[i] for row in rows]) for i, name in enumerate(names)}, len(rows)


def save_arrays(path: Any, arrays: Dict[str, Array]) -> None:
    """Write an .npz as np.savez does, whose keywords would forbid an output called `file`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            # An entry without a date: equal arrays are equal files.
            entry = zipfile.ZipInfo(name + ".npy")
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def job_golden(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Compare the answers to the golden images with those recorded when the bundle was made.

    `golden/golden.json` names the images, the recorded answers and, per output, what is allowed:
    `max_abs_diff`, `max_relative` (in spreads, see Distances), `min_agreement` (the share of equal
    decisions), `min_equal` (the share of equal values), `min_score` (by the kind's METRICS).
    """
    loaded = Loaded(job, runtimes)
    folder = loaded.folder / "golden"
    record = json.loads((folder / "golden.json").read_text())
    images = (loaded.sample((folder / name).read_bytes()) for name in record["images"])
    ours, count = _outputs(loaded, images)
    faults: List[str] = []
    compared = {}
    with np.load(folder / record["answers"], allow_pickle=False) as answers:
        for output in loaded.manifest["outputs"]:
            name = output["name"]
            limit = record["limits"][name]
            mine, theirs = ours[name], answers[name]
            if "min_score" in limit:
                mine, theirs = read_with(output, ours), read_with(output, answers)
            compared[name], fault = _compare(mine, theirs, output, limit)
            faults += [f"{name}: {fault}"] if fault else []
    _print(
        {
            "event": "golden",
            "passed": not faults,
            "faults": faults,
            "count": count,
            "outputs": compared,
            "runtime": loaded.runtime,
            "runtime_version": runtime_version(loaded.runtime),
        }
    )


def _compare(
    ours: Array, golden: Array, output: Dict[str, Any], limit: Dict[str, Any]
) -> "tuple[Dict[str, Any], str]":
    """Return how far one output is from its golden answers, and the fault or ''."""
    if ours.shape != golden.shape:
        return {}, f"shape {ours.shape}, golden {golden.shape}"
    distance = float(np.abs(ours.astype(np.float64) - golden).max())
    if not np.isfinite(distance):
        return {}, "answers that are no numbers"
    agreement = 1.0
    if "min_agreement" in limit:
        decided = [[(decide(v, output) or {}).get("index") for v in s] for s in (ours, golden)]
        agreement = float(np.mean([mine == theirs for mine, theirs in zip(*decided)]))
    relative = Distances(ours, golden, output.get("scores") == "probabilities").worst
    equal = float(np.mean(ours == golden))
    seen = {"max_abs_diff": distance, "agreement": agreement}
    if "min_score" in limit:
        name, metric = METRICS[output["kind"]]
        seen["score"] = metric(ours, golden, output)
        if not seen["score"] >= limit["min_score"]:
            return seen, f"{name} {seen['score']:.3g}, {limit['min_score']:g} needed"
    if distance > limit.get("max_abs_diff", distance):
        return seen, f"{distance:.3g} from the golden answer, {limit['max_abs_diff']:.3g} allowed"
    if relative > limit.get("max_relative", relative):
        return seen, f"{relative:.2g} of its spread off, {limit['max_relative']:.2g} allowed"
    if agreement < limit.get("min_agreement", agreement):
        return seen, f"{agreement:.0%} of the decisions agree, {limit['min_agreement']:.0%} needed"
    if equal < limit.get("min_equal", equal):
        return seen, f"{equal:.1%} of the values are equal, {limit['min_equal']:.1%} needed"
    return seen, ""


def job_loop(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Invoke `count` times, rotating over the images: two lengths tell the cost of one."""
    loaded = Loaded(job, runtimes)
    tensors = [feed(sample, loaded.manifest) for sample in loaded.stored(job)]
    for index in range(int(job["count"])):
        loaded.invoke(tensors[index % len(tensors)])
    _print({"event": "loop", "count": int(job["count"])})


def job_predict(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Print each image's decisions; an image that cannot be read costs only its own line.

    With `find`, of a model of faces, a line for each face, with its frame.
    """
    loaded = Loaded(job, runtimes)
    for path in job["images"]:
        _predict(loaded, path, bool(job.get("find")))


def job_probe(job: Dict[str, Any], runtimes: Dict[str, Loader]) -> None:
    """Print what this machine reports of itself."""
    _print({"event": "probe", **probe()})


Job = Callable[[Dict[str, Any], Dict[str, Loader]], None]

JOBS: Dict[str, Job] = {
    "bench": job_bench,
    "outputs": job_outputs,
    "golden": job_golden,
    "loop": job_loop,
    "predict": job_predict,
    "probe": job_probe,
}


def _predict(loaded: Loaded, path: str, find: bool) -> None:
    event = {"event": "prediction", "image": path}
    try:
        data = Path(path).read_bytes()
        answers = loaded.faces(data) if find else [(None, loaded.answer(loaded.sample(data), data))]
    except (OSError, ValueError) as error:
        _print({**event, "error": str(error), "kind": type(error).__name__})
        return
    for frame, outputs in answers:
        where = {} if frame is None else {"box": [round(edge, 1) for edge in frame]}
        _print({**event, **where, "outputs": outputs})


def _has_subject(artifact: str) -> bool:
    manifest = json.loads((Path(artifact) / "manifest.json").read_text())
    return bool((manifest.get("input") or {}).get("subject"))


def _files(folder: str) -> List[str]:
    """Return the files of a folder, by name, without those that are hidden."""
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return [str(path) for path in paths if not path.name.startswith(".")]


def _print(event: Dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def load(folder: Any = HERE, threads: int = 0) -> Loaded:
    """Return the artifact in a folder, ready to be called; without one, that beside this file.

    `threads` is 0 for all cores. Raises what the runtime raises where it cannot load it.
    """
    job = _artifact_job(str(folder))
    return Loaded({**job, "threads": threads or job["threads"]}, RUNTIMES)


def _run_application(arguments: Sequence[str]) -> int:
    """Run a program by its path, as `python APP.py` would; `import runner` finds this file."""
    sys.argv[:] = list(arguments)
    sys.path.insert(1, str(Path(arguments[0]).resolve().parent))  # after the runner's own folder
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


def _artifact_job(folder: str) -> Dict[str, Any]:
    """Return a job's artifact and the first installed runtime that its backend can use."""
    choices = BACKEND_RUNTIMES[json.loads((Path(folder) / "manifest.json").read_text())["backend"]]
    installed = [name for name in choices if runtime_version(name)]
    return {
        "artifact": folder,
        "runtime": (installed or choices)[0],
        "threads": os.cpu_count() or 1,
    }


def main(
    arguments: Sequence[str],
    runtimes: Optional[Dict[str, Loader]] = None,
    jobs: Optional[Dict[str, Job]] = None,
) -> int:
    """Do one job and return the exit code: 0, or 3 where the job failed, 2 for a wrong call.

    A program beside this one adds its own `runtimes` or `jobs`.
    """
    gc.freeze()  # what is imported stays: it is not looked through for garbage, nor at the end
    known = runtimes or RUNTIMES
    word, rest = "".join(arguments[:1]), list(arguments[1:])
    whole = rest[:1] == ["--whole"]
    rest = rest[whole:]
    if word.endswith(".py"):
        return _run_application(arguments)
    # OpenVINO would import its converter too, half of what it imports, and no job uses that.
    converter = "openvino.tools.ovc"
    sys.modules.setdefault(converter, None)  # type: ignore[arg-type]
    artifact = rest.pop(0) if rest and (Path(rest[0]) / "manifest.json").is_file() else str(HERE)
    try:
        if word == "predict" and rest:
            find = not whole and _has_subject(artifact)
            job_predict({**_artifact_job(artifact), "images": rest, "find": find}, known)
        elif word == "serve" and len(rest) < 2:
            loaded = Loaded(_artifact_job(artifact), known)
            find = not whole and _has_subject(artifact)
            for path in _files(rest[0]) if rest else (line.rstrip("\n") for line in sys.stdin):
                _predict(loaded, path, find)
        elif word == "golden" and not rest:
            job_golden(_artifact_job(artifact), known)
        elif len(arguments) == 1 and word != "predict":
            job = json.loads(Path(word).read_text())
            if "artifact" not in job and (HERE / "manifest.json").is_file():
                job = {**_artifact_job(str(HERE)), **job}
            (jobs or JOBS)[job["task"]](job, known)
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except Exception as error:  # the board's last word: the host makes a line of it
        _print({"error": " ".join(str(error).split()), "kind": type(error).__name__})
        return 3
    finally:
        if sys.modules[converter] is None:
            del sys.modules[converter]
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
