"""Frames of a video file or a camera, by OpenCV, which is an extra."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadData, MissingPackage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
_USUAL_RATE = 25.0
"""Frames a second of a video that does not say its own."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture, uint8 RGB height × width × 3, and when it was: seconds from the first one."""

    seconds: float
    pixels: NDArray[np.uint8]


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is a video."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


@contextmanager
def frames_of(source: Path | int, every: float) -> Iterator[Iterator[Frame]]:
    """Yield the frames of a video file, or of the camera of that number, `every` so many seconds.

    Raises MissingPackage without OpenCV, BadData where there is no such video or camera.
    """
    # It writes on standard error what is said below in one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise MissingPackage("opencv-python-headless", "camera") from None
    if isinstance(source, Path) and not source.is_file():
        raise BadData(f"no video at {source}: check the path")
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not capture.isOpened():
            raise BadData(
                f"no camera {source} answers: check its cable, and that no other program uses it"
                if isinstance(source, int)
                else f"{source} is no video that OpenCV reads: convert it to .mp4 (H.264)"
            )
        clock = _by_clock() if isinstance(source, int) else _by_rate(capture.get(cv2.CAP_PROP_FPS))
        yield _taken(capture, clock, every)
    finally:
        capture.release()


def _taken(capture: Any, clock: Iterator[float], every: float) -> Iterator[Frame]:
    due = 0.0
    while capture.grab():  # a frame that is not due is not decoded
        seconds = next(clock)
        if seconds + 1e-6 < due:
            continue
        due = max(due + every, seconds) if every else 0.0
        read, pixels = capture.retrieve()
        if read:
            yield Frame(seconds=seconds, pixels=pixels[:, :, ::-1].copy())


def _by_clock() -> Iterator[float]:
    start = time.monotonic()
    while True:
        yield time.monotonic() - start


def _by_rate(rate: float) -> Iterator[float]:
    rate = rate if 0.1 <= rate <= 1000 else _USUAL_RATE
    number = 0
    while True:
        yield number / rate
        number += 1
