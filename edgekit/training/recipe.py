"""How a network is trained: every choice, those the papers state and those they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgekit.errors import BadData, did_you_mean

Count = Annotated[int, Meta(ge=1)]
Part = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to a training image; each is drawn anew for every image of every batch.

    `zoom`, `stretch` (of width against height) and `shift` are shares of the side, `rotate` is in
    degrees, each drawn evenly between minus and plus the value. `wider` lets the frame grow by
    more than `zoom`, up to this share. `light`, `contrast` and `colour` scale by up to 1 ± the
    value. The rest are chances: `grey` of losing all colour, `erase` of a square hole of a tenth
    to a third of the side, `blur` of a Gaussian of up to two pixels, `coarse` of being scaled down
    to 0.4 to 0.9 of the side and up again, `jpeg` of being saved at a quality of 20 to 80. The
    defaults are mirroring and shifts.
    """

    mirror: bool = True
    zoom: Part = 0.0
    wider: Part = 0.0
    stretch: Part = 0.0
    shift: Part = 0.06
    rotate: Annotated[float, Meta(ge=0, le=180)] = 0.0
    light: Part = 0.0
    contrast: Part = 0.0
    colour: Part = 0.0
    grey: Part = 0.0
    erase: Part = 0.0
    blur: Part = 0.0
    coarse: Part = 0.0
    jpeg: Part = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The defaults are the paper's for multitask-cnn: Adam 1e-3, batch 32, L2 1e-3 [paper].

    It does not state epochs, schedule, augmentation or target scaling; those defaults are ours.

    - `weight_decay` is on weight matrices and kernels, not on biases or normalisation.
    - `schedule` after `warmup` epochs of linear rise: `constant`, `cosine` to nothing, or `step`
      (a tenth after each third).
    - `balance` weighs a class by (1 / its share) to this power: 0 not at all, 1 fully.
    - `smoothing` is the probability spread over all classes of a classification target.
    - `age_softness` above 0 makes age targets a normal distribution around the true age, with
      standard deviation 0.5 + `age_softness` × years, cut at the middles of the gaps between
      groups. Images whose age is in no group then train too, weighed by `between_weight`.
    - `average` is the decay per step of the running mean of the weights that is kept as the
      result; 0 keeps the last weights.
    - `refit` ends by fitting each regression's scale and offset to the validation side's decisions.
    - `margin` decodes training images larger than the network's input by this share, so that
      turned and zoomed samples stay as sharp as the plainly decoded ones.
    - `dropout`, where given, is the chance of every dropout layer instead of the network's own.
    - `patience` ends a run after so many epochs without a better validation score; 0: never.
    - `stop` ends a run after that epoch of its schedule, for weights that another run begins from;
      0: at its end.
    - `teacher_share` is the part of a target that teachers give (`--teacher`), the labels the rest;
      `teacher_views` are how many changed copies of an image a teacher's answer is the mean of.
    """

    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: Part = 1e-3
    batch: Count = 32
    epochs: Count = 40
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: Annotated[int, Meta(ge=0)] = 1
    balance: Part = 0.0
    smoothing: Part = 0.0
    age_softness: Part = 0.0
    between_weight: Part = 0.0
    average: Part = 0.0
    refit: bool = False
    margin: Part = 0.0
    bfloat16: bool = False
    dropout: Part | None = None
    patience: Annotated[int, Meta(ge=0)] = 0
    stop: Annotated[int, Meta(ge=0)] = 0
    teacher_share: Part = 0.7
    teacher_views: Count = 4
    augmentation: Augmentation = field(default_factory=Augmentation)


STRONG = Recipe(
    optimiser="adamw",
    learning_rate=3e-3,
    weight_decay=0.02,
    batch=64,
    epochs=40,
    warmup=1,
    balance=0.4,
    smoothing=0.01,
    age_softness=0.025,
    between_weight=0.25,
    average=0.998,
    refit=True,
    margin=0.25,
    bfloat16=True,
    augmentation=Augmentation(
        zoom=0.08, stretch=0.04, shift=0.05, rotate=6.0, light=0.1, contrast=0.1, colour=0.15
    ),
)
"""Ours, with which the shipped weights are trained."""

FRAMED = replace(
    STRONG,
    epochs=45,
    dropout=0.0,
    augmentation=Augmentation(
        zoom=0.2,
        wider=0.45,
        stretch=0.06,
        shift=0.1,
        rotate=12.0,
        light=0.2,
        contrast=0.2,
        colour=0.3,
        grey=0.1,
        erase=0.15,
        blur=0.1,
        coarse=0.1,
        jpeg=0.15,
    ),
)
"""Ours for faces that are framed as a detector happens to: wide zooms and shifts, lossy pictures,
and no dropout, since with these a small network does not learn its images by heart."""

LEVI_HASSNER = Recipe(
    optimiser="sgd", weight_decay=5e-4, batch=50, epochs=150, schedule="step", warmup=0
)
"""adiencenet's own: SGD, momentum 0.9, 1e-3, batch 50, crops and mirroring; about 50,000 steps
on Adience [code L]."""

RECIPES = {"paper": Recipe(), "strong": STRONG, "framed": FRAMED, "levi-hassner": LEVI_HASSNER}

DEFAULTS = {
    "adiencenet": "levi-hassner",
    "caffenet": "levi-hassner",
    "googlenet": "levi-hassner",
    "vgg16": "levi-hassner",
}
"""The systems whose default recipe is not `paper`."""


def default_recipe(system: str) -> str:
    """Return the name of the recipe that a system's own source describes."""
    return DEFAULTS.get(system, "paper")


def adjusted(name: str, changes: Sequence[str]) -> Recipe:
    """Return a recipe with `FIELD=VALUE` changes, for example `epochs=30` or
    `augmentation.zoom=0.2`.

    Raises BadData for an unknown recipe or field and for a value that does not fit.
    """
    if name not in RECIPES:
        raise BadData(did_you_mean("recipe", name, list(RECIPES)))
    content: dict[str, Any] = asdict(RECIPES[name])
    for change in changes:
        key, equals, value = change.partition("=")
        *parents, last = key.split(".")
        level = content.get(parents[0], {}) if parents else content
        if not equals or len(parents) > 1 or not isinstance(level, dict) or last not in level:
            known = ", ".join(content)
            raise BadData(f"'{change}' is not FIELD=VALUE of a recipe: the fields are {known}")
        level[last] = value
    try:
        return msgspec.convert(content, Recipe, strict=False)
    except msgspec.ValidationError as error:
        raise BadData(f"recipe {name} with {' '.join(changes)}: {error}") from error
