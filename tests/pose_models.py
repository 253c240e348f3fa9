"""Networks made by hand whose answers are points: they need no training."""

from __future__ import annotations

import torch
from detector_models import INPUT, LABELS, Spots
from torch import Tensor, nn

from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec, Points

OFFSETS = torch.tensor([[0.0, 0.0], [-0.5, -0.5], [0.5, 0.25]])
"""Each thing's three points: its centre, its upper left corner, and one on its right side."""
SHOWN = torch.tensor([0.9, 0.8, 0.1])


class Poses(Spots):
    """Spots with three points each, of which the third never shows."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        boxes, scores = super().forward(image)
        centres, sides = boxes[:, None, :2], boxes[:, None, 2:]
        points = centres + OFFSETS[None, :, :, None] * sides
        shown = SHOWN[None, :, None].expand(1, 3, 96) + 0 * scores[:, :1]
        return {"boxes": boxes, "scores": scores, "points": points.flatten(1, 2), "shown": shown}


class Joined(Poses):
    """The same as one tensor, as a YOLO of poses gives it: (1, 4 + labels + 3 K, N)."""

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        found = super().forward(image)
        points = found["points"].reshape(1, 3, 2, 96)
        three = torch.cat([points, found["shown"][:, :, None]], 2).flatten(1, 2)
        return torch.cat([found["boxes"], found["scores"].sigmoid(), three], 1)


class Brightest(nn.Module):
    """Landmarks of a picture: the middle of what is red, and of what is blue, as fractions."""

    def forward(self, image: Tensor) -> Tensor:
        places = []
        colours = (image[:, 0] - image[:, 1], image[:, 2] - image[:, 1])
        rows = (torch.arange(32.0) + 0.5) / 32
        for strength in colours:
            share = strength.relu() + 1e-4
            share = share / share.sum((1, 2), keepdim=True)
            x, y = (share * rows).sum((1, 2)), (share * rows[:, None]).sum((1, 2))
            places.append(torch.stack([x, y], 1))
        return torch.stack(places, 1)


BOXES = Boxes(format="cxcywh", output="boxes", overlap=0.3)
POINTS = Points(count=3, output="points", shown="shown", lines=((0, 1), (0, 2)))


def poses() -> tuple[nn.Module, ModelSpec]:
    scores = OutputSpec("scores", "keypoints", LABELS, boxes=BOXES, points=POINTS)
    parts = tuple(OutputSpec(name) for name in ("boxes", "points", "shown"))
    return Poses(), ModelSpec(INPUT, (scores, *parts))


def joined() -> tuple[nn.Module, ModelSpec]:
    output = OutputSpec(
        "scores",
        "keypoints",
        LABELS,
        boxes=Boxes(format="cxcywh", overlap=0.3),
        points=Points(count=3, values=3),
    )
    return Joined(), ModelSpec(INPUT, (output,))


def landmarks() -> tuple[nn.Module, ModelSpec]:
    output = OutputSpec("marks", "keypoints", points=Points(count=2, unit="fractions"))
    return Brightest(), ModelSpec(InputSpec(32, 32), (output,))


def unsure() -> tuple[nn.Module, ModelSpec]:
    """What should be probabilities are pixels."""
    scores = OutputSpec(
        "scores",
        "keypoints",
        LABELS,
        boxes=BOXES,
        points=Points(count=3, output="points", shown="shown"),
    )
    network, spec = poses()
    network.register_forward_hook(lambda m, i, found: {**found, "shown": 9 * found["shown"]})
    parts = spec.outputs[1:]
    return network, ModelSpec(INPUT, (scores, *parts))
