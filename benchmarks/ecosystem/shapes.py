"""A YOLO11n of one's own: shapes are drawn on photographs, and ultralytics learns to find them.

    python shapes.py FOLDER [EPOCHS]

writes FOLDER/shapes.pt and the pictures, in YOLO's own form; README.md has what edgekit then makes
of it. An epoch takes 15 seconds to a minute on a core. ultralytics is AGPL-3.0.
"""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

from networks import pictures
from PIL import ImageDraw

NAMES = ("disc", "square", "triangle")
SIDE = 320
SIDES = {"train": (400, 1), "val": (100, 2), "calibration": (64, 3)}
"""How many pictures each has, and the seed that they are drawn by."""


def draw(folder: Path) -> Path:
    """Write the pictures and the data.yaml that names their classes; return that."""
    for side, (count, seed) in SIDES.items():
        for kind in ("images", "labels"):
            (folder / side / kind).mkdir(parents=True, exist_ok=True)
        chance = random.Random(seed)
        for index, picture in enumerate(pictures(SIDE, count, seed)):
            pen, lines = ImageDraw.Draw(picture), []
            for _ in range(chance.randint(1, 5)):
                size = chance.randint(24, 110)
                x, y = chance.randint(0, SIDE - size), chance.randint(0, SIDE - size)
                kind = chance.randrange(len(NAMES))
                colour = tuple(chance.randint(0, 255) for _ in range(3))
                box = (x, y, x + size, y + size)
                if kind == 0:
                    pen.ellipse(box, fill=colour)
                elif kind == 1:
                    pen.rectangle(box, fill=colour)
                else:
                    corners = [(x + size / 2, y), (x, y + size), (x + size, y + size)]
                    pen.polygon(corners, fill=colour)
                numbers = (x + size / 2, y + size / 2, size, size)
                lines.append(f"{kind} " + " ".join(f"{number / SIDE:.5f}" for number in numbers))
            picture.save(folder / side / "images" / f"{index:03}.jpg", quality=92)
            (folder / side / "labels" / f"{index:03}.txt").write_text("\n".join(lines) + "\n")
        names = f"names: [{', '.join(NAMES)}]\n"
        (folder / side / "data.yaml").write_text(names)
    whole = f"path: {folder.resolve()}\ntrain: train/images\nval: val/images\n{names}"
    (folder / "data.yaml").write_text(whole)
    return folder / "data.yaml"


def main(folder: Path, epochs: int) -> None:
    """Draw, train, and keep the weights alone."""
    import torch
    from ultralytics import YOLO
    from ultralytics.utils.torch_utils import strip_optimizer

    torch.set_num_threads(1)
    data = draw(folder)
    YOLO("yolo11n.yaml").train(
        data=data, epochs=epochs, imgsz=SIDE, batch=16, device="cpu", workers=0, plots=False,
        val=False, project=folder.resolve() / "runs", name="shapes", exist_ok=True, seed=0,
        lr0=0.005, optimizer="AdamW", amp=False, close_mosaic=3,
    )  # fmt: skip
    shutil.copyfile(folder / "runs" / "shapes" / "weights" / "last.pt", folder / "shapes.pt")
    strip_optimizer(str(folder / "shapes.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 30)
