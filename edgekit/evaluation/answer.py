"""Runs an artifact on image files on this machine, through the runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from edgekit.artifact import Artifact
from edgekit.data.images import check_findable
from edgekit.devices import open_device
from edgekit.errors import BadData, EdgekitError
from edgekit.onboard.runner import SHOWN
from edgekit.progress import Say, silent
from edgekit.session import entry, lay_out
from edgekit.targets import HOST, load_target

NO_FACE = "NoFace"
"""What the runner calls a picture without a face."""

TOLD = 50
"""After so many images it is said how far the work is."""
SQUARE = 1.35
"""A picture longer than this, against its shorter side, cannot be one face cut out."""


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """One box of a detection: its class, how sure it is (0 to 1), and two corners, x and y of each.

    The corners are pixels of the upright picture, or the network's own numbers where it takes none.
    `points`: those of keypoints, x, y and, where the network says it, the probability that it
    shows.
    """

    label: str
    index: int
    confidence: float
    box: tuple[float, float, float, float]
    points: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """A class index for each place that a segmentation answers.

    `classes`: 16 bits a place, little-endian, row after row, compressed by zlib.
    """

    height: int
    width: int
    classes: bytes


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one output says of an image; its kind tells which fields there are.

    `index` and `label`: the class of a classification, ordinal or regression. `confidence`, 0 to
    1: the softmax of its logits, or the network's own probability. `value`: a regression's, on the
    scale of the index, or a value's in `unit`. `labels`: a multilabel's, with probabilities.
    `shares`: how much of the picture each class of a segmentation covers; `map`: which class is
    where, if it was asked for. `vector`: an embedding.
    `boxes`: a detection's or a pose's, the surest first. `points`: landmarks of the whole picture,
    as a FoundBox has them. `shape` and `range`: an image's height, width and channels, and its
    least and largest value. `abstained`: the label was withheld, because the confidence was below
    what was asked for.
    """

    index: int | None = None
    label: str | None = None
    confidence: float | None = None
    value: float | None = None
    unit: str = ""
    labels: dict[str, float] | None = None
    shares: dict[str, float] | None = None
    map: ClassMap | None = None
    vector: tuple[float, ...] | None = None
    boxes: tuple[FoundBox, ...] | None = None
    points: tuple[tuple[float, ...], ...] | None = None
    shape: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None
    abstained: bool = False

    @property
    def plain(self) -> object:
        """The answer as JSON holds it: a label, a number, or all there is of other kinds."""
        if self.shape is not None:
            return {"shape": self.shape, "range": self.range}
        if self.boxes is not None:
            told = [asdict(box) for box in self.boxes]
            return [{k: v for k, v in box.items() if v is not None} for box in told]
        found = (self.label, self.value, self.labels, self.shares, self.vector, self.points)
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
        if self.points is not None:
            return told_points(self.points)
        if self.vector is not None:
            return f"{len(self.vector)} numbers"
        low, high = self.range or (0.0, 0.0)
        return f"{'×'.join(map(str, self.shape or ()))}, {low:.3g} to {high:.3g}"


def told_points(points: Sequence[Sequence[float]]) -> str:
    """Return how many of some points show, in a few words."""
    shown = sum(shows(point) for point in points)
    return f"{shown} points" if shown == len(points) else f"{shown} of {len(points)} points"


def shows(point: Sequence[float]) -> bool:
    """Tell whether a point shows, as far as the network says it."""
    return len(point) < 3 or point[2] >= SHOWN


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An artifact's answer to one image or one face of it.

    `outputs` holds a decision by output, None where it decides nothing. `box` is the frame of the
    face: left, top, right and bottom in pixels of the upright picture, maybe outside of it. Where
    the image has no face or cannot be read (`unreadable`), `fault` says so and there are no
    outputs. `doubt` says why an answer means little; it has no confidence then.
    """

    image: str
    outputs: dict[str, Decision | None] = field(default_factory=dict)
    box: tuple[float, float, float, float] | None = None
    fault: str = ""
    unreadable: bool = False
    doubt: str = ""


def predict_images(
    artifact: Artifact,
    images: Sequence[Path],
    runtime: str | None = None,
    *,
    whole: bool = False,
    abstain: float | None = None,
    say: Say = silent,
) -> list[Answer]:
    """Return the runner's answers to the images, in order; one a face where faces are looked for.

    With `whole` they are not. A segmentation's answer holds its map. Decisions less sure than
    `abstain` come without their answer. An image that is missing (these come last), cannot be
    decoded or has no face costs its own answer alone: it has a `fault`. Raises BadData where no
    image at all is answered, MissingPackage where the runtime or what finds faces is not installed.
    """
    missing = [image for image in images if not image.is_file()]
    images = [image for image in images if image not in missing]
    if not images:
        raise BadData(f"no image at {missing[0]}: check the path")
    spec = artifact.manifest.input
    find = spec is not None and spec.subject is not None and not whole
    if find:
        check_findable(spec)
    answers: list[Answer] = []
    with closing(open_device("local", load_target(HOST))) as device:
        session = lay_out(device, entry(artifact, runtime))
        for start in range(0, len(images), TOLD):
            if len(images) > TOLD:
                say("predict", f"{start:,} of {len(images):,}")
            some = images[start : start + TOLD]
            # By their own paths, not copied: this device is this machine.
            paths = [str(image.absolute()) for image in some]
            events = session.run(
                "predict", timeout=_timeout(len(some)), images=paths, find=find, maps=True
            )
            names = dict(zip(paths, map(str, some), strict=True))
            if set(names) != {event["image"] for event in events} or len(events) < len(names):
                raise EdgekitError(f"{artifact.label}: {len(events)} answers to {len(some)} images")
            answers += msgspec.convert([_named(event, names) for event in events], list[Answer])
    if len(images) > TOLD:
        say("predict", "done")
    answers += [Answer(image=str(i), fault="no such file", unreadable=True) for i in missing]
    _check_some(answers, "sample" if artifact.manifest.tensors else "image")
    if not find and _of_faces(artifact):
        answers = [answer if answer.fault else _doubted(answer) for answer in answers]
    if abstain is None:
        return answers
    return [replace(answer, outputs=withheld(answer.outputs, abstain)) for answer in answers]


def _named(event: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the runner's answer as an Answer has it: the image as it was given, and its fault."""
    event = event | {"image": names[event["image"]]}
    kind = event.pop("kind", None)
    if "error" in event:
        event |= {"fault": event.pop("error"), "unreadable": kind != NO_FACE}
    return event


def _check_some(answers: Sequence[Answer], what: str) -> None:
    """Raise BadData where not one image was answered."""
    if not all(answer.fault for answer in answers):
        return
    unreadable = [answer for answer in answers if answer.unreadable]
    if not unreadable:
        raise BadData(no_face([answer.image for answer in answers]))
    first = unreadable[0]
    more = f", nor any of {len(answers) - 1} more" if len(answers) > 1 else ""
    raise BadData(f"cannot read the {what} {first.image} ({first.fault}){more}")


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


def withheld(outputs: dict[str, Decision | None], abstain: float) -> dict[str, Decision | None]:
    """Return the decisions, those less sure than `abstain` without their label."""
    return {
        name: replace(decision, index=None, label=None, abstained=True)
        if decision and decision.confidence is not None and decision.confidence < abstain
        else decision
        for name, decision in outputs.items()
    }


def in_words(answer: Answer) -> dict[str, str]:
    """Return each output's answer in few words, with its confidence where it has one."""
    return {
        name: decision.text
        + ("" if (sure := decision.confidence) is None else f" ({100 * sure:.0f} %)")
        for name, decision in answer.outputs.items()
        if decision is not None and decision.boxes is None
    }


def _timeout(images: int) -> float:
    """Return seconds that are more than enough: minutes to load, and ten a picture."""
    return 300.0 + 10.0 * images
