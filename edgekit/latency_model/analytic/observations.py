"""Evidence as the fit sees it: a network, a setting and the seconds somebody measured there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.latency_model.evidence import ALL_CORES, Network, Row, network_of
from edgekit.latency_model.workload import NUMBER_BYTES, Workload

Vector = NDArray[np.float64]

KERNELS = {
    "TFLite (ruy)": "ruy",
    "XNNPACK": "xnnpack",
    "ExecuTorch (XNNPACK)": "xnnpack",
    "ArmNN (Neon)": "armnn",
    "ncnn": "ncnn",
    "NCNN": "ncnn",
    "Tengine-Lite": "tengine",
    "TVM (AutoTVM-tuned)": "tvm",
    "ONNX Runtime": "mlas",
    "ONNX Runtime (MLAS)": "mlas",
    "OpenVINO": "openvino",
}
"""The kernels that a row's runtime computes with; rows of others explain nothing we ship."""

UNSTATED_THREADS = {"TFLite": 1}
"""Threads of a row that states none, where the runtime's default is not all cores: TFLite's
interpreter takes one thread unless it is told (ultralytics tells it nothing)."""

WINOGRAD = {"armnn", "ncnn", "tengine", "tvm", "openvino"}
"""Kernels that have Winograd's 3×3 convolution, whose multiply-accumulates are fewer than counted.

The others multiply gathered windows as they do a 1×1: one price for both.
"""

TERMS = {
    "conv": "cycles per multiply-accumulate of a convolution larger than 1×1, over the threads",
    "pointwise": "cycles per multiply-accumulate of a 1×1 convolution, over the threads",
    "depthwise": "cycles per multiply-accumulate of a depthwise convolution, over the threads",
    "depthwise_bytes": "nanoseconds per byte a depthwise convolution reads or writes",
    "other_bytes": "nanoseconds per byte an operator without multiply-accumulates moves",
    "patch_bytes": "nanoseconds per byte of gathered windows",
    "weight_bytes": "nanoseconds per byte of the weights of convolutions",
    "dense_bytes": "nanoseconds per byte of weights that are used once",
    "operator": "thousand cycles per operator",
}
"""The coefficients and their units. Cycles shrink with the clock, memory's nanoseconds do not, and
threads share the multiply-accumulates only: the memory is one."""


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class Group:
    """What has coefficients of its own: kernels on a core in a precision.

    `bits` are the operating system's, 64 where the source does not say.
    """

    kernels: str
    core: str
    dtype: str
    bits: int

    @property
    def kind(self) -> str:
        """`float` or `int8`: what arithmetic it is."""
        return "int8" if self.dtype == "int8" else "float"

    @property
    def pool(self) -> tuple[str, str]:
        """The groups it shares the shape of its coefficients with: one core, one arithmetic.

        How many cycles a byte from memory is worth is the core's, not the runtime's.
        """
        return self.core, self.kind

    @property
    def title(self) -> str:
        """`xnnpack fp32 on Cortex-A72, 64-bit`."""
        return f"{self.kernels} {self.dtype} on {self.core}, {self.bits}-bit"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observation:
    """One measured latency in `seconds`, its network and its setting.

    `release` is the runtime's version and the clock: rows that share both share an unknown factor.
    """

    group: Group
    release: tuple[str, float]
    family: str
    model: str
    board: str
    runtime: str
    threads: int
    threads_stated: bool
    clock_mhz: float
    macs: int
    conv_share: float
    terms: Vector
    seconds: float


def terms(work: Workload, group: Group, threads: int, clock_mhz: float) -> Vector:
    """Return what each coefficient of TERMS is multiplied with, so that the sum is in seconds."""
    size = NUMBER_BYTES[group.dtype]
    hertz = clock_mhz * 1e6
    own = group.kernels in WINOGRAD
    conv, pointwise = work.conv_macs * own, work.pointwise_macs + work.conv_macs * (not own)
    cycles = np.array([conv, pointwise, work.depthwise_macs], float) / (hertz * threads)
    numbers = [
        work.depthwise_numbers, work.other_numbers, work.patches, work.weights, work.dense_weights
    ]  # fmt: skip
    memory = np.array(numbers, float) * size * 1e-9
    return np.concatenate([cycles, memory, [work.operators * 1e3 / hertz]])


def observations(
    rows: Iterable[Row], networks: Mapping[tuple[str, str], Network]
) -> tuple[Observation, ...]:
    """Return the rows that a fit can use: kernels we know, a counted network, a core with NEON."""
    found = []
    for row in rows:
        network, kernels = network_of(row, networks), kernels_of(row)
        if network is None or kernels is None or row.core == "ARM1176":
            continue
        dtype = computed_in(kernels, row.core, row.dtype)
        group = Group(kernels=kernels, core=row.core, dtype=dtype, bits=row.os_bits or 64)
        threads = row.threads or UNSTATED_THREADS.get(row.runtime, ALL_CORES)
        found.append(
            Observation(
                group=group,
                release=(f"{row.runtime} {row.runtime_version}", row.clock_mhz),
                family=network.family,
                model=row.model,
                board=row.board,
                runtime=row.runtime,
                threads=threads,
                threads_stated=row.threads is not None,
                clock_mhz=row.clock_mhz,
                macs=network.workload.macs,
                conv_share=network.workload.conv_share,
                terms=terms(network.workload, group, threads, row.clock_mhz),
                seconds=row.latency_ms / 1e3,
            )
        )
    return tuple(found)


def computed_in(kernels: str, core: str, dtype: str) -> str:
    """Return the precision that kernels compute a network in: ncnn takes fp16 where a core has it.

    On a Cortex-A76 it does so unless told not to, whatever the file holds.
    """
    halves = kernels == "ncnn" and core == "Cortex-A76" and dtype == "fp32"
    return "fp16" if halves else dtype


def kernels_of(row: Row) -> str | None:
    """Return the kernels behind a row's runtime, None where it is none of ours.

    Plain 'TFLite' is two things: MLPerf's v1.15 of 2019 is Eigen, ultralytics' of 2024 XNNPACK.
    """
    if row.runtime == "TFLite":
        return "eigen" if row.runtime_version.startswith("v1.") else "xnnpack"
    return KERNELS.get(row.runtime)
