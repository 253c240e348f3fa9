"""Random changes to a whole batch of training images at once, on the pixels."""

from __future__ import annotations

import math

import torch
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
    the input. Draws come from torch's default generator.
    """
    images = pixels.permute(0, 3, 1, 2).float()
    cut = spec.fit == "stretch" and spec.resize_to is not None
    field = spec.height / spec.resize_to if cut and spec.resize_to else 1.0
    images = _warp(images, (spec.height, spec.width), field, how)
    images = _colour(images, how)
    return _erase(images, how.erase) if how.erase else images


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """Return what the network takes from images (N, C, H, W) in pixel units, RGB or grey."""
    ordered = images.flip(1) if spec.colour == "BGR" else images
    mean = torch.tensor(spec.mean).view(1, -1, 1, 1)
    std = torch.tensor(spec.std).view(1, -1, 1, 1)
    return (ordered - mean) / std


def plain(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return decoded frames uint8 (N, H, W, C) as they are evaluated: the centre, unchanged."""
    return centre(pixels, spec).permute(0, 3, 1, 2).float()


def _even(count: int, extent: float) -> Tensor:
    """Return `count` draws, even between -extent and extent."""
    return (torch.rand(count) * 2 - 1) * extent


def _warp(images: Tensor, size: tuple[int, int], field: float, how: Augmentation) -> Tensor:
    """Mirror, zoom, stretch, turn and shift in one resampling; edges repeat."""
    count = len(images)
    zoom = field * (1 + _even(count, how.zoom))
    stretch = 1 + _even(count, how.stretch)
    angle = _even(count, math.radians(how.rotate))
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0) if how.mirror else torch.ones(count)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([cosine * stretch * flip, -sine, _even(count, 2 * how.shift)], 1),
        torch.stack([sine * stretch * flip, cosine, _even(count, 2 * how.shift)], 1),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, 1), [count, images.shape[1], *size], align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _colour(images: Tensor, how: Augmentation) -> Tensor:
    """Scale brightness, contrast and colour, and take all colour from some."""
    count, channels = images.shape[:2]
    scale = (count, 1, 1, 1)
    images = images * (1 + _even(count, how.light)).view(scale)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * (1 + _even(count, how.contrast)).view(scale)
    if channels == 3:
        colour = 1 + _even(count, how.colour)
        colour = torch.where(torch.rand(count) < how.grey, torch.zeros(()), colour)
        luma = (images * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        images = luma + (images - luma) * colour.view(scale)
    return images.clamp(0, 255)


def _erase(images: Tensor, chance: float) -> Tensor:
    """Fill a square hole of some images with mid-grey."""
    count, _, height, width = images.shape
    side = height * (0.1 + torch.rand(count) * 0.23)
    side = torch.where(torch.rand(count) < chance, side, torch.zeros(()))
    top, left = torch.rand(count) * height, torch.rand(count) * width
    rows = torch.arange(height).view(1, -1) + 0.5
    columns = torch.arange(width).view(1, -1) + 0.5
    inside_rows = (rows - top[:, None]).abs() < side[:, None] / 2
    inside_columns = (columns - left[:, None]).abs() < side[:, None] / 2
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images.masked_fill(hole, 127.5)
