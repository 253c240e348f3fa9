"""`transformers:DIR`: a classifier of images or of tokens, saved by `save_pretrained`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from edgekit.conversion.libraries import Found, Wanted, pixels
from edgekit.errors import BadModel, first_line
from edgekit.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

PACKAGES = ("transformers",)
TOKENS = 128
"""How many tokens a text has, unless the network takes fewer."""
_FILTERS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}


def load(wanted: Wanted) -> Found:
    """Return a network from a folder, or with --download from the library's hub."""
    import transformers

    folder = Path(wanted.name)
    if not folder.is_dir() and not wanted.download:
        raise BadModel(f"no folder at {folder}: give one that save_pretrained wrote, or --download")
    local = folder.is_dir()
    try:
        config = transformers.AutoConfig.from_pretrained(wanted.name, local_files_only=local)
        name = (config.architectures or ["nothing"])[0]
        kinds = {
            "ForImageClassification": transformers.AutoModelForImageClassification,
            "ForSequenceClassification": transformers.AutoModelForSequenceClassification,
        }
        auto = next((kind for ending, kind in kinds.items() if name.endswith(ending)), None)
        if auto is None:
            raise BadModel(f"{folder} holds a {name}: edgekit takes {' and '.join(kinds)}")
        module = auto.from_pretrained(wanted.name, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        raise BadModel(f"{folder} cannot be read by transformers: {first_line(error)}") from None
    module.config.use_cache = False
    labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    output = OutputSpec("label", "classification", labels, "logits", path="logits")
    if name.endswith("ForImageClassification"):
        return Found(
            module=module, spec=ModelSpec(_image(folder, config), (output,)), weights="given"
        )
    return Found(module=_tokens(module), spec=text_spec(config, output), weights="given")


def _image(folder: Path, config: Any) -> InputSpec:
    """Return what a folder's preprocessor_config.json does. Raises BadModel without one."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise BadModel(f"{folder} has no preprocessor_config.json: give --spec")
    try:
        return input_of(json.loads(file.read_text()), str(getattr(config, "model_type", "")))
    except (ValueError, TypeError, KeyError) as error:
        raise BadModel(f"edgekit cannot read {file} ({first_line(error)}): give --spec") from None


def input_of(settings: dict[str, Any], kind: str = "") -> InputSpec:
    """Return an image processor's settings as an input. Raises ValueError, KeyError, TypeError."""
    size, crop = settings["size"], settings.get("crop_size")
    if isinstance(size, int):
        size = {"shortest_edge": size} if crop else {"height": size, "width": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    normal = settings.get("do_normalize", True)
    scale = float(settings.get("rescale_factor", 1 / 255)) * 255
    mean = tuple(v / scale for v in pixels(settings["image_mean"])) if normal else (0.0,) * 3
    std = tuple(v / scale for v in pixels(settings["image_std"])) if normal else (255 / scale,) * 3
    filter = _FILTERS[int(settings.get("resample", 2))]
    if "shortest_edge" not in size:
        side = (int(size["height"]), int(size["width"]))
        return InputSpec(*side, mean=mean, std=std, filter=filter)
    short = int(size["shortest_edge"])
    if kind == "convnext" and "crop_pct" in settings and short < 384:
        crop = {"height": short, "width": short}
        short = int(short / float(settings["crop_pct"]))
    if crop is None or not settings.get("do_center_crop", True):
        crop = {"height": short, "width": short}
    side = (int(crop["height"]), int(crop["width"]))
    return InputSpec(*side, mean=mean, std=std, resize_to=short, fit="crop", filter=filter)


def text_spec(config: Any, output: OutputSpec) -> ModelSpec:
    """Return the contract of a network that takes tokens and which of them count."""
    length = min(TOKENS, int(getattr(config, "max_position_embeddings", TOKENS)))
    tokens = TensorSpec("input_ids", (1, length), "int64", (0, int(config.vocab_size) - 1))
    mask = TensorSpec("attention_mask", (1, length), "int64", (0, 1))
    return ModelSpec(None, (output,), (tokens, mask))


def _tokens(module: Any) -> Any:
    """Return a module that takes the tokens and the mask, in this order."""
    from torch import Tensor, nn

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
            answer = self.network(input_ids=input_ids, attention_mask=attention_mask)
            return {"logits": answer.logits}

    return Tokens().eval()
