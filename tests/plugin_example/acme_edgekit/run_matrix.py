"""Runs matrix artifacts: edgekit's runner with one runtime more.

python -m acme_edgekit.run_matrix JOB.json
"""

from __future__ import annotations

import sys

import numpy as np

from edgekit.onboard import runner


def load_matrix(model, manifest, threads):
    """Load a .npz; two NumPy operations an output."""
    with np.load(model, allow_pickle=False) as saved:
        parts = [(saved[f"matrix{n}"], saved[f"bias{n}"]) for n in range(len(saved.files) // 2)]

    def invoke(tensor):
        flat = tensor.reshape(1, -1).astype(np.float64)
        return [(flat @ matrix + bias).astype(np.float32) for matrix, bias in parts]

    return invoke


LOADERS = {"matrix": load_matrix}

if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], {**runner.RUNTIMES, **LOADERS}))
