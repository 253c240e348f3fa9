"""Converts common networks with random weights, for ship_counts.py to count.

    PYTHONPATH=. python benchmarks/scripts/common_artifacts.py FOLDER PICTURES [NETWORK ...]
        [--backends onnx,tflite] [--seed 0]

It needs torchvision, timm and ultralytics beside edgekit (benchmarks/ecosystem/requirements.txt).
`edgekit convert` builds int8 in the usual way or in another, whichever suits the weights: so all
are built here. PICTURES are any: what is executed does not depend on them. Batch norms get
their statistics, since without them the values of a deep network vanish, and LiteRT refuses to
compute in int8 what differs by more than it can shift. A converter that aborts (TFLite's int8 of
YOLO11n) ends the script: name the other networks then.
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from edgekit.backends import load_backend, ways_of
from edgekit.conversion import ways as int8_ways
from edgekit.conversion.build import BuildRequest, build_one
from edgekit.conversion.calibration import load_recipe
from edgekit.conversion.export import ExportRequest, export
from edgekit.conversion.libraries import Wanted, load_library
from edgekit.conversion.sources import SourceRequest
from edgekit.errors import EdgekitError
from edgekit.graph import ExportedGraph

NETWORKS = (
    "multitask-cnn:classification", "adiencenet:age", "zhu-lightweight:classification",
    "torchvision:mobilenet_v3_small", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_large",
    "timm:tf_efficientnet_lite0", "timm:mobilenetv1_100", "torchvision:resnet18",
    "torchvision:resnet50", "ultralytics:yolo11n.yaml",
)  # fmt: skip


def main() -> None:
    """Convert each network, fp32 and int8 in both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--backends", default="onnx,tflite")
    parser.add_argument("--seed", type=int, default=0, help="draws the weights")
    asked = parser.parse_args()
    int8_ways.FAR = math.inf  # random weights do not choose
    for network in asked.networks:
        place = asked.folder / network.translate(str.maketrans(":.", "--"))
        with TemporaryDirectory() as scratch:
            weights = settled(network, asked.pictures, asked.seed, Path(scratch) / "weights.pt")
            request = ExportRequest(
                source=SourceRequest(locator=network, weights=weights, seed=asked.seed),
                folder=scratch,
                raw_input=False,
                wide_int8=True,
                calibration=str(asked.pictures),
                images=str(asked.pictures),
                recipe=load_recipe("default"),
            )
            graph = export(request, lambda text: None)
            for backend in asked.backends.split(","):
                build(graph, backend, place)


def settled(network: str, pictures: Path, seed: int, file: Path) -> str | None:
    """Write a library's network with batch norms of its own, and return the file.

    None for the zoo's networks, which have hardly any, and for Ultralytics's.
    """
    library, _, name = network.partition(":")
    if library not in {"torchvision", "timm"}:
        return None
    found = load_library(library).load(Wanted(name=name, seed=seed))
    assert found.spec.input is not None
    size = (found.spec.input.width, found.spec.input.height)
    images = [Image.open(each).convert("RGB").resize(size) for each in sorted(pictures.iterdir())]
    batch = torch.from_numpy(np.stack([np.asarray(image, np.float32) for image in images[:12]]))
    for module in found.module.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics of this batch alone
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        found.module.train()(batch.permute(0, 3, 1, 2) / 64 - 2)
    torch.save(found.module.state_dict(), file)
    return str(file)


def build(graph: ExportedGraph, backend: str, place: Path) -> None:
    """Build a backend's artifacts into place/usual and, of int8, place/WAY for each other way."""
    ways = {"usual": "", **{way: way for way in ways_of(load_backend(backend))}}
    for name, way in ways.items():
        for precision in ("int8",) if way else ("fp32", "int8"):
            if precision not in load_backend(backend).PRECISIONS:
                continue
            request = BuildRequest(
                graph=replace(graph, way=way),
                backend=backend,
                precisions=(precision,),
                output=str(place / name),
                min_agreement=0.0,
            )
            try:
                build_one(request, precision)
            except (EdgekitError, RuntimeError) as error:  # a runtime's own
                print(f"{place / name / backend}-{precision}: {error}", flush=True)
            else:
                print(place / name / f"{backend}-{precision}", flush=True)
    seen: list[tuple[str, ...]] = []
    for name in ways:
        folder = place / name / f"{backend}-int8"
        if not (folder / "manifest.json").is_file():
            continue
        if files_of(folder) in seen:
            shutil.rmtree(folder)
        else:
            seen.append(files_of(folder))


def files_of(folder: Path) -> tuple[str, ...]:
    """Return the hashes of an artifact's files: two ways of int8 may be one."""
    from edgekit.artifact import load_artifact

    return tuple(file.sha256 for file in load_artifact(folder).manifest.files)


if __name__ == "__main__":
    main()
