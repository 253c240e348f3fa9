"""What an artifact is given of a dataset: pixels of its images, or arrays of its samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from edgekit.artifact import Manifest
from edgekit.data import Dataset
from edgekit.data.decoded import centre, decode_readable, frame_of, subject_frame_of
from edgekit.onboard import runner


@dataclass(frozen=True)
class Given:
    """The readable samples of a dataset and what is fed of each; why each other is not one.

    `values` are pixels, uint8 N×H×W×C, or a list of arrays by input name.
    """

    dataset: Dataset
    values: Any
    broken: dict[str, str]


def read_inputs(dataset: Dataset, manifest: Manifest, find_subject: bool) -> Given:
    """Return what an artifact is given of every sample that can be read."""
    if manifest.tensors:
        return _arrays(dataset, manifest)
    frame = subject_frame_of if find_subject else frame_of
    images = decode_readable(dataset, frame(manifest.image), workers=1)
    readable = replace(dataset, samples=images.samples)
    return Given(readable, centre(images.pixels, manifest.image), dict.fromkeys(images.broken, ""))


def _arrays(dataset: Dataset, manifest: Manifest) -> Given:
    contract = {
        "input": msgspec.to_builtins(manifest.input),
        "tensors": msgspec.to_builtins(manifest.tensors),
    }
    readable, values = [], []
    broken: dict[str, str] = {}
    for sample in dataset.samples:
        try:
            data = dataset.read(sample)
            if hashlib.sha256(data).hexdigest() != sample.sha256:
                raise ValueError("it is not the file its hash was taken of: start again")
            held = runner.read_samples(data, contract)
            if len(held) > 1:
                raise ValueError(f"it holds {len(held)} samples: give one a file, or one .npz file")
        except (OSError, ValueError) as error:
            broken[sample.name] = " ".join(str(error).split())
            continue
        readable.append(sample)
        values += held
    return Given(replace(dataset, samples=tuple(readable)), values, broken)
