"""A backend that turns a model into one matrix, and refuses what no matrix computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.artifact import Precision
from edgekit.backends import Built
from edgekit.errors import UnsupportedModel
from edgekit.graph import ExportedGraph

PRECISIONS: tuple[Precision, ...] = ("fp32",)
RUNTIME = "matrix"
EXTRA = ""
PACKAGES = ("numpy",)
PROGRAM = "acme_edgekit.run_matrix"


def build(
    graph: ExportedGraph, precision: Precision, folder: Path, keep_float: tuple[str, ...]
) -> Built:
    """Write model.npz: for each output `matrix` (pixels × values) and `bias`."""
    import numpy as np
    import torch

    spec = graph.spec.image
    module = graph.baked_module()
    count = spec.height * spec.width * spec.channels

    def answers(pixels: np.ndarray) -> list[np.ndarray]:
        images = torch.from_numpy(pixels.reshape(-1, spec.height, spec.width, spec.channels))
        with torch.inference_mode():
            rows = [
                [value[0].double().numpy() for value in module(image[None])] for image in images
            ]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    (dark, lit) = (
        answers(np.zeros((1, count), np.uint8)),
        answers(255 * np.eye(count, dtype=np.uint8)),
    )
    grey = np.random.default_rng(0).integers(0, 256, (1, count), dtype=np.uint8)
    parts: dict[str, Any] = {}
    for number, (bias, column, checked) in enumerate(zip(dark, lit, answers(grey), strict=True)):
        matrix = (column - bias) / 255
        if not np.allclose(grey @ matrix + bias, checked, atol=1e-4):
            raise UnsupportedModel("matrix builds only models that are linear in their pixels")
        parts |= {f"matrix{number}": matrix, f"bias{number}": bias[0]}
    np.savez(folder / "model.npz", **parts)
    return Built(("model.npz",), graph.feed)
