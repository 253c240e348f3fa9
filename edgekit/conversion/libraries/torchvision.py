"""`torchvision:NAME`: a classifier, a segmentation network, or an SSD of torchvision."""

from __future__ import annotations

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
from edgekit.errors import BadModel, did_you_mean
from edgekit.spec import Boxes, InputSpec, ModelSpec, OutputSpec

PACKAGES = ("torchvision",)
OTHER_TASKS = {
    "video": "videos", "optical_flow": "optical flow", "quantization": "its own quantization",
}  # fmt: skip
"""What the networks of its other packages are for."""


def load(wanted: Wanted) -> Found:
    """Return torchvision's network, with the transforms and categories of its default weights."""
    import torch
    from torchvision import models

    if wanted.name not in models.list_models():
        raise BadModel(did_you_mean("torchvision network", wanted.name, models.list_models()))
    known = list(models.get_model_weights(wanted.name))
    if not known:
        raise BadModel(f"torchvision does not say what {wanted.name} takes: give --spec")
    default = models.get_model_weights(wanted.name).DEFAULT
    torch.manual_seed(wanted.seed)
    fetch = wanted.download and wanted.weights is None
    options: dict[str, Any] = {"weights": default if fetch else None}
    task = models.get_model_builder(wanted.name).__module__.split(".")[2]
    if task in OTHER_TASKS:
        raise BadModel(
            f"{wanted.name} is one of torchvision's networks for {OTHER_TASKS[task]}, of which "
            "edgekit knows no input: write a function that returns it, and a --spec"
        )
    if task == "detection":
        options["weights_backbone"] = None
        options["num_classes"] = len(default.meta["categories"])
    if task == "segmentation":
        options |= {"weights_backbone": None, "num_classes": len(default.meta["categories"])}
        options["aux_loss"] = True if "aux" in wanted.name or "deeplab" in wanted.name else None
    module = models.get_model(wanted.name, **options)
    labels = tuple(default.meta["categories"])
    count = own_classes(module, wanted)
    if count is not None:
        module = models.get_model(wanted.name, **{**options, "num_classes": count})
        labels = numbered_labels(count)
    found = "trained" if fetch else place_weights(module, wanted)
    module.eval()
    if task == "detection":
        module, spec = _detector(wanted.name, module, labels)
    else:
        output = OutputSpec("label", "classification", labels)
        if task == "segmentation":
            output = OutputSpec("out", "segmentation", labels, path="out")
        spec = ModelSpec(input_of(default.transforms()), (output,))
    notes = () if count is None else (own_note(count),)
    return Found(module=module, spec=spec, weights=cast(Any, found), notes=notes)


def input_of(preset: Any) -> InputSpec:
    """Return what torchvision's transforms do, for pictures of one size."""
    resize = preset.resize_size[0]
    side = preset.crop_size[0] if hasattr(preset, "crop_size") else resize
    filter = preset.interpolation.value
    if filter not in {"bilinear", "bicubic"}:
        raise BadModel(f"it is resized by {filter}: give --spec with another filter")
    return InputSpec(
        side,
        side,
        mean=pixels(preset.mean),
        std=pixels(preset.std),
        resize_to=resize,
        fit="crop",
        filter=cast(Literal["bilinear", "bicubic"], filter),
    )


def _detector(name: str, module: Any, labels: tuple[str, ...]) -> tuple[Any, ModelSpec]:
    """Return an SSD as boxes and scores before its suppression, which the runner does."""
    from torchvision.models.detection.ssd import SSD

    if not isinstance(module, SSD):
        raise BadModel(
            f"{name} answers lists of any length: of torchvision's detectors edgekit takes ssd "
            "and ssdlite"
        )
    height, width = module.transform.fixed_size[::-1]
    frame = InputSpec(
        height,
        width,
        mean=pixels(module.transform.image_mean),
        std=pixels(module.transform.image_std),
    )
    boxes = Boxes(format="xyxy", output="boxes", background=0, overlap=module.nms_thresh)
    output = OutputSpec("scores", "detection", labels, path="scores", boxes=boxes)
    return split_ssd(module, frame), ModelSpec(frame, (OutputSpec("boxes", path="boxes"), output))


def split_ssd(module: Any, frame: InputSpec) -> Any:
    """Return a module that answers an SSD's boxes in pixels and its scores, of one image."""
    import torch
    from torch import Tensor, nn
    from torchvision.models.detection.image_list import ImageList

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = module.backbone, module.head
            empty = torch.zeros(1, 3, frame.height, frame.width)
            with torch.no_grad():
                features = list(module.backbone(empty).values())
                sizes = [(frame.height, frame.width)]
                (anchors,) = module.anchor_generator(ImageList(empty, sizes), features)
            sides = anchors[:, 2:] - anchors[:, :2]
            self.register_buffer("sides", sides)
            self.register_buffer("centres", anchors[:, :2] + sides / 2)
            weights = torch.tensor(module.box_coder.weights)
            self.register_buffer("weights", weights)
            self.largest = float(module.box_coder.bbox_xform_clip)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            answer = self.head(list(self.backbone(image).values()))
            offsets = answer["bbox_regression"] / self.weights
            centres = offsets[..., :2] * self.sides + self.centres
            halves = offsets[..., 2:].clamp(max=self.largest).exp() * self.sides / 2
            boxes = torch.cat([centres - halves, centres + halves], -1)
            return {"boxes": boxes, "scores": answer["cls_logits"]}

    return Split().eval()
