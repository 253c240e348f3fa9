"""Writes features.csv: what every network of latency.csv has to do, counted from its shapes.

    PYTHONPATH=. python benchmarks/scripts/features.py --ncnn FOLDER

FOLDER holds the `.param` files of Tencent/ncnn `benchmark/models` at a4d2ea1d. Each network's
multiply-accumulates are held to the number published with it; one that is more than 2 % off stops
the script, so that no latency is ever explained by a wrong network.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import networks
import tflite_detectors
from ncnn_param import read_param
from yolo11 import yolo11

from edgekit.latency_model.operators import tflite
from edgekit.latency_model.workload import UNCOUNTED, Workload

EVIDENCE = Path(__file__).parents[1] / "evidence"
TOLERANCE = 0.02
MODELS_MD = "models.md of the evidence"


@dataclass(frozen=True)
class Entry:
    """One network: its family, how it is counted, and the published count in millions, with source.

    `published` is 0 where no count of multiply-accumulates is, but of parameters.

    A family is one published design in all its widths, depths, input sizes and heads: a detector
    belongs to its backbone's. Families, not rows, are left out of a fit.
    """

    family: str
    count: Callable[[Path], Workload]
    published: float
    source: str
    made_from: str


def _net(
    family: str, make: Callable[[], networks.Net], published: float, source: str = MODELS_MD
) -> Entry:
    return Entry(family, lambda _: make().workload, published, source, "networks.py")


def _param(family: str, stem: str, published: float, source: str = MODELS_MD) -> Entry:
    return Entry(
        family, lambda folder: read_param(folder / f"{stem}.param"), published, source,
        f"Tencent/ncnn benchmark/models/{stem}.param@a4d2ea1d",
    )  # fmt: skip


OURS = "no count published; this script's own"
LITE_MACS = (385.0, 600.0, 860.0, 1383.0, 2553.0)
"""EfficientNet-Lite0 to 4: models.md gives the first and the last, the rest are this script's."""


def _slim() -> Iterator[tuple[str, Entry]]:
    """Yield MLPerf's mobile networks under the names of their submissions.

    MobileNet's counts are its authors' (tensorflow/models, slim: 569 M at 1.0 and 224, 300 M for
    v2); a smaller one's is held to its own count and so to nothing but the formula.
    """
    for width in (0.25, 0.5, 0.75, 1.0):
        for size in (128, 160, 192, 224):
            make = _later(networks.mobilenet_v1, width, size)
            full = width == 1.0 and size == 224
            published = 568.7 if full else make().workload.macs / 1e6
            yield (
                f"mobilenet-v1-{width}-{size}",
                _net("mobilenet-v1", make, published, MODELS_MD if full else OURS),
            )
    sizes = dict.fromkeys((0.35, 0.5, 0.75, 1.0), (96, 128, 160, 192, 224))
    for width, several in (sizes | {1.3: (224,), 1.4: (224,)}).items():
        for size in several:
            make = _later(networks.mobilenet_v2, width, size)
            full = width == 1.0 and size == 224
            published = 300.8 if full else make().workload.macs / 1e6
            yield (
                f"mobilenet-v2-{width}-{size}",
                _net("mobilenet-v2", make, published, MODELS_MD if full else OURS),
            )
    for number, published in enumerate(LITE_MACS):
        make = _later(networks.efficientnet_lite, number)
        yield f"efficientnet-lite{number}", _net("efficientnet", make, published)


def _later(make: Callable[..., networks.Net], *arguments: float) -> Callable[[], networks.Net]:
    return lambda: make(*arguments)


def _yolo(scale: str, gflops: float) -> Entry:
    """Return a YOLO11; ultralytics publishes GFLOPs, two to a multiply-accumulate."""
    source = "ultralytics docs/en/models/yolo11.md, FLOPs halved"
    return Entry("yolo11", lambda _: yolo11(scale).workload, gflops * 500, source, "yolo11.py")


def _detector(family: str, name: str) -> Entry:
    """Return a detector as its TFLite file has it, held to its published parameters."""
    known = tflite_detectors.EFFICIENTDET | tflite_detectors.YOLOX
    published = float(known[name][-1])

    def count(_: Path) -> Workload:
        content, _, parameters = tflite_detectors.build(f"{name}-float")
        if abs(parameters / 1e6 / published - 1) > TOLERANCE:
            sys.exit(f"{name}: {parameters / 1e6:.2f} M parameters, published {published} M")
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.tflite"
            path.write_bytes(content)
            return tflite.read(path)

    return Entry(family, count, 0, f"{published} M parameters", "tflite_detectors.py")


MOBILENET = _param("mobilenet-v1", "mobilenet", 568.7)
MOBILENET_V2 = _param("mobilenet-v2", "mobilenet_v2", 313.6)
SSD = _param("mobilenet-v1", "mobilenet_ssd", 1148)
SQUEEZENET = _param("squeezenet", "squeezenet", 418)
RESNET_18 = _net("resnet", networks.resnet18, 1827)
RESNET_50_V1 = _param("resnet", "resnet50", 3858)
RESNET_50 = _net("resnet", networks.resnet50, 4089)
SHUFFLENET_V2 = _param("shufflenet", "shufflenet_v2", 145)
GOOGLENET = _param("googlenet", "googlenet", 1583)
VGG_16 = _net("vgg", _later(networks.vgg, 2, 2, 3, 3, 3), 15470)
PARAM = "Tencent/ncnn's own graph; " + OURS

NETWORKS: dict[str, Entry] = {
    **{name + end: entry for name, entry in _slim() for end in ("-quantized", "-non-quantized")},
    "MobileNet v1 1.0X": _net("mobilenet-v1", _later(networks.mobilenet_v1, 1.0, 224), 568.7),
    "mobilenet": MOBILENET,
    "mobilenet_int8": MOBILENET,
    "mobilenetv1": MOBILENET,
    "mobilenet_v2": MOBILENET_V2,
    "mobilenetv2": MOBILENET_V2,
    "mobilenet-v2": _net("mobilenet-v2", _later(networks.mobilenet_v2_torch, 224), 300.8),
    "mobilenetv3": _param("mobilenet-v3", "mobilenet_v3", 245.6),
    "mobilenet_ssd": SSD,
    "mobilenet_ssd_int8": SSD,
    "mssd": SSD,
    "mobilenet_yolo": _param("mobilenet-v1", "mobilenet_yolo", 2613.6, PARAM),
    "mobilenetv2_yolov3": _param("mobilenet-v2", "mobilenetv2_yolov3", 1182.7, PARAM),
    "proxylessnasnet": _param("proxylessnas", "proxylessnasnet", 336.5),
    "regnety_400m": _param("regnet", "regnety_400m", 401.8),
    "blazeface": _param("blazeface", "blazeface", 29.4, PARAM),
    "yolo-fastest-1.1": _param("yolo-fastest", "yolo-fastest-1.1", 125.4, PARAM),
    "alexnet": _param("alexnet", "alexnet", 724),
    "squeezenet": SQUEEZENET,
    "squeezenet_int8": SQUEEZENET,
    "squeezenet_v1.1": SQUEEZENET,
    "squeezenet1_0": _net(
        "squeezenet", networks.squeezenet_1_0, 819, "torchvision SqueezeNet1_0_Weights"
    ),
    "squeezenet1_1": _net(
        "squeezenet", networks.squeezenet_1_1, 349, "torchvision SqueezeNet1_1_Weights"
    ),
    "googlenet": GOOGLENET,
    "shufflenet": _param("shufflenet", "shufflenet", 127),
    "shufflenetv2": SHUFFLENET_V2,
    "shufflenet_v2_x1_0": SHUFFLENET_V2,
    "resnet18": RESNET_18,
    "resnet-18": RESNET_18,
    "resnet50": RESNET_50,
    "resnet-50": RESNET_50,
    "resnet50_int8": RESNET_50_V1,
    "wide_resnet50_2": _net(
        "resnet", _later(networks.resnet50, 128), 11398, "torchvision Wide_ResNet50_2_Weights"
    ),
    "vgg16": VGG_16,
    "vgg16_int8": VGG_16,
    "vgg-16": VGG_16,
    "vgg-19": _net(
        "vgg", _later(networks.vgg, 2, 2, 4, 4, 4), 19632, "torchvision VGG19_Weights"
    ),
    "vision_transformer": _net("vit", networks.vision_transformer_b32, 13043.6, OURS),
    "yolo11n": _yolo("n", 6.5),
    "yolo11s": _yolo("s", 21.5),
    "yolo11m": _yolo("m", 68.0),
    "yolo11l": _yolo("l", 86.9),
    "yolo11x": _yolo("x", 194.9),
    **{name: _detector("efficientnet", name) for name in tflite_detectors.EFFICIENTDET},
    **{name: _detector("yolox", name) for name in tflite_detectors.YOLOX},
    "yolox_s": _detector("yolox", "YOLOX-S"),
}  # fmt: skip
"""Networks not here (Tengine's inceptionv3, mobilefacenets, retinaface and yolov3_tiny, TVM's
densenet-121, inception-v3 and squeezenet-v1.x, Arm's clip, convnext, deit, inception_v3, yolov5s
and ultraface, MLPerf's one ssd row) are not counted: their rows are evidence without features."""

NCNN_SIZES = {("resnet50", "ncnn"): RESNET_50_V1}
"""Names that mean another network in one runtime's table."""

COUNTS = tuple(f.name for f in fields(Workload) if f.name not in UNCOUNTED)
COLUMNS = (
    "model", "runtime", "family", *COUNTS, "published_macs_m", "published_in", "made_from",
)  # fmt: skip


def main() -> None:
    """Count every network and write the table. Stops at a count that is not the published one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ncnn", type=Path, required=True, help="folder of .param files")
    folder = parser.parse_args().ncnn
    rows = []
    named = [((name, ""), entry) for name, entry in NETWORKS.items()]
    for (name, runtime), entry in [*named, *NCNN_SIZES.items()]:
        work = entry.count(folder)
        if entry.published and abs(work.macs / 1e6 / entry.published - 1) > TOLERANCE:
            sys.exit(f"{name}: {work.macs / 1e6:.1f} M, published {entry.published} M")
        counts = [getattr(work, name) for name in COUNTS]
        macs = entry.published or work.macs / 1e6
        published = (round(macs, 1), entry.source, entry.made_from)
        rows.append((name, runtime, entry.family, *counts, *published))
    with (EVIDENCE / "features.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
