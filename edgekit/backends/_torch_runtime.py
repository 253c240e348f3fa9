"""The reference row of a benchmark: the exported network in torch eager, run by the same runner.

    python -m edgekit.backends._torch_runtime JOB.json

Its artifact folder holds a manifest and `model.pt2`; torch is no runtime of the runner's own,
because no board has it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgekit.graph.pt2_files import load_pt2
from edgekit.onboard import runner

RUNTIME = "torch"


def load_torch(model: str, manifest: dict[str, Any], threads: int) -> runner.Invoke:
    """Load a .pt2 of the baked network; arithmetic in float32 on `threads` threads."""
    import torch

    torch.set_num_threads(threads)
    network = load_pt2(Path(model)).module()

    def invoke(tensor: Any) -> list[runner.Array]:
        given = tensor if isinstance(tensor, list) else [tensor]
        with torch.inference_mode():
            return [value.numpy() for value in network(*map(torch.from_numpy, given))]

    return invoke


LOADERS = {RUNTIME: load_torch}

if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], {**runner.RUNTIMES, **LOADERS}))
