"""A segmentation made by hand: it tells red and blue places from the ground, at half the size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from edgekit.spec import InputSpec, ModelSpec, OutputSpec

LABELS = ("ground", "red", "blue")
SPEC = ModelSpec(InputSpec(48, 64, fit="letterbox"), (OutputSpec("field", "segmentation", LABELS),))


class Field(nn.Module):
    """Each place is scored by its colour; a place is two pixels wide and high."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 3, 2, 2)
        colours = torch.tensor([[0.0, 0.0, 0.0], [2.0, -1.0, -1.0], [-1.0, -1.0, 2.0]])
        with torch.no_grad():
            self.look.weight.copy_(colours[:, :, None, None].expand(3, 3, 2, 2))
            assert self.look.bias is not None
            self.look.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.look(image)
        return scores


def field() -> tuple[nn.Module, ModelSpec]:
    return Field(), SPEC


def fields(folder: Path, count: int) -> Path:
    """Write pictures with a red and a blue place each, and their masks."""
    draw_from = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        size = (int(draw_from.integers(60, 120)), int(draw_from.integers(50, 100)))
        picture, mask = Image.new("RGB", size, (90, 110, 100)), Image.new("L", size)
        for label, colour in ((1, (240, 10, 10)), (2, (10, 10, 240))):
            x, y = int(draw_from.integers(0, size[0] - 22)), int(draw_from.integers(0, 28))
            box = (x, y, x + 20, y + 20)
            ImageDraw.Draw(picture).rectangle(box, fill=colour)
            ImageDraw.Draw(mask).rectangle(box, fill=label)
        picture.save(folder / "images" / f"{index:02d}.png")
        mask.save(folder / "masks" / f"{index:02d}.png")
    return folder
