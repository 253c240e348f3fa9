"""What an output means, one file a kind, named by its stem: the shape it has, how int8 is judged.

What a board needs of a kind, the answer it prints and the number it is judged by, is in
`onboard/runner.py` (DECIDERS, METRICS): a board has no more of edgekit than that file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


NEAR_TIE = 4 / 255
"""Scores closer than this share of the range of all scores are nearly tied: four of the 255 steps
that int8 has for the output. It is the model's own answer that is judged, not the artifact's, so
that no artifact gains by being far off."""


class Kind(Protocol):
    """One kind of output."""

    JUDGED_BY: Literal["decisions", "metric", "spread"]
    """What an int8 artifact is held to: equal decisions, the runner's metric of this kind, or the
    distance in units of the output's own spread (runner.Distances)."""
    LEAST: float
    """The least value of the metric that passes; 0 where there is none."""
    UNIT: str
    """What is written after the metric: '' or ' dB'."""
    SHARE: bool
    """Whether the metric is a share of 1, so that the guard can count its drop in points."""

    def shape_fault(self, output: OutputSpec, shape: tuple[int, ...]) -> str:
        """Return what shape is needed, where `shape` (of one image, batch 1) is none; else ''."""

    def parts_fault(self, output: OutputSpec, shapes: Mapping[str, tuple[int, ...]]) -> str:
        """Return why the outputs that this one is read with do not fit it, else ''.

        `shapes` are all outputs', by name. Asked only of an output with `parts`.
        """

    def score_part(self, output: OutputSpec, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the scores in an output's values, (N, …). Asked only of an output with `boxes`."""

    def decisions(self, values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64]:
        """Return the class index of each of N images, (N,); asked only of JUDGED_BY decisions."""

    def nearly_tied(
        self, values: NDArray[np.float32], other: NDArray[np.int64], output: OutputSpec
    ) -> NDArray[np.bool_]:
        """Tell for each image whether the model's `values` all but decide `other`, (N,).

        That is: `other` is behind the model's own decision by NEAR_TIE of the range at most.
        Asked only of JUDGED_BY decisions.
        """


def kind_names() -> list[str]:
    """Return the name of every kind."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def kind_of(output: OutputSpec) -> Kind:
    """Return the kind that an output is declared as."""
    return cast(Kind, importlib.import_module(f"edgekit.kinds.{output.kind}"))
