"""Detectors made by hand: they find red and blue spots, and need no training."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec

LABELS = ("red", "blue")
INPUT = InputSpec(64, 96, fit="letterbox", pad=(128,))
COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230)}


class Spots(nn.Module):
    """Looks at cells of 8 × 8 pixels; a cell's box is square and larger where it is brighter."""

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 8, 8)
        colours = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])
        with torch.no_grad():
            self.look.weight.copy_(12 * colours[:, :, None, None].expand(2, 3, 8, 8) / 64)
            assert self.look.bias is not None
            self.look.bias.fill_(-4.0)
        rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
        self.register_buffer("centres", 8 * torch.stack([columns, rows]).reshape(1, 2, 96) + 4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.look(image).flatten(2)
        sides = 4 + 8 * nn.functional.avg_pool2d(image.amax(1, keepdim=True), 8).flatten(2)
        boxes = torch.cat([self.get_buffer("centres").expand(1, 2, 96), sides, sides], 1)
        return boxes, scores


class Combined(Spots):
    """The same as one tensor, as YOLO gives it: (1, 4 + labels, N)."""

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        boxes, scores = super().forward(image)
        return torch.cat([boxes, scores.sigmoid()], 1)


class Fractions(Spots):
    """As SSD gives it: corners in fractions, (1, N, 4), and a softmax with a background."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        boxes, scores = super().forward(image)
        boxes = boxes / torch.tensor([96.0, 64.0, 96.0, 64.0])[:, None]
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        nothing = torch.zeros_like(scores[:, :1])
        return {
            "corners": corners.permute(0, 2, 1),
            "classes": torch.cat([nothing, scores], 1).permute(0, 2, 1),
        }


class Final(Combined):
    """End to end: the eight best rows of two corners, a score and a class."""

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        rows = super().forward(image).permute(0, 2, 1)
        score, index = rows[..., 4:].max(-1)
        best, places = score.topk(8, dim=1)
        corners = torch.cat(
            [rows[..., :2] - rows[..., 2:4] / 2, rows[..., :2] + rows[..., 2:4] / 2], -1
        )
        chosen = corners.gather(1, places[..., None].expand(1, 8, 4))
        classes = index.gather(1, places).float()
        return torch.cat([chosen, best[..., None], classes[..., None]], -1)


APART = OutputSpec(
    "spots",
    "detection",
    LABELS,
    path="1",
    boxes=Boxes(format="cxcywh", output="where", overlap=0.3),
)
ONE = OutputSpec("spots", "detection", LABELS, boxes=Boxes(format="cxcywh", overlap=0.3))


def apart() -> tuple[nn.Module, ModelSpec]:
    return Spots(), ModelSpec(INPUT, (OutputSpec("where", path="0"), APART))


def combined() -> tuple[nn.Module, ModelSpec]:
    return Combined(), ModelSpec(INPUT, (ONE,))


def fractions() -> tuple[nn.Module, ModelSpec]:
    boxes = Boxes(format="xyxy", unit="fractions", output="corners", background=0, overlap=0.3)
    output = OutputSpec("classes", "detection", ("nothing", *LABELS), boxes=boxes)
    return Fractions(), ModelSpec(INPUT, (OutputSpec("corners"), output))


def final() -> tuple[nn.Module, ModelSpec]:
    output = OutputSpec("spots", "detection", LABELS, boxes=Boxes(format="xyxy", row="final"))
    return Final(), ModelSpec(INPUT, (output,))


def four_labels() -> tuple[nn.Module, ModelSpec]:
    boxes = Boxes(format="cxcywh", output="where")
    output = OutputSpec("spots", "detection", ("a", "b", "c", "d"), path="1", boxes=boxes)
    return Spots(), ModelSpec(INPUT, (OutputSpec("where", path="0"), output))


def spotted(path: Path, size: tuple[int, int], seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Write a picture with up to three spots that lie on the network's cells; return them."""
    draw_from = random.Random(seed)
    picture = Image.new("RGB", size, (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    scale = min(96 / size[0], 64 / size[1])
    left, top = (96 - round(size[0] * scale)) // 2, (64 - round(size[1] * scale)) // 2
    spots = []
    for cell in draw_from.sample(range(4), 3):
        x, y = 8 * (3 + 4 * (cell % 2)), 8 * (2 + 3 * (cell // 2))
        label = draw_from.choice(LABELS)
        box = tuple(
            round((value - offset) / scale)
            for value, offset in ((x, left), (y, top), (x + 8, left), (y + 8, top))
        )
        draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=COLOURS[label])
        spots.append((label, box))
    picture.save(path)
    return spots
