"""cnn-elm: an extreme learning machine on the features of adiencenet, one network per task.

Source [reconstruction]: Duan, Li, Yang, Li, "A hybrid deep learning CNN-ELM for age and gender
classification", Neurocomputing 2018. Features are adiencenet's (pooling rounded up) through fc6
and its ReLU; a fixed random layer with a sigmoid; output weights without bias by ridge regression
on one-hot targets. 11,415,040 parameters for eight classes = 11,148,288 in conv1 to fc6, 262,656
in the fixed layer (512×512 weights, 512 biases), 4,096 output weights.

Guessed, [reconstruction]:
- 512 hidden nodes; with them the count agrees with the printed 11 M.
- the fixed weights are uniform in ±1 / √512 and its biases in ±1. The textbook's ±1 for both,
  on 512 features that are not scaled, would saturate every sigmoid.
- the original also back-propagates through the hybrid: not reproduced. Train adiencenet, load
  its `features` into this network's, then call `fit_readout`.

The outputs are regressed one-hot targets: their argmax is the decision, but they are not
log-probabilities, so a softmax of them is no calibrated confidence.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from edgekit.zoo.adiencenet import FEATURES, initialise_trunk, trunk
from edgekit.zoo.heads import single_or_pair

HIDDEN = 512
"""The number of hidden nodes, L."""


class CnnElm(nn.Module):
    """Images (N, 3, 227, 227) to a tuple of one (N, `classes`) tensor of scores.

    `hidden` and `readout` take no gradient; both are in the state and in the parameter count.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = trunk(ceil=True)
        self.hidden = nn.Linear(FEATURES, HIDDEN).requires_grad_(False)
        self.readout = nn.Linear(HIDDEN, classes, bias=False).requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the scores, (N, classes)."""
        return (self.readout(torch.sigmoid(self.hidden(self.features(image)))),)

    @torch.no_grad()
    def fit_readout(self, features: Tensor, labels: Tensor, ridge: float) -> None:
        """Set the output weights to the ridge regression of one-hot `labels`.

        Solves (HᵀH + ridge·I) B = HᵀT in double precision, where H (N, L) are the hidden
        activations of `features` (N, 512), the output of `self.features`, and T the one-hot
        targets of `labels` (N,), class indices. Raises ValueError unless `ridge` is above 0
        and there is one label for each row.
        """
        if not ridge > 0:
            raise ValueError(f"ridge must be above 0, not {ridge}")
        if features.shape != (len(labels), FEATURES):
            raise ValueError(f"{len(labels)} labels need ({len(labels)}, {FEATURES}) features")
        hidden = torch.sigmoid(self.hidden(features)).double()
        targets = nn.functional.one_hot(labels, self.readout.out_features).double()
        gram = hidden.T @ hidden + ridge * torch.eye(HIDDEN, dtype=torch.double)
        factor = torch.linalg.cholesky(gram)
        self.readout.weight.copy_(torch.cholesky_solve(hidden.T @ targets, factor).T)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, CnnElm):
        initialise_trunk(module.features)
        bound = 1 / sqrt(FEATURES)
        nn.init.uniform_(module.hidden.weight, -bound, bound)
        nn.init.uniform_(module.hidden.bias, -1, 1)
        nn.init.uniform_(module.readout.weight, -bound, bound)


def network(variant: str) -> nn.Module:
    """Return `age`, `gender` or `pair`, freshly initialised; the readout is not fitted."""
    return single_or_pair(variant, CnnElm, _initialise)
