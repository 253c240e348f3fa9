"""Runs matrix artifacts: edgekit's runner with one runtime more.

python -m acme_edgekit.run_matrix JOB.json
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.onboard import runner

Invoke = Callable[[np.ndarray], list[np.ndarray]]


def load_matrix(model: str, manifest: dict[str, Any], threads: int) -> Invoke:
    """Load a .npz; two NumPy operations an output."""
    with np.load(model, allow_pickle=False) as saved:
        parts = [(saved[f"matrix{n}"], saved[f"bias{n}"]) for n in range(len(saved.files) // 2)]

    def invoke(tensor: np.ndarray) -> list[np.ndarray]:
        flat = tensor.reshape(1, -1).astype(np.float64)
        return [(flat @ matrix + bias).astype(np.float32) for matrix, bias in parts]

    return invoke


LOADERS = {"matrix": load_matrix}

if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], {**runner.RUNTIMES, **LOADERS}))
