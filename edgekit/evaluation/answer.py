"""Runs an artifact on image files on this machine, through the runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from edgekit.artifact import Artifact
from edgekit.devices import open_device
from edgekit.errors import BadData, EdgekitError, UserError
from edgekit.session import entry, lay_out
from edgekit.targets import HOST, load_target


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """One box of a detection: its class, how sure it is (0 to 1), and two corners, x and y of each.

    The corners are pixels of the upright picture, or the network's own numbers where it takes none.
    """

    label: str
    index: int
    confidence: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one output says of an image; its kind tells which fields there are.

    `index` and `label`: the class of a classification, ordinal or regression. `confidence`, 0 to
    1: the softmax of its logits, or the network's own probability. `value`: a regression's, on the
    scale of the index, or a value's in `unit`. `labels`: a multilabel's, with probabilities.
    `shares`: how much of the picture each class of a segmentation covers. `vector`: an embedding.
    `boxes`: a detection's, the surest first. `shape` and `range`: an image's height, width and
    channels, and its least and largest value.
    """

    index: int | None = None
    label: str | None = None
    confidence: float | None = None
    value: float | None = None
    unit: str = ""
    labels: dict[str, float] | None = None
    shares: dict[str, float] | None = None
    vector: tuple[float, ...] | None = None
    boxes: tuple[FoundBox, ...] | None = None
    shape: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None

    @property
    def plain(self) -> object:
        """The answer as JSON holds it: a label, a number, or all there is of other kinds."""
        if self.shape is not None:
            return {"shape": self.shape, "range": self.range}
        if self.boxes is not None:
            return [asdict(box) for box in self.boxes]
        found = (self.label, self.value, self.labels, self.shares, self.vector)
        return next((value for value in found if value is not None), None)

    @property
    def text(self) -> str:
        """The answer in a few words, for a table."""
        if self.label is not None:
            return self.label
        if self.value is not None:
            return f"{self.value:.4g} {self.unit}".strip()
        if self.boxes is not None:
            counts = Counter(box.label for box in self.boxes)
            return ", ".join(f"{count} {label}" for label, count in counts.items()) or "none"
        if self.labels is not None:
            return ", ".join(self.labels) or "none"
        if self.shares is not None:
            return ", ".join(f"{label} {share:.0%}" for label, share in self.shares.items())
        if self.vector is not None:
            return f"{len(self.vector)} numbers"
        low, high = self.range or (0.0, 0.0)
        return f"{'×'.join(map(str, self.shape or ()))}, {low:.3g} to {high:.3g}"


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
    with closing(open_device("local", load_target(HOST))) as device:
        session = lay_out(device, entry(artifact, runtime))
        # By their own paths, not copied: this device is this machine.
        paths = [str(image.absolute()) for image in images]
        answers = session.run("predict", timeout=_timeout(len(images)), images=paths)
    if len(answers) != len(images):
        raise EdgekitError(f"{artifact.label}: {len(answers)} answers to {len(images)} images")
    for image, answer in zip(images, answers, strict=True):
        if "error" in answer:
            what = "sample" if artifact.manifest.tensors else "image"
            raise BadData(f"cannot read the {what} {image} ({answer['error']})")
    named = [{**answer, "image": str(image)} for image, answer in zip(images, answers, strict=True)]
    return msgspec.convert(named, list[Answer])


def save_pictures(answers: Sequence[Answer], folder: Path) -> list[Path]:
    """Write each picture with its boxes into `folder`, as NAME-boxes.jpg (.png of other formats).

    Returns the files, in order. Raises UserError where no output is a detection.
    """
    from edgekit.evaluation.annotation import FORMATS, Mark, save_annotated

    saved: list[Path] = []
    for answer in answers:
        found = [d.boxes for d in answer.outputs.values() if d is not None and d.boxes is not None]
        if not found:
            raise UserError("--save draws boxes, and this artifact has no detection: leave it out")
        marks = [
            Mark(box=box.box, text=f"{box.label} {box.confidence:.0%}", colour=box.index)
            for boxes in found
            for box in boxes
        ]
        source = Path(answer.image)
        suffix = source.suffix.lower() if source.suffix.lower() in FORMATS else ".png"
        path, number = folder / f"{source.stem}-boxes{suffix}", 1
        while path in saved:
            number += 1
            path = folder / f"{source.stem}-{number}-boxes{suffix}"
        save_annotated(source.read_bytes(), marks, path)
        saved.append(path)
    return saved


def _timeout(images: int) -> float:
    """Return seconds that are more than enough: minutes to load, and ten a picture."""
    return 300.0 + 10.0 * images
