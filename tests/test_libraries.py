"""Networks by name in other libraries: what they fill in, and what is said where one is missing.

The libraries are not installed here. Their own answers, as these versions give them, stand in:
timm 1.0.31, torchvision 0.28.0, ultralytics 8.4.190, transformers 5.24.0.
"""

from __future__ import annotations

import importlib.util
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from command_line import Cli, one_line_error
from test_plugins import installed, on_path  # noqa: F401
from torch import Tensor, nn

from edgekit.conversion.libraries import (
    Wanted,
    library_names,
    load_library,
    own_classes,
    timm,
    torchvision,
)
from edgekit.conversion.libraries import transformers as hugging
from edgekit.conversion.libraries import ultralytics as yolo
from edgekit.conversion.sources import SourceRequest, load_module, source_kind
from edgekit.errors import BadModel, BrokenPlugin, MissingPackage, did_you_mean
from edgekit.graph.contract import Flat
from edgekit.onboard import runner
from edgekit.spec import InputSpec, OutputSpec, Points

OURS = ["timm", "torchvision", "transformers", "ultralytics"]


@pytest.mark.parametrize("name", OURS)
def test_a_missing_library_is_told_with_its_pip_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert source_kind(SourceRequest(locator=f"{name}:whatever")) == "library"
    with pytest.raises(MissingPackage) as refused:
        load_library(name)
    assert str(refused.value) == f"{name} is not installed: pip install {name}"


def test_download_is_for_libraries_alone() -> None:
    assert library_names()[:4] == OURS
    with pytest.raises(BadModel, match=r"--download is for timm, torchvision, .*: leave it out"):
        source_kind(SourceRequest(locator="mine:make", download=True))


TIMM = {
    "__init__.py": """
        import torch
        def list_models(): return ["tinynet", "tinyformer"]
        def create_model(name, pretrained):
            assert not pretrained
            net = torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.Linear(3 * 24 * 24, 3))
            net.num_classes = 3
            return net
    """,
    "data.py": """
        def resolve_data_config(args, model):
            return {"input_size": (3, 24, 24), "interpolation": "bicubic", "crop_pct": 0.75,
                    "mean": (0.5, 0.25, 0.0), "std": (0.5, 0.5, 1.0), "crop_mode": "center"}
        def infer_imagenet_subset(model): return None
        class ImageNetInfo: pass
    """,
}


@pytest.fixture
def with_timm(tmp_path: Path) -> Path:
    folder = tmp_path / "packages" / "timm"
    folder.mkdir(parents=True)
    for name, text in TIMM.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder.parent


@pytest.mark.slow
def test_a_network_of_a_library_goes_to_a_proven_artifact(
    cli: Cli, tmp_path: Path, with_timm: Path
) -> None:
    import json
    import os

    paths = os.pathsep.join([str(with_timm), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = cli("convert", "timm:tinynet", "-o", tmp_path / "out", "--backend", "onnx",
               "--precision", "fp32", "--json", PYTHONPATH=paths)  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "onnx-fp32" / "manifest.json").read_text())
    assert manifest["model"] == "tinynet" and manifest["source"]["kind"] == "library"
    assert manifest["source"]["weights"] == "random"
    told = manifest["input"]
    assert (told["height"], told["resize_to"], told["fit"], told["filter"]) == (
        24, 32, "crop", "bicubic"
    )  # fmt: skip
    assert told["mean"] == [127.5, 63.75, 0.0] and told["std"] == [127.5, 127.5, 255.0]
    assert manifest["outputs"][0]["labels"] == ["class 0", "class 1", "class 2"]
    wrong = cli("convert", "timm:tinynett", "-o", tmp_path / "no", PYTHONPATH=paths)
    assert "unknown timm network 'tinynett': did you mean tinynet" in one_line_error(wrong)


# What each library says of its inputs


def test_timm_s_configuration_is_read() -> None:
    told = {
        "input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 0.875,
        "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop_mode": "center",
    }  # fmt: skip
    frame = timm.input_of(told)
    assert (frame.height, frame.resize_to, frame.fit, frame.filter) == (224, 256, "crop", "bicubic")
    assert frame.mean == (123.675, 116.28, 103.53) and frame.std == (58.395, 57.12, 57.375)
    assert timm.input_of({**told, "crop_mode": "squash"}).fit == "stretch"
    with pytest.raises(BadModel, match="resized by lanczos: give --spec"):
        timm.input_of({**told, "interpolation": "lanczos"})
    with pytest.raises(BadModel, match="takes 4 channels"):
        timm.input_of({**told, "input_size": (4, 8, 8)})


def test_torchvision_s_transforms_are_read() -> None:
    preset = SimpleNamespace(
        crop_size=[224], resize_size=[232], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225],
        interpolation=SimpleNamespace(value="bilinear"),
    )  # fmt: skip
    frame = torchvision.input_of(preset)
    assert (frame.height, frame.resize_to, frame.fit) == (224, 232, "crop")
    del preset.crop_size
    assert torchvision.input_of(preset).height == 232


@pytest.mark.parametrize(
    ("settings", "kind", "frame"),
    [
        (
            {"size": {"height": 224, "width": 224}, "resample": 2},
            "vit",
            InputSpec(224, 224, (127.5,) * 3, (127.5,) * 3),
        ),
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
             "resample": 3},
            "mobilenet_v2",
            InputSpec(224, 224, (127.5,) * 3, (127.5,) * 3, resize_to=256, fit="crop",
                      filter="bicubic"),
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3},
            "convnext",
            InputSpec(224, 224, (127.5,) * 3, (127.5,) * 3, resize_to=256, fit="crop",
                      filter="bicubic"),
        ),
    ],
)  # fmt: skip
def test_an_image_processor_s_settings_are_read(
    settings: dict[str, Any], kind: str, frame: InputSpec
) -> None:
    found = hugging.input_of({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, **settings}, kind)
    assert found == frame


def test_a_text_network_takes_tokens_and_a_mask() -> None:
    config = SimpleNamespace(vocab_size=1000, max_position_embeddings=64)
    spec = hugging.text_spec(config, OutputSpec("label", "classification", ("a", "b")))
    assert spec.names == ("input_ids", "attention_mask")
    assert spec.tensors[0].shape == (1, 64) and spec.tensors[0].range == (0, 999)


class Head(nn.Module):
    """What the library's head does, on one map of features."""

    end2end = False

    def __init__(self) -> None:
        super().__init__()
        self.boxes, self.classes = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1)

    @property
    def one2many(self) -> dict[str, nn.Module]:
        return {"box_head": self.boxes, "cls_head": self.classes}

    def forward_head(
        self, features: list[Tensor], box_head: nn.Module, cls_head: nn.Module
    ) -> dict[str, Tensor]:
        boxes, scores = box_head(features[0]).flatten(2), cls_head(features[0]).flatten(2)
        return {"boxes": boxes, "scores": scores}

    def _get_decode_boxes(self, raw: dict[str, Tensor]) -> Tensor:
        return raw["boxes"] * 8

    def forward(self, features: list[Tensor]) -> Tensor:
        raw = self.forward_head(features, **self.one2many)
        return torch.cat([self._get_decode_boxes(raw), raw["scores"].sigmoid()], 1)


class Yolo(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.model = nn.ModuleList([nn.AvgPool2d(4), head])

    def forward(self, image: Tensor) -> Any:
        return self.model[1]([self.model[0](image)])


def test_a_yolo_s_boxes_and_scores_leave_it_apart_and_say_the_same() -> None:
    torch.manual_seed(0)
    network, image = Yolo(Head()), torch.rand(1, 3, 16, 16)
    joined = network(image)
    found = yolo.detector(network, ("cat", "dog"), {"imgsz": [16, 24]}, "given")
    boxes, scores = Flat(found.module, found.spec.outputs)(image)
    assert torch.equal(torch.cat([boxes, scores], 1), joined)
    frame, detection = found.spec.image, found.spec.outputs[1]
    assert (frame.height, frame.width, frame.fit, frame.pad) == (16, 24, "letterbox", (114,))
    assert (detection.threshold, detection.scores) == (0.25, "probabilities")
    assert detection.boxes is not None and detection.boxes.output == "boxes"


class PoseHead(Head):
    """What the library's head of poses does beside: three numbers a point, decoded in place."""

    kpt_shape = (2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Conv2d(3, 6, 1)
        self.anchors, self.strides = torch.rand(2, 16), torch.full((1, 16), 4.0)
        self.nk = 6

    @property
    def one2many(self) -> dict[str, nn.Module]:
        return {**super().one2many, "pose_head": self.points}

    def forward_head(  # type: ignore[override]
        self, features: list[Tensor], box_head: nn.Module, cls_head: nn.Module, pose_head: nn.Module
    ) -> dict[str, Tensor]:
        raw = super().forward_head(features, box_head, cls_head)
        return raw | {"kpts": pose_head(features[0]).flatten(2)}

    def kpts_decode(self, kpts: Tensor) -> Tensor:
        assert self.export
        y = kpts.view(1, *self.kpt_shape, -1)
        a = (y[:, :, :2] * 2.0 + (self.anchors - 0.5)) * self.strides
        if self.kpt_shape[1] == 3:
            a = torch.cat((a, y[:, :, 2:3].sigmoid()), 2)
        return a.view(1, self.nk, -1)

    export = True


def test_a_pose_s_points_leave_it_apart_and_say_the_same() -> None:
    torch.manual_seed(0)
    head, image = PoseHead(), torch.rand(1, 3, 16, 16)
    network = Yolo(head)
    features = [network.model[0](image)]
    raw = head.forward_head(features, **head.one2many)
    wanted = torch.cat([head.forward(features), head.kpts_decode(raw["kpts"])], 1)
    found = yolo.detector(network, ("person",) * 2, {"imgsz": 16}, "given")
    values = Flat(found.module, found.spec.outputs)(image)
    output = found.spec.outputs[-1]
    assert output.kind == "keypoints" and output.parts == ("boxes", "points", "shown")
    assert output.boxes is not None and output.points is not None
    assert output.points.sigmas == (0.5, 0.5)
    names = [each.name for each in found.spec.outputs]
    answers = dict(zip(names, (value.detach().numpy() for value in values), strict=True))
    rows = runner.read_with(msgspec.to_builtins(output), answers)
    joined = OutputSpec(
        "x", "keypoints", ("a", "b"), "probabilities",
        boxes=replace(output.boxes, output=None), points=Points(count=2, values=3),
    )  # fmt: skip
    told = msgspec.to_builtins(joined)
    assert np.array_equal(rows, runner.read_with(told, {"x": wanted.detach().numpy()}))


def test_a_person_has_coco_s_points() -> None:
    head = SimpleNamespace(kpt_shape=(17, 3))
    points = yolo._points(head)
    assert points.sigmas[0] == 0.026 and len(points.lines) == 19


def test_a_head_of_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ultralytics", SimpleNamespace(__version__="9"))
    with pytest.raises(BadModel, match="does not know the head of ultralytics 9"):
        yolo.detector(Yolo(nn.Identity()), ("cat",), {}, "given")


# Other packages'


def test_a_plug_in_adds_a_library(on_path: Path) -> None:  # noqa: F811
    loaded = load_module(SourceRequest(locator="acme-nets:linear"), "library")
    assert loaded.name == "linear" and loaded.spec.outputs[0].labels == ("cat", "dog", "owl")
    with pytest.raises(BadModel, match="acme has but one network"):
        load_module(SourceRequest(locator="acme-nets:round"), "library")
    with pytest.raises(BrokenPlugin, match=r"source no-networks of acme-edgekit 0\.1"):
        load_library("no-networks")


# Classes of one's own


class Classifier(nn.Module):
    def __init__(self, count: int, width: int = 4) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        self.head, self.aside = nn.Linear(width, count), nn.Linear(width, count)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (Classifier(5), 5),
        (Classifier(10), None),  # it fits as it is
        (Classifier(5, width=6), None),  # of another network
        (nn.Linear(4, 5), None),
    ],
)
def test_a_checkpoint_with_another_last_layer_says_how_many_classes_it_has(
    tmp_path: Path, given: nn.Module, count: int | None
) -> None:
    path = tmp_path / "mine.pth"
    torch.save({"model": given.state_dict()}, path)
    wanted = Wanted(name="x", weights=path)
    assert own_classes(Classifier(10), wanted) == count
    assert own_classes(Classifier(10), Wanted(name="x")) is None


def test_a_library_of_a_thousand_networks_is_not_listed_whole() -> None:
    told = did_you_mean("network", "qqq", [f"net{number}" for number in range(1500)])
    assert told.endswith("net38, net39 and 1,460 more") and len(told) < 400
