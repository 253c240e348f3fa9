"""Scikit-learn's handwritten digits as image files, the way your own data lies on a disk."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SPLITS = np.where(np.arange(1797) % 5 == 0, "test", "train")


def write_pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write 1797 pictures of 8×8 and their labels.csv; return the training pixels and labels."""
    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)  # 0 to 16 there, 0 to 240 in a picture
    rows = []
    for index, split in enumerate(SPLITS):
        file = folder / split / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index]).save(file)
        rows.append((f"{split}/{file.name}", digits.target[index], split))
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "digit", "split"), *rows])
    return pixels[SPLITS == "train"], digits.target[SPLITS == "train"]
