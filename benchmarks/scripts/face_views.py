"""Measures what looking at a found face in several frames is worth (runner.VIEWS).

    python benchmarks/scripts/face_views.py SCENES/photographs > benchmarks/checks/face-views.json

SCENES is what `face_detectors.py UTKFACE.zip --scenes SCENES` writes. The shipped network answers
the largest face of each photograph, in torch, in float32: by one frame and by the mean of all.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import torch

from edgekit import zoo
from edgekit.onboard import runner
from edgekit.zoo.checkpoint import load_weights

MODEL = "multitask-cnn:classification"


def main(folder: Path) -> None:
    """Print the shares that are right, in per cent, as JSON."""
    torch.set_num_threads(1)
    name, variant = zoo.resolve(MODEL)
    spec = zoo.spec(name, variant)
    network = zoo.build(name, variant).eval()
    load_weights(network, zoo.WEIGHTS / f"{name}.{variant}.safetensors")
    labels = {output.name: list(output.labels) for output in spec.outputs}
    told = msgspec.to_builtins(spec.input)
    right: dict[str, list[tuple[bool, bool, bool]]] = {"one frame": [], "mean of five": []}
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        try:
            found = runner.decode_views((folder / row["file"]).read_bytes(), told)
        except runner.NoFace:
            continue
        _, views = max(found, key=lambda item: item[0][2] - item[0][0])
        pixels = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            ages, genders = network((pixels - 128) / 128)
        age, gender = labels["age"].index(row["age"]), labels["gender"].index(row["gender"])
        for way, count in (("one frame", 1), ("mean of five", len(views))):
            said = int(ages[:count].mean(0).argmax())
            same = int(genders[:count].mean(0).argmax()) == gender
            right[way].append((said == age, abs(said - age) <= 1, same))
    shares = {
        way: dict(
            zip(("age", "age_1off", "gender"), np.round(100 * np.mean(r, axis=0), 1), strict=True)
        )
        for way, r in right.items()
    }
    command = "python benchmarks/scripts/face_views.py SCENES/photographs"
    faces = len(right["one frame"])
    print(json.dumps({"command": command, "model": MODEL, "faces": faces} | shares, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
