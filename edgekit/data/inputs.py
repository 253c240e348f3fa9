"""What artifacts take from a place: images, or samples of their inputs. Without a place: some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.data.images import ImageSet, open_images
from edgekit.data.sample_images import sample_images
from edgekit.data.samples import as_files, noise_samples, read_samples
from edgekit.errors import UserError

SAMPLES = 24
"""Inputs to rotate over, where a network takes no image."""


def inputs_of(place: str | Path | None, artifacts: Sequence[Artifact]) -> ImageSet:
    """Return what artifacts take from `place`: images, or samples of their inputs.

    Where none are given: crops of the sample picture, or noise. Raises UserError for artifacts
    that do not take the same inputs.
    """
    taken = {
        (a.manifest.input, a.manifest.tensors) if a.manifest.tensors else () for a in artifacts
    }
    if len(taken) > 1:
        raise UserError("these artifacts take different inputs: give those of one model at a time")
    if taken <= {()}:
        return sample_images() if place is None else open_images(Path(place))
    manifest = artifacts[0].manifest
    if place is None:
        return as_files(noise_samples(manifest.input, manifest.tensors, SAMPLES))
    held = read_samples(Path(place), manifest.input, manifest.tensors)
    return as_files(held.values[:SAMPLES])
