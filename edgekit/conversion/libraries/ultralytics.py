"""`ultralytics:FILE.pt` or `NAME.yaml`: a YOLO of ultralytics that detects, poses or classifies.

The library is AGPL-3.0: it is imported where the user has installed it, and never a dependency.
"""

from __future__ import annotations

from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

from edgekit.conversion.libraries import Found, Wanted, place_weights
from edgekit.errors import BadModel, first_line
from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec, Points

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("ultralytics",)
THRESHOLD = 0.25
OVERLAP = 0.7
"""What the library's own `predict` takes by default."""
PERSON_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""COCO's, of a person's nose, eyes, ears, shoulders, elbows, wrists, hips, knees and ankles, left
before right."""
PERSON_LINES = (
    *((0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8)),
    *((8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
)
_HEAD = ("forward_head", "_get_decode_boxes", "one2many", "end2end")
"""What is asked of the library's head, so that boxes and scores leave the network apart."""


def load(wanted: Wanted) -> Found:
    """Return a YOLO, whose boxes and scores are outputs of their own.

    In one tensor they would share one int8 scale, and the scores, 0 to 1 beside pixels, would be
    lost. The runner joins them, and suppresses as the library does.
    """
    if wanted.name.endswith(".pt"):
        model, options, weights = _checkpoint(wanted)
    elif wanted.name.endswith((".yaml", ".yml")):
        model, options, weights = _drawn(wanted)
    else:
        raise BadModel(f"ultralytics:{wanted.name}: give a .pt file, or the .yaml of a network")
    labels = tuple(str(model.names[index]) for index in range(len(model.names)))
    if task_of(model) == "classify":
        return _classifier(model, labels, options, weights)
    return detector(model, labels, options, weights)


def task_of(model: Any) -> str:
    """Return `detect`, `pose` or `classify`. Raises BadModel for the library's other tasks."""
    from ultralytics.nn.tasks import guess_model_task

    task = str(guess_model_task(model))
    if task not in {"detect", "pose", "classify"}:
        told = "edgekit takes those that detect, pose or classify"
        raise BadModel(f"it is a YOLO of task '{task}': {told}")
    return task


def _checkpoint(wanted: Wanted) -> tuple[Any, dict[str, Any], str]:
    from ultralytics.nn import tasks

    path = Path(wanted.name)
    if not path.is_file() and not wanted.download:
        raise BadModel(f"no file at {path}: check the path, or give --download for the library's")
    try:
        checkpoint, _ = tasks.torch_safe_load(str(path), safe_only=not wanted.trust)
    except Exception as error:  # the library's readers raise what they please
        reason = first_line(error)
        raise BadModel(
            f"{path} is no checkpoint that ultralytics opens without running its code ({reason}): "
            "give --trust if you trust who made it"
        ) from None
    held = checkpoint.get("ema") or checkpoint.get("model")
    if not hasattr(held, "float") or not hasattr(held, "names"):
        raise BadModel(f"{path} holds no YOLO: give a .pt file that ultralytics saved")
    return held.float().eval(), dict(checkpoint.get("train_args") or {}), "given"


def _drawn(wanted: Wanted) -> tuple[Any, dict[str, Any], str]:
    import torch
    from ultralytics import YOLO

    torch.manual_seed(wanted.seed)
    try:
        model: Any = YOLO(wanted.name).model
    except Exception as error:
        raise BadModel(f"ultralytics has no {wanted.name}: {first_line(error)}") from None
    weights = place_weights(model, wanted)
    return model.float().eval(), {}, weights


def _size(options: dict[str, Any], usual: int) -> tuple[int, int]:
    """Return the height and width that a network was trained on."""
    size = options.get("imgsz") or usual
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def detector(model: Any, labels: tuple[str, ...], options: dict[str, Any], weights: str) -> Found:
    """Return a YOLO that finds boxes, and of a pose their points."""
    head = model.model[-1]
    if not all(hasattr(head, name) for name in _HEAD):
        from ultralytics import __version__

        raise BadModel(f"edgekit does not know the head of ultralytics {__version__}: update it")
    final = bool(head.end2end)
    head.forward = MethodType(_apart, head)
    height, width = _size(options, 640)
    boxes = Boxes(
        format="xyxy" if final else "cxcywh", output="boxes", overlap=1.0 if final else OVERLAP
    )
    points = _points(head) if hasattr(head, "kpt_shape") else None
    scores = OutputSpec(
        "scores",
        "keypoints" if points else "detection",
        labels,
        "probabilities",
        "scores",
        threshold=THRESHOLD,
        boxes=boxes,
        points=points,
    )
    parts = tuple(OutputSpec(part, path=part) for part in scores.parts)
    outputs = (*parts, scores)
    frame = InputSpec(height, width, fit="letterbox")
    return Found(
        module=model, spec=ModelSpec(frame, outputs), weights=cast(Literal["given"], weights)
    )


def _apart(head: Any, features: list[Tensor]) -> dict[str, Tensor]:
    """Do what the head's forward does, and leave out the joining and sorting at its end."""
    raw = head.forward_head(features, **(head.one2one if head.end2end else head.one2many))
    found = {"boxes": head._get_decode_boxes(raw), "scores": raw["scores"].sigmoid()}
    if hasattr(head, "kpt_shape"):
        found |= _points_apart(head, raw["kpts"])
    return found


def _points(head: Any) -> Points:
    """Return how the points of a pose are read; its sigmas are those the library validates by."""
    count, values = (int(number) for number in head.kpt_shape)
    person = (count, values) == (17, 3)
    return Points(
        count=count,
        output="points",
        shown="shown" if values == 3 else None,
        lines=PERSON_LINES if person else (),
        sigmas=PERSON_SIGMAS if person else (1 / count,) * count,
    )


def _points_apart(head: Any, raw: Tensor) -> dict[str, Tensor]:
    """Return x and y of the points, and how surely they show, as outputs of their own.

    The library's own formula is run on x and y alone: what it joins would share one int8 scale.
    """
    count, values = head.kpt_shape
    parts = raw.view(1, count, values, -1)
    xy = SimpleNamespace(
        kpt_shape=(count, 2), nk=2 * count, export=True, anchors=head.anchors, strides=head.strides
    )
    found = {"points": type(head).kpts_decode(xy, parts[:, :, :2].reshape(1, 2 * count, -1))}
    if values == 3:
        found["shown"] = parts[:, :, 2].sigmoid()
    return found


def _classifier(
    model: Any, labels: tuple[str, ...], options: dict[str, Any], weights: str
) -> Found:
    height, width = _size(options, 224)
    frame = InputSpec(height, width, fit="crop")
    output = OutputSpec("label", "classification", labels, path="0")
    return Found(
        module=model, spec=ModelSpec(frame, (output,)), weights=cast(Literal["given"], weights)
    )
