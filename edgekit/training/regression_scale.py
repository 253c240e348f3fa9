"""The last step of a regression: its scale and offset, fitted to the decisions they lead to."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.data.dataset import Dataset
from edgekit.data.decoded import Decoded
from edgekit.evaluation.scores import exact_percent
from edgekit.outputs import decisions
from edgekit.spec import ModelSpec, OutputSpec
from edgekit.training.inference import predict
from edgekit.zoo.heads import JointHeads

SCALES = np.linspace(0.8, 1.5, 71)
OFFSETS = np.linspace(-1.5, 1.5, 61)


def refit_scales(network: nn.Module, spec: ModelSpec, validation: Decoded) -> None:
    """Fold into each regression head the scale and offset that the validation side scores best.

    Squared error draws the ends of a scale towards its middle: an answer of 6.3 for most people of
    class 7 costs it little and the decision everything. Networks without regression stay as they
    are.
    """
    values = predict(network, spec, validation.pixels)
    for heads in (layer for layer in network.modules() if isinstance(layer, JointHeads)):
        for output in spec.outputs:
            if output.kind == "regression":
                scale, offset = best_scale(values[output.name], validation.dataset, output)
                head: nn.Linear = heads.get_submodule(output.name)  # type: ignore[assignment]
                with torch.no_grad():
                    head.weight.mul_(scale)
                    head.bias.mul_(scale).add_(offset)


def best_scale(values: Tensor, dataset: Dataset, output: OutputSpec) -> tuple[float, float]:
    """Return the scale and offset of `values` (N, 1) with the most exact decisions.

    Of equally good pairs it is the one in the middle of them, by scale and then by offset: the
    edge of a plateau holds by chance.
    """
    known = dataset.take(output.name)
    answers: NDArray[np.float32] = values.numpy()
    found: dict[float, list[tuple[float, float]]] = {}
    for scale in SCALES:
        for offset in OFFSETS:
            decided = decisions((answers * scale + offset).astype(np.float32), output)
            assert decided is not None
            found.setdefault(exact_percent(decided, known), []).append((scale, offset))
    best = sorted(found[max(found)])
    return best[len(best) // 2]
