"""The reference rows of a benchmark: what PyTorch alone gives, run by the same runner.

    python -m edgekit.backends._torch_runtime JOB.json

Its artifact folder holds a manifest and `model.pt2`, which three runtimes can take: eager PyTorch,
AOTInductor (PyTorch's compiler to C++) and ExecuTorch. The last two compile it when they load it,
so that no compiled code is ever taken from a folder. None is a runtime of the runner's own, because
no board has them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgekit.graph.pt2_files import load_pt2
from edgekit.onboard import runner

COMPILERS = ("g++", "c++", "clang++")
_INDUCTOR = {
    "freezing": True,  # weights packed once, as other runtimes do
    # Headers compiled for later are 280 MB. The first network would wait 8 s for them; each other
    # would be ready 1 to 3 s sooner.
    "aot_inductor.precompile_headers": False,
}


def load_torch(model: str, manifest: dict[str, Any], threads: int) -> runner.Invoke:
    """Load a .pt2 of the baked network; arithmetic in float32 on `threads` threads."""
    import torch

    torch.set_num_threads(threads)
    return _invoke(load_pt2(Path(model)).module())


def load_aotinductor(model: str, manifest: dict[str, Any], threads: int) -> runner.Invoke:
    """Compile a .pt2 of the baked network to a library for `threads` threads, and load that.

    Raises OSError where there is no C++ compiler.
    """
    if not any(map(shutil.which, COMPILERS)):
        raise OSError("aotinductor needs a C++ compiler: install g++")
    import torch
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    torch.set_num_threads(threads)  # the generated code has this number in it
    with tempfile.TemporaryDirectory() as folder:
        package = aoti_compile_and_package(
            load_pt2(Path(model)),
            package_path=str(Path(folder) / "model.pt2"),
            inductor_configs=_INDUCTOR,
        )
        return _invoke(aoti_load_package(package))


def load_executorch(model: str, manifest: dict[str, Any], threads: int) -> runner.Invoke:
    """Lower a .pt2 of the baked network to XNNPACK in float32; load it on `threads` threads."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    program = load_pt2(Path(model))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    _unsafe_reset_threadpool(threads)
    # The method reads the program and its bytes while it runs, and keeps neither alive.
    content = lowered.to_executorch().buffer
    loaded = Runtime.get().load_program(content)
    held = (content, loaded, loaded.load_method("forward"))
    return _invoke(lambda *given: held[-1].execute(given))


def _invoke(network: Callable[..., Sequence[Any]]) -> runner.Invoke:
    """Return the runner's call of a network that takes and answers tensors."""
    import torch

    def invoke(tensor: Any) -> list[runner.Array]:
        given = tensor if isinstance(tensor, list) else [tensor]
        with torch.inference_mode():
            return [value.numpy() for value in network(*map(torch.from_numpy, given))]

    return invoke


LOADERS: dict[str, runner.Loader] = {
    "torch": load_torch,
    "aotinductor": load_aotinductor,
    "executorch": load_executorch,
}

runner.DISTRIBUTIONS["aotinductor"] = "torch"

if __name__ == "__main__":
    raise SystemExit(runner.main(sys.argv[1:], {**runner.RUNTIMES, **LOADERS}))
