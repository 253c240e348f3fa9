"""Converts common networks with random weights, for ship_counts.py to count.

    PYTHONPATH=. python benchmarks/scripts/common_artifacts.py FOLDER PICTURES [NETWORK ...]
        [--backends onnx,tflite] [--seed 0]

It needs torchvision, timm and ultralytics beside edgekit (benchmarks/ecosystem/requirements.txt).
`edgekit convert` builds int8 in the usual way or in a gentler one, whichever suits the weights: so
both are built here, and random weights decide nothing. PICTURES are any: what is executed does not
depend on them.
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgekit.backends import load_backend
from edgekit.conversion import gentler
from edgekit.conversion.build import BuildRequest, build_one
from edgekit.conversion.calibration import load_recipe
from edgekit.conversion.export import ExportRequest, export
from edgekit.conversion.sources import SourceRequest
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
    gentler.FAR = math.inf  # random weights do not choose
    for network in asked.networks:
        place = asked.folder / network.translate(str.maketrans(":.", "--"))
        with TemporaryDirectory() as scratch:
            request = ExportRequest(
                source=SourceRequest(locator=network, seed=asked.seed),
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


def build(graph: ExportedGraph, backend: str, place: Path) -> None:
    """Build a backend's artifacts into place/usual and, of int8, place/gentler."""
    for way, gentle in (("usual", False), ("gentler", True)):
        for precision in ("int8",) if gentle else ("fp32", "int8"):
            if precision not in load_backend(backend).PRECISIONS:
                continue
            request = BuildRequest(
                graph=replace(graph, gentle=gentle),
                backend=backend,
                precisions=(precision,),
                output=str(place / way),
                min_agreement=0.0,
            )
            build_one(request, precision)
            print(place / way / f"{backend}-{precision}", flush=True)
    same = [(place / way / f"{backend}-int8" / "manifest.json") for way in ("usual", "gentler")]
    if not all(file.is_file() for file in same):
        return
    usual, other = (gentler_files(file.parent) for file in same)
    if usual == other:
        shutil.rmtree(place / "gentler" / f"{backend}-int8")


def gentler_files(folder: Path) -> tuple[str, ...]:
    """Return the hashes of an artifact's files: two ways of int8 may be one."""
    from edgekit.artifact import load_artifact

    return tuple(file.sha256 for file in load_artifact(folder).manifest.files)


if __name__ == "__main__":
    main()
