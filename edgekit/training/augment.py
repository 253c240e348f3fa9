"""Random changes to a whole batch of training images at once, on the pixels."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from edgekit.data.decoded import centre
from edgekit.spec import InputSpec
from edgekit.training.recipe import Augmentation

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue in brightness, as JPEG uses them."""


def augment(pixels: Tensor, spec: InputSpec, how: Augmentation) -> Tensor:
    """Return changed images (N, C, height, width), float32, 0 to 255, RGB or grey.

    `pixels` is uint8 (N, H, W, C): the whole decoded frame, of `spec.resize_to` or larger than
    the input. Draws come from the default generator of the pixels' device.
    """
    images = pixels.permute(0, 3, 1, 2).float()
    cut = spec.fit == "stretch" and spec.resize_to is not None
    field = spec.height / spec.resize_to if cut and spec.resize_to else 1.0
    images = _warp(images, (spec.height, spec.width), field, how)
    images = _colour(images, how)
    for change, chance in ((_blur, how.blur), (_coarse, how.coarse), (_jpeg, how.jpeg)):
        if chance:
            chosen = (torch.rand(len(images), device=images.device) < chance).nonzero()[:, 0]
            if len(chosen):
                images[chosen] = change(images[chosen])
    return _erase(images, how.erase) if how.erase else images


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """Return what the network takes from images (N, C, H, W) in pixel units, RGB or grey."""
    ordered = images.flip(1) if spec.colour == "BGR" else images
    mean = torch.tensor(spec.mean, device=images.device).view(1, -1, 1, 1)
    std = torch.tensor(spec.std, device=images.device).view(1, -1, 1, 1)
    return (ordered - mean) / std


def plain(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return decoded frames uint8 (N, H, W, C) as they are evaluated: the centre, unchanged."""
    return centre(pixels, spec).permute(0, 3, 1, 2).float()


def _even(images: Tensor, extent: float) -> Tensor:
    """Return a draw for each image, even between -extent and extent."""
    return (torch.rand(len(images), device=images.device) * 2 - 1) * extent


def _warp(images: Tensor, size: tuple[int, int], field: float, how: Augmentation) -> Tensor:
    """Mirror, zoom, stretch, turn and shift in one resampling; edges repeat."""
    widest = max(how.zoom, how.wider)
    zoom = field * (1 + (widest - how.zoom) / 2 + _even(images, (widest + how.zoom) / 2))
    stretch = 1 + _even(images, how.stretch)
    angle = _even(images, math.radians(how.rotate))
    flip = torch.ones_like(angle)
    if how.mirror:
        flip = torch.where(torch.rand_like(angle) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([cosine * stretch * flip, -sine, _even(images, 2 * how.shift)], 1),
        torch.stack([sine * stretch * flip, cosine, _even(images, 2 * how.shift)], 1),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, 1), [len(images), images.shape[1], *size], align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _colour(images: Tensor, how: Augmentation) -> Tensor:
    """Scale brightness, contrast and colour, and take all colour from some."""
    count, channels = images.shape[:2]
    scale = (count, 1, 1, 1)
    images = images * (1 + _even(images, how.light)).view(scale)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * (1 + _even(images, how.contrast)).view(scale)
    if channels == 3:
        colour = 1 + _even(images, how.colour)
        colour = colour.masked_fill(torch.rand_like(colour) < how.grey, 0.0)
        weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
        luma = (images * weights).sum(1, keepdim=True)
        images = luma + (images - luma) * colour.view(scale)
    return images.clamp(0, 255)


def _blur(images: Tensor) -> Tensor:
    """Blur by one Gaussian of 0.4 to 2 pixels; edges repeat."""
    channels = images.shape[1]
    sigma = 0.4 + 1.6 * float(torch.rand(1, device=images.device))
    taps = torch.exp(-((torch.arange(-4, 5, device=images.device) / sigma) ** 2) / 2)
    taps = (taps / taps.sum()).view(1, 1, 9, 1).repeat(channels, 1, 1, 1)
    padded = functional.pad(images, (4, 4, 4, 4), mode="replicate")
    rows = functional.conv2d(padded, taps, groups=channels)
    return functional.conv2d(rows, taps.transpose(2, 3), groups=channels)


def _coarse(images: Tensor) -> Tensor:
    """Scale down to 0.4 to 0.9 of the side, by one draw, and up again."""
    size = list(images.shape[2:])
    part = 0.4 + 0.5 * float(torch.rand(1, device=images.device))
    small = [max(round(side * part), 1) for side in size]
    down = functional.interpolate(images, small, mode="bilinear", antialias=True)
    return functional.interpolate(down, size, mode="bilinear")


def _jpeg(images: Tensor) -> Tensor:
    """Save each image as JPEG, at a quality of 20 to 80, and read it again."""
    qualities = torch.randint(20, 81, (len(images),), device=images.device).tolist()
    pixels = images.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    read = np.stack([_resaved(one, q) for one, q in zip(pixels, qualities, strict=True)])
    return torch.from_numpy(read).to(images.device).permute(0, 3, 1, 2).float()


def _resaved(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.uint8).reshape(pixels.shape)


def _erase(images: Tensor, chance: float) -> Tensor:
    """Fill a square hole of some images with mid-grey."""
    count, _, height, width = images.shape
    on = images.device
    side = height * (0.1 + torch.rand(count, device=on) * 0.23)
    side = side.masked_fill(torch.rand(count, device=on) >= chance, 0.0)
    top, left = torch.rand(count, device=on) * height, torch.rand(count, device=on) * width
    rows = torch.arange(height, device=on).view(1, -1) + 0.5
    columns = torch.arange(width, device=on).view(1, -1) + 0.5
    inside_rows = (rows - top[:, None]).abs() < side[:, None] / 2
    inside_columns = (columns - left[:, None]).abs() < side[:, None] / 2
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images.masked_fill(hole, 127.5)
