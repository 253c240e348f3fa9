"""Answers to frames of a video or camera: the artifact is loaded once, in this process."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from edgekit.artifact import Artifact, Manifest
from edgekit.data.images import check_findable
from edgekit.data.video import Frame
from edgekit.evaluation.answer import Answer, withheld
from edgekit.evaluation.drawing import save_drawn
from edgekit.onboard import runner
from edgekit.session import entry

NONE_SEEN = "no face"


def answer_frames(
    artifact: Artifact,
    frames: Iterable[Frame],
    runtime: str | None = None,
    *,
    whole: bool = False,
    abstain: float | None = None,
    save: Path | None = None,
) -> Iterator[tuple[Frame, list[Answer]]]:
    """Yield each frame with its answers, one a face where faces are looked for.

    `whole` and `abstain` are as of predict_images; an answer's `image` is the frame's time. `save`
    is a folder for the frames with their answers drawn on them. Raises MissingPackage where the
    runtime or what finds faces is not installed.
    """
    spec = artifact.manifest.input
    find = spec is not None and spec.subject is not None and not whole
    if find:
        check_findable(spec)
    job = {
        "artifact": str(artifact.folder),
        "runtime": entry(artifact, runtime).runtime,
        "threads": os.cpu_count() or 1,
        "maps": save is not None,
    }
    loaded = runner.Loaded(job, runner.RUNTIMES)
    for frame in frames:
        name = f"{frame.seconds:.2f} s"
        found = loaded.find(frame.pixels) if find else [loaded(frame.pixels)]
        answers = [_answer(name, decided, find) for decided in found]
        answers = answers or [Answer(image=name, fault=NONE_SEEN)]
        if abstain is not None:
            answers = [replace(a, outputs=withheld(a.outputs, abstain)) for a in answers]
        if save is not None:
            _draw(frame, answers, save / f"frame-{frame.seconds:09.2f}.jpg", artifact.manifest)
        yield frame, answers


def _answer(name: str, decided: dict[str, object], find: bool) -> Answer:
    box = decided.pop("box", None) if find else None
    return msgspec.convert({"image": name, "box": box, "outputs": decided}, Answer)


def _draw(frame: Frame, answers: list[Answer], path: Path, manifest: Manifest) -> None:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(frame.pixels).save(encoded, "BMP")
    save_drawn(encoded.getvalue(), answers, path, manifest)
