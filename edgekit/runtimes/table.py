"""The runtimes: one row each, and what follows from the rows.

A new runtime is a row here and a loader in `onboard/runner.py`; `tests/test_runtimes.py` holds the
two together. A plug-in's runtime has no row: what is asked of it here has a plain default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Environment = Literal["main", "numpy1"]
"""Which of a board's two sets of packages a runtime lives in: NumPy 2's, or NumPy 1's."""

Role = Literal["deployed", "reference", "harness"]
"""`deployed` runs on boards; `reference` is PyTorch itself, on this machine only; `harness` answers
zeros and shows what measuring costs."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One runtime.

    - `name` is the runner's, in jobs and records; `backend` builds what it loads.
    - `distribution` is its name on PyPI, `module` what a program imports, `requirement` what
      boards' locks ask pip for. Empty where nothing is installed. `half_needs` are
      distributions that it imports besides, to compute in half precision.
    - `kernels` are the libraries whose published times speak for it, the best evidence first.
    - `operator_times` says how the profiler gets times by operator; empty: it cannot be profiled.
    - `profiled_by_cuts`: it has no profiler of its own, so the graph is cut after each operator.
    - `stand_in` computes the same on hosts where this one cannot be installed.
    - `by_default`: `convert` builds for it where no backend is named.
    """

    name: str
    backend: str
    distribution: str = ""
    module: str = ""
    requirement: str = ""
    half_needs: tuple[str, ...] = ()
    environment: Environment = "main"
    role: Role = "deployed"
    kernels: tuple[str, ...] = ()
    operator_times: str = ""
    profiled_by_cuts: bool = False
    stand_in: str = ""
    by_default: bool = True

    def distributions(self, *, half: bool = True) -> frozenset[str]:
        """Return what is installed for it, by name on PyPI; `half`: for half precision too."""
        return frozenset({self.distribution, *(self.half_needs if half else ())})


RUNTIMES = (
    Runtime(
        name="onnxruntime",
        backend="onnx",
        distribution="onnxruntime",
        module="onnxruntime",
        requirement="onnxruntime",
        kernels=("mlas",),
        operator_times=("times: ONNX Runtime's own profiler, medians; each carries a little of it"),
    ),
    Runtime(
        name="ai_edge_litert",
        backend="tflite",
        distribution="ai-edge-litert",
        module="ai_edge_litert.interpreter",
        requirement="ai-edge-litert",
        half_needs=("ml-dtypes",),
        # LiteRT and tflite-runtime 2.14 compute with XNNPACK unless told not to, so TFLite's
        # published times from before it (ruy) do not speak for them.
        kernels=("xnnpack",),
        operator_times=(
            "times: LiteRT's Python package has no profiler; the graph was cut after each "
            "operator, and an operator takes what its cut adds: estimates, and 0 means too little "
            "to tell"
        ),
        profiled_by_cuts=True,
    ),
    Runtime(
        name="tflite_runtime",
        backend="tflite",
        distribution="tflite-runtime",
        module="tflite_runtime.interpreter",
        # The last release was built against NumPy 1 and dies with NumPy 2.
        requirement="tflite-runtime==2.14.0",
        environment="numpy1",
        kernels=("xnnpack",),
        operator_times=(
            "times: tflite-runtime has no profiler; the graph was cut after each operator, and an "
            "operator takes what its cut adds: estimates, and 0 means too little to tell"
        ),
        profiled_by_cuts=True,
        stand_in="ai_edge_litert",
    ),
    Runtime(
        name="openvino",
        backend="openvino",
        distribution="openvino",
        module="openvino",
        requirement="openvino",
        # OpenVINO computes convolutions on Arm by the Compute Library, which is ArmNN's.
        kernels=("openvino", "armnn"),
        operator_times="times: OpenVINO's own counters (PERF_COUNT), means",
    ),
    Runtime(
        name="ncnn",
        backend="ncnn",
        distribution="ncnn",
        module="ncnn",
        requirement="ncnn",
        kernels=("ncnn",),
        operator_times=(
            "times: ncnn's Python package has no profiler; each blob was asked for in turn, and an "
            "operator takes what its blob took, with the copy that asking costs"
        ),
        by_default=False,
    ),
    Runtime(name="null", backend="null", role="harness"),
    Runtime(name="torch", backend="torch", distribution="torch", module="torch", role="reference"),
    Runtime(
        name="aotinductor",
        backend="torch",
        distribution="torch",
        module="torch._inductor",
        role="reference",
    ),
    Runtime(
        name="executorch",
        backend="torch",
        distribution="executorch",
        module="executorch",
        role="reference",
    ),
)
"""Every runtime of ours; a backend's own is its first."""

SUPPORT: dict[Environment, tuple[str, ...]] = {
    "main": ("numpy>=2", "pillow"),
    "numpy1": ("numpy==1.26.4",),
}
"""What the runner itself imports, as pip is asked for it."""

_BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}


def find_runtime(name: str) -> Runtime | None:
    """Return the runtime of that name, None for a plug-in's."""
    return _BY_NAME.get(name)


def runtimes_of(backend: str) -> tuple[Runtime, ...]:
    """Return what can load a backend's artifacts, its own first; nothing for a plug-in's."""
    return tuple(runtime for runtime in RUNTIMES if runtime.backend == backend)


def role_of(backend: str) -> Role:
    """Return what a backend's artifacts are for; a plug-in's are deployed."""
    return next((runtime.role for runtime in runtimes_of(backend)), "deployed")


def environment_of(runtime: str) -> Environment:
    """Return the environment that a runtime needs on a board, by the runner's name of it."""
    found = find_runtime(runtime)
    return found.environment if found else "main"


def deployed() -> tuple[Runtime, ...]:
    """Return the runtimes that boards have."""
    return tuple(runtime for runtime in RUNTIMES if runtime.role == "deployed")


def requirements(environment: Environment, runtimes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return all that pip is asked for to make a board's environment.

    Of `runtimes` only, where a system cannot have the others; nothing where it has none of these.
    """
    own = [
        text
        for item in deployed()
        for text in (item.requirement, *item.half_needs)
        if item.environment == environment and (not runtimes or item.name in runtimes)
    ]
    return (*own, *SUPPORT[environment]) if own else ()
