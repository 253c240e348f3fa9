"""Runs an artifact on image files on this machine, through the runner."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit.artifact import Artifact
from edgekit.backends import load_backend, runtime_for
from edgekit.errors import BadData, EdgekitError, MissingPackage
from edgekit.onboard import runner


@dataclass(frozen=True)
class Decision:
    """What one output says of an image: a class's index and label.

    A classification has a `confidence`, 0 to 1: the softmax of its logits, or the network's own
    probability. A regression has its `value`, on the scale of the index.
    """

    index: int
    label: str
    confidence: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class Answer:
    """An artifact's answer to one image: a decision by output, None where it decides nothing."""

    image: str
    outputs: dict[str, Decision | None]


def predict_images(
    artifact: Artifact, images: Sequence[Path], runtime: str | None = None
) -> list[Answer]:
    """Return the runner's answer to each image, in order.

    Raises BadData for an image that is missing or cannot be decoded, MissingPackage where the
    runtime is not installed.
    """
    for image in images:
        if not image.is_file():
            raise BadData(f"no image at {image}: check the path")
    backend = load_backend(artifact.manifest.backend)
    job = {
        "task": "predict",
        "artifact": str(artifact.folder),
        "runtime": runtime_for(artifact.manifest.backend, runtime),
        "images": [str(image) for image in images],
    }
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        program = ("-m", backend.PROGRAM) if backend.PROGRAM else (runner.__file__,)
        command = [sys.executable, *program, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for answer in answers:
        if answer.get("kind") == "ModuleNotFoundError":
            raise MissingPackage(str(job["runtime"]), backend.EXTRA)
        if "kind" in answer:
            raise EdgekitError(f"{artifact.label}: {answer['kind']}: {answer['error']}")
        if "error" in answer:
            raise BadData(f"cannot read the image {answer['image']} ({answer['error']})")
    if len(answers) != len(images):
        raise EdgekitError(f"{artifact.label}: the runner ended with exit code {done.returncode}")
    return msgspec.convert(answers, list[Answer])
