"""A training run's checkpoint: everything the next epoch depends on, written whole.

It holds tensors, numbers and strings only, and is read with `weights_only=True`: nothing in it
can run.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import BadModel
from edgekit.files import write_whole

SCHEMA = 1


@dataclass(kw_only=True)
class Progress:
    """Where a run stands after `epoch` complete epochs.

    `history` has one row per epoch; `best` are the averaged weights of the epoch with the best
    validation score so far, `best_epoch` (from 1).
    """

    epoch: int
    step: int
    history: list[dict[str, float]]
    best: dict[str, Tensor]
    best_epoch: int
    best_score: float


def save_state(
    path: Path,
    run: str,
    network: nn.Module,
    averaged: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write a checkpoint, whole or not at all. `run` names the options; only they may resume it."""
    content = {
        "schema": SCHEMA,
        "run": run,
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load_state(
    path: Path,
    run: str,
    network: nn.Module,
    averaged: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    """Restore a checkpoint into the three and return where it stands.

    Raises BadModel for a damaged file and for one of a run with other options.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        matches = content["schema"] == SCHEMA and content["run"] == run
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, OSError) as error:
        raise BadModel(
            f"{path} is not a checkpoint that can be resumed ({type(error).__name__}): delete it"
        ) from error
    if not matches:
        raise BadModel(
            f"{path} belongs to a run with other options, data or versions: "
            "use another --output, or delete it"
        )
    network.load_state_dict(content["network"])
    averaged.load_state_dict(content["averaged"])
    optimiser.load_state_dict(content["optimiser"])
    return Progress(**content["progress"])
