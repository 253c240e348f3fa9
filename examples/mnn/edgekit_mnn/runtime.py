"""Runs MNN artifacts: edgekit's runner with one runtime more.

python -m edgekit_mnn.runtime JOB.json
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from edgekit.onboard import runner


def load_mnn(model: str, manifest: dict[str, Any], threads: int) -> runner.Invoke:
    """Load a .mnn file on the CPU, in float32. MNN raises SystemError where it cannot."""
    from MNN import expr, nn

    # MNN's "normal" precision computes in half precision where a CPU has it.
    manager = nn.create_runtime_manager(
        ({"backend": "CPU", "precision": "high", "numThread": threads},)
    )
    names = [output["name"] for output in manifest["outputs"]]
    network = nn.load_module_from_file(
        model, runner.input_names(manifest), names, runtime_manager=manager, shape_mutable=False
    )
    kinds = {"uint8": expr.uint8, "float32": expr.float}

    def invoke(tensor: np.ndarray) -> list[np.ndarray]:
        kind = kinds[str(tensor.dtype)]
        # NCHW tells MNN to leave the axes as they are.
        given = expr.const(np.ascontiguousarray(tensor), list(tensor.shape), expr.NCHW, kind)
        return [np.array(value.read()) for value in network.forward([given])]

    return invoke


LOADERS = {"mnn": load_mnn}
runner.DISTRIBUTIONS["mnn"] = "MNN"

if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], {**runner.RUNTIMES, **LOADERS}))
