"""`timm:NAME`: an image classifier of timm, or its features where it has no classes."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

from edgekit.conversion.libraries import (
    Found,
    Wanted,
    numbered_labels,
    own_classes,
    own_note,
    pixels,
    place_weights,
)
from edgekit.errors import BadModel, did_you_mean, first_line
from edgekit.spec import InputSpec, ModelSpec, OutputSpec

PACKAGES = ("timm",)


def load(wanted: Wanted) -> Found:
    """Return timm's network, with the input that timm evaluates it on."""
    import timm
    import torch
    from timm.data import resolve_data_config

    base = wanted.name.partition(".")[0]
    if base not in timm.list_models():
        raise BadModel(did_you_mean("timm network", base, timm.list_models()))
    torch.manual_seed(wanted.seed)
    fetch = wanted.download and wanted.weights is None
    try:
        module = timm.create_model(wanted.name, pretrained=fetch)
    except RuntimeError as error:  # a tag that it does not know, or nothing fetched
        raise BadModel(first_line(error)) from None
    count = own_classes(module, wanted)
    if count is not None:
        module = timm.create_model(wanted.name, num_classes=count)
    weights = "trained" if fetch else None
    found = weights or place_weights(module, wanted)
    spec = ModelSpec(input_of(resolve_data_config({}, model=module)), (output_of(module),))
    notes = () if count is None else (own_note(count),)
    return Found(module=module, spec=spec, weights=cast(Any, found), notes=notes)


def input_of(config: dict[str, Any]) -> InputSpec:
    """Return a data configuration of timm's as an input. Raises BadModel for what has no words."""
    channels, height, width = config["input_size"]
    if config["interpolation"] not in {"bilinear", "bicubic", "random"}:
        raise BadModel(f"it is resized by {config['interpolation']}: give --spec with another")
    if channels not in {1, 3}:
        raise BadModel(f"it takes {channels} channels: give --spec with its inputs as tensors")
    filter: Literal["bilinear", "bicubic"] = (
        "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    )
    squashed = config["crop_mode"] == "squash"
    side = math.floor(max(height, width) / config["crop_pct"])
    return InputSpec(
        height,
        width,
        mean=pixels(config["mean"]),
        std=pixels(config["std"]),
        colour="RGB" if channels == 3 else "GREY",
        resize_to=side,
        fit="stretch" if squashed else "crop",
        filter=filter,
    )


def output_of(module: Any) -> OutputSpec:
    """Return the classes of a network, by name where timm knows them, or its features."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    count = int(module.num_classes)
    if count < 2:
        return OutputSpec("features", "embedding")
    subset = infer_imagenet_subset(module)
    if subset is None:
        return OutputSpec("label", "classification", numbered_labels(count))
    names = ImageNetInfo(subset)
    labels = tuple(str(names.index_to_description(index)) for index in range(count))
    return OutputSpec("label", "classification", labels)
