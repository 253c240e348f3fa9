"""The file of a board's constants: readable JSON, with the command that made it and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from edgekit.latency_model import coefficient_files
from edgekit.latency_model.analytic.coefficients import rounded
from edgekit.latency_model.anchoring import Anchoring
from edgekit.latency_model.executed.model import TERMS, Vector

# 1: the first. 2: form, errors of left-out families, intervals of kernels without rows, anchors.
# 3: what packing weights costs.
SCHEMA = 3
_REMEDY = "install edgekit again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Constants:
    """One board's constants in TERMS' units, and what they were fitted to.

    `counts` is the SHA-256 of the counts (executed/BOARD.json), `form` one of model.FORMS. By
    `kernels kind` (`xnnpack float`): `off` is the median log(measured / predicted without its
    family), `mape` the mean error of left-out families, `covered` the share of them that the
    intervals held, `threads` the counts that rows have. By kind: `half` is the half-width of the
    log interval, `half_foreign` that of kernels without rows.
    """

    board: str
    core: str
    counts: str
    kernels: tuple[str, ...]
    rows: int
    models: int
    families: tuple[str, ...]
    constants: dict[str, float]
    form: str
    off: dict[str, float]
    half: dict[str, float]
    half_foreign: dict[str, float]
    mape: dict[str, float]
    covered: dict[str, float]
    threads: dict[str, tuple[int, ...]]
    anchored: tuple[Anchoring, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutedCoefficients:
    """All the executed predictor knows. `evidence` is the SHA-256 of the rows it was fitted to."""

    command: str
    evidence: str
    coverage: float
    units: dict[str, str]
    boards: tuple[Constants, ...]
    schema: int = SCHEMA


def save(coefficients: ExecutedCoefficients, path: Path) -> None:
    """Write the file whole."""
    coefficient_files.save(coefficients, path)


def load(path: Path) -> ExecutedCoefficients:
    """Return the constants in `path`. Raises UserError in one line where they are damaged."""
    found = coefficient_files.load(path, ExecutedCoefficients, SCHEMA, _REMEDY)
    for board in found.boards:
        widths = (board.half, board.half_foreign)
        values = (*board.constants.values(), *(half for each in widths for half in each.values()))
        if set(board.constants) != set(TERMS) or any(set(w) != {"float", "int8"} for w in widths):
            raise coefficient_files.damaged(
                path, f"{board.board} has other constants than {', '.join(TERMS)}", _REMEDY
            )
        if not all(isfinite(value) and value >= 0 for value in values):
            reason = f"{board.board} has a constant that is no cost"
            raise coefficient_files.damaged(path, reason, _REMEDY)
    return found


def by_term(constants: Vector) -> dict[str, float]:
    """Return constants under their names, to four digits."""
    return {name: rounded(value) for name, value in zip(TERMS, constants, strict=True)}


def in_order(constants: Mapping[str, float]) -> Vector:
    """Return named constants as the vector that `terms` is multiplied with."""
    return np.array([constants[name] for name in TERMS])
