"""The file of a board's constants: readable JSON, with the command that made it and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from edgekit.latency_model import coefficient_files
from edgekit.latency_model.analytic.coefficients import rounded
from edgekit.latency_model.executed.model import TERMS, Vector

# 1: the first.
SCHEMA = 1
_REMEDY = "install edgekit again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Constants:
    """One board's constants in TERMS' units, and what they were fitted to.

    `counts` is the SHA-256 of the counts (executed/BOARD.json). `off` is the median log(measured /
    predicted without its family) by `kernels kind` (`xnnpack float`), `half` the half-width of the
    log interval by kind, `float` or `int8`.
    """

    board: str
    core: str
    counts: str
    kernels: tuple[str, ...]
    rows: int
    models: int
    families: tuple[str, ...]
    constants: dict[str, float]
    off: dict[str, float]
    half: dict[str, float]


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
        values = (*board.constants.values(), *board.half.values())
        if set(board.constants) != set(TERMS) or set(board.half) != {"float", "int8"}:
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
