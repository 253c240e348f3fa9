"""From a recipe and a folder of images to seeded, hashed calibration samples, with a linter."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.artifact import CalibrationRecord
from edgekit.data.images import ImageSet, content_hash, decode_image, open_images
from edgekit.data.samples import Samples as SampleFiles
from edgekit.errors import BadData, did_you_mean
from edgekit.paths import shelf
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["minmax", "entropy", "percentile"]
DATA_FREE = "data-free"
ENOUGH_SAMPLES = 32
"""Below this many the linter warns: ranges of rare activations are then seen by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How calibration samples are chosen and what the quantizer does with them.

    `pick`: `random` by `seed`, `first` by name, or `synthesise` from the model's batch-norm
    statistics in `steps` optimiser steps, without data.
    """

    samples: int
    pick: Literal["random", "first", "synthesise"]
    seed: int
    method: Method
    steps: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """Decoded calibration images, uint8 N×H×W×C, each file's hash and the linter's say."""

    pixels: NDArray[np.uint8]
    hashes: tuple[str, ...]
    warnings: tuple[str, ...]


def recipe_names() -> list[str]:
    """Return the names of the recipes on the shelf."""
    return sorted(path.stem for path in shelf("calibration").glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Return a recipe from the shelf by name, or from a TOML file by path; BadData otherwise."""
    from edgekit.toml_files import read_toml

    path = Path(name) if name.endswith(".toml") else shelf("calibration") / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise BadData(
                f"no calibration recipe at {path}: give one of {recipe_names()} or a file"
            )
        raise BadData(did_you_mean("calibration recipe", name, recipe_names()))
    remedy = "calibration/default.toml shows the shape of a recipe"
    recipe = read_toml(path, Recipe, error=BadData, remedy=remedy)
    if recipe.samples < 1:
        raise BadData(f"calibration recipe {path}: samples must be 1 or more")
    return replace(recipe, name=path.stem)


def choose(images: ImageSet, recipe: Recipe) -> tuple[str, ...]:
    """Return the names a recipe picks from `images`, in the order they are used."""
    if recipe.pick == "first" or len(images.names) <= recipe.samples:
        return images.names[: recipe.samples]
    return tuple(random.Random(recipe.seed).sample(images.names, recipe.samples))


def load_samples(
    path: Path,
    recipe: Recipe,
    spec: InputSpec,
    evaluation: Collection[str] = (),
    find: bool = False,
) -> Samples:
    """Return the decoded samples a recipe picks from the images at `path`.

    `evaluation`: content hashes of the evaluation set, for the linter. With `find` a sample is the
    largest face of its picture. A picked file that cannot be decoded, or shows none, is named in a
    warning and left out; BadData where none is left.
    """
    import numpy as np

    images = open_images(path)
    pixels, hashes, broken = [], [], []
    for name in choose(images, recipe):
        data = images.read(name)
        try:
            decoded = decode_image(data, spec, find)
        except (OSError, ValueError) as error:
            broken.append(f"{name} ({error})")
            continue
        pixels.append(decoded)
        hashes.append(content_hash(data))
    if not pixels:
        raise BadData(f"none of the images picked from {path} can be decoded: {broken[0]}")
    stacked = np.stack(pixels)
    warnings = lint(stacked, hashes, evaluation)
    if broken:
        what = "cannot be decoded or show no face" if find else "cannot be decoded"
        warnings += (f"{len(broken)} images {what}, the first {broken[0]}: remove them",)
    return Samples(stacked, tuple(hashes), warnings)


def choose_samples(held: SampleFiles, recipe: Recipe) -> tuple[SampleFiles, CalibrationRecord]:
    """Return the samples that a recipe picks of arrays, and what the manifest says of them."""
    places = list(range(len(held.values)))
    if recipe.pick != "first" and len(places) > recipe.samples:
        places = random.Random(recipe.seed).sample(places, recipe.samples)
    places = places[: recipe.samples]
    hashes = tuple(held.hashes[place] for place in places)
    warnings: tuple[str, ...] = ()
    if len(places) < ENOUGH_SAMPLES:
        warnings = (f"only {len(places)} samples: give {ENOUGH_SAMPLES} or more, 128 by default",)
    record = CalibrationRecord(
        recipe=recipe.name,
        method=recipe.method,
        seed=recipe.seed,
        data_free=False,
        samples=hashes,
        warnings=warnings,
    )
    return SampleFiles(tuple(held.values[place] for place in places), hashes), record


def lint(
    pixels: NDArray[np.uint8], hashes: Collection[str], evaluation: Collection[str] = ()
) -> tuple[str, ...]:
    """Return one warning, with its remedy, for each thing wrong with calibration samples.

    `pixels` is uint8 N×H×W×C; `hashes` the files' content hashes, in the same order.
    """
    warnings = []
    count = len(pixels)
    if count < ENOUGH_SAMPLES:
        warnings.append(f"only {count} samples: give {ENOUGH_SAMPLES} or more, 128 by default")
    repeated = count - len(set(hashes))
    if repeated:
        warnings.append(f"{repeated} of {count} samples are byte-for-byte duplicates: remove them")
    flat = pixels.reshape(count, -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    constant = int((high - low <= 2).sum())
    if constant:
        warnings.append(f"{constant} of {count} samples are one flat colour: remove them")
    saturated = int((((flat == 0) | (flat == 255)).mean(axis=1) > 0.5).sum()) - constant
    if saturated > 0:
        warnings.append(f"{saturated} of {count} samples are over half black or white: check them")
    if high.max() <= 1 < count:
        warnings.append("all pixels are 0 or 1: the files were written as [0, 1], save 0 to 255")
    elif high.max() < 64:
        warnings.append(f"no pixel is above {high.max()}: a wrong pixel range? save 0 to 255")
    overlap = len(set(hashes) & set(evaluation))
    if overlap:
        warnings.append(
            f"{overlap} of {count} samples are also in the evaluation set: "
            "its accuracy would flatter; calibrate on the training split"
        )
    return tuple(warnings)
