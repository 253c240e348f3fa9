"""Runs an artifact on image files on this machine, through the runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from edgekit.annotation import FORMATS, Mark, save_annotated
from edgekit.artifact import Artifact
from edgekit.data.images import check_findable
from edgekit.devices import open_device
from edgekit.errors import BadData, EdgekitError, UserError
from edgekit.session import entry, lay_out
from edgekit.targets import HOST, load_target

NO_FACE = "NoFace"
"""What the runner calls a picture without a face."""

SQUARE = 1.35
"""A picture longer than this, against its shorter side, cannot be one face cut out."""


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
    channels, and its least and largest value. `abstained`: the label was withheld, because the
    confidence was below what was asked for.
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
    abstained: bool = False

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
        if self.abstained:
            return "unsure"
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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An artifact's answer to one image or one face of it.

    `outputs` holds a decision by output, None where it decides nothing. `box` is the frame of the
    face: left, top, right and bottom in pixels of the upright picture, maybe outside of it. Where
    the image has no face, `fault` says so and there are no outputs. `doubt` says why an answer
    means little; it has no confidence then.
    """

    image: str
    outputs: dict[str, Decision | None] = field(default_factory=dict)
    box: tuple[float, float, float, float] | None = None
    fault: str = ""
    doubt: str = ""


def predict_images(
    artifact: Artifact,
    images: Sequence[Path],
    runtime: str | None = None,
    *,
    whole: bool = False,
    abstain: float | None = None,
) -> list[Answer]:
    """Return the runner's answers to the images, in order; one a face where faces are looked for.

    With `whole` they are not. Decisions less sure than `abstain` come without their answer.
    Raises BadData for an image that is missing or cannot be decoded, or where no image has a face,
    MissingPackage where the runtime or what finds faces is not installed.
    """
    for image in images:
        if not image.is_file():
            raise BadData(f"no image at {image}: check the path")
    spec = artifact.manifest.input
    find = spec is not None and spec.subject is not None and not whole
    if find:
        check_findable(spec)
    with closing(open_device("local", load_target(HOST))) as device:
        session = lay_out(device, entry(artifact, runtime))
        # By their own paths, not copied: this device is this machine.
        paths = [str(image.absolute()) for image in images]
        events = session.run("predict", timeout=_timeout(len(images)), images=paths, find=find)
    names = dict(zip(paths, map(str, images), strict=True))
    if set(names) != {event["image"] for event in events} or len(events) < len(names):
        raise EdgekitError(f"{artifact.label}: {len(events)} answers to {len(images)} images")
    for event in events:
        event["image"] = names[event["image"]]
        if event.get("kind") == NO_FACE:
            event["fault"] = event.pop("error")
        if "error" in event:
            what = "sample" if artifact.manifest.tensors else "image"
            raise BadData(f"cannot read the {what} {event['image']} ({event['error']})")
    answers = msgspec.convert(events, list[Answer])
    if all(answer.fault for answer in answers):
        raise BadData(no_face([answer.image for answer in answers]))
    if not find and _of_faces(artifact):
        answers = [_doubted(answer) for answer in answers]
    if abstain is None:
        return answers
    return [replace(answer, outputs=_withheld(answer.outputs, abstain)) for answer in answers]


def no_face(images: Sequence[str]) -> str:
    """Return the one line about pictures in which no face was found."""
    more = f" and {len(images) - 1} more" if len(images) > 1 else ""
    return (
        f"no face found in {images[0]}{more}: give a photograph with an upright face of 70 pixels "
        "or more, or say --whole if the picture is one face, cut out"
    )


def _of_faces(artifact: Artifact) -> bool:
    """Tell whether it takes faces: older manifests of the zoo's networks do not say so."""
    spec = artifact.manifest.input
    return spec is not None and (spec.subject == "face" or artifact.manifest.source.kind == "zoo")


def _doubted(answer: Answer) -> Answer:
    """Return an answer to a whole picture, without confidence where it can be no face crop."""
    from PIL import Image

    with Image.open(answer.image) as picture:
        width, height = picture.size
    if max(width, height) <= SQUARE * min(width, height):
        return answer
    sure = {n: d and replace(d, confidence=None) for n, d in answer.outputs.items()}
    doubt = f"a picture of {width}x{height} is no face crop, so this answer means nothing"
    return replace(answer, outputs=sure, doubt=doubt)


def _withheld(outputs: dict[str, Decision | None], abstain: float) -> dict[str, Decision | None]:
    """Return the decisions, those less sure than `abstain` without their label."""
    return {
        name: replace(decision, index=None, label=None, abstained=True)
        if decision and decision.confidence is not None and decision.confidence < abstain
        else decision
        for name, decision in outputs.items()
    }


def marks_of(answer: Answer) -> list[Mark]:
    """Return the face of an answer and what is said of it, and every box that a detector found."""
    marks = []
    if answer.box is not None:
        said = tuple(f"{name}: {words}" for name, words in in_words(answer).items())
        marks.append(Mark(box=answer.box, lines=said))
    for decision in answer.outputs.values():
        for found in (decision and decision.boxes) or ():
            line = f"{found.label} {found.confidence:.0%}"
            marks.append(Mark(box=found.box, lines=(line,), colour=found.index))
    return marks


def in_words(answer: Answer) -> dict[str, str]:
    """Return each output's answer in few words, with its confidence where it has one."""
    return {
        name: decision.text
        + ("" if (sure := decision.confidence) is None else f" ({100 * sure:.0f} %)")
        for name, decision in answer.outputs.items()
        if decision is not None and decision.boxes is None
    }


def save_pictures(answers: Sequence[Answer], folder: Path) -> list[Path]:
    """Write each picture with its boxes into `folder`, as NAME-boxes.jpg (.png of other formats).

    Returns the files, in order. Raises UserError where the artifact finds neither faces nor boxes.
    """
    pictures: dict[str, list[Mark]] = {}
    for answer in answers:
        found = [d for d in answer.outputs.values() if d is not None and d.boxes is not None]
        if not found and answer.box is None and not answer.fault:
            raise UserError(
                "--save draws boxes, and this artifact has no detection and no subject to find: "
                "leave it out"
            )
        pictures.setdefault(answer.image, []).extend(marks_of(answer))
    saved: list[Path] = []
    for image, marks in pictures.items():
        source = Path(image)
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
