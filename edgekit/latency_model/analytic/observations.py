"""Evidence as the fit sees it: a network, a setting and the seconds somebody measured there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from edgekit.latency_model.evidence import ALL_CORES, Network, Row, network_of
from edgekit.latency_model.workload import NUMBER_BYTES, Workload

Vector = NDArray[np.float64]

KERNELS = {
    "TFLite (ruy)": "ruy",
    "TFLite (XNNPACK)": "xnnpack",
    "XNNPACK": "xnnpack",
    "ExecuTorch (XNNPACK)": "executorch",
    "ArmNN (Neon)": "armnn",
    "ArmNN delegate (TFLite)": "armnn",
    "ncnn": "ncnn",
    "NCNN": "ncnn",
    "Tengine-Lite": "tengine",
    "TVM (AutoTVM-tuned)": "tvm",
    "ONNX Runtime": "mlas",
    "ONNX Runtime (MLAS)": "mlas",
    "OpenVINO": "openvino",
}
"""The kernels that a row's runtime computes with; rows of others explain nothing we ship.
ExecuTorch's XNNPACK has Arm's KleidiAI in it and parts of a network outside: kernels of its own."""

SUPERSEDED = (
    ("armnn", "int8", "efficientnet", ("v20.08", "v21.02", "v21.05")),
    ("ncnn", "int8", None, ("README@97b43944e",)),
    ("openvino", "fp32", None, ("unstated (ultralytics 2024-10 docs (version unstated))",)),
)
"""Kernels, precision, family (None: all) and releases that no fit sees and no error counts: the
next release took less than two thirds of their time for the same networks, so it computes with
other kernels. Releases between the two, which measured none of those networks, are among them."""

UNSTATED_THREADS = {"TFLite": 1}
"""Threads of a row that states none, where the runtime's default is not all cores: TFLite's
interpreter takes one thread unless it is told (ultralytics tells it nothing)."""

WINOGRAD = {"armnn", "ncnn", "tengine", "tvm", "openvino"}
"""Kernels that have Winograd's 3×3 convolution, whose multiply-accumulates are fewer than counted.

The others multiply gathered windows as they do a 1×1: one price for both.
"""

TERMS = {
    "conv": "cycles per multiply-accumulate of a convolution larger than 1×1, over the threads",
    "winograd": "the same where Winograd's algorithm applies: 3×3 at stride 1",
    "pointwise": "cycles per multiply-accumulate of a 1×1 convolution, over the threads",
    "depthwise": "cycles per multiply-accumulate of a depthwise convolution, over the threads",
    "depthwise_bytes": "nanoseconds per byte a depthwise convolution reads or writes",
    "other_bytes": "nanoseconds per byte an operator without multiply-accumulates moves",
    "own_bytes": "nanoseconds per byte that both of these move, over the threads",
    "patch_bytes": "nanoseconds per byte of gathered windows",
    "weight_bytes": "nanoseconds per byte of the weights of convolutions",
    "dense_bytes": "nanoseconds per byte of weights that are used once",
    "operator": "thousand cycles per operator",
    "idle": "share of its time that an operator of 1 ms on one thread loses on many",
    "converted": "nanoseconds per number of an input that a benchmark converts within its time",
}
"""The coefficients and their units. Cycles shrink with the clock, memory's nanoseconds do not, and
threads share what it says they do: the memory is one."""

OPTIONAL = ("winograd", "own_bytes", "idle")
"""Terms that a form has or lacks; convolutions have one price where `winograd` is lacking."""
FORMS = {
    " + ".join(("sums", *several)): several
    for count in range(len(OPTIONAL) + 1)
    for several in combinations(OPTIONAL, count)
}
"""The forms a fit chooses among, by errors of families left out of it (left_out.choose)."""

NOMINAL = {"fp32": 0.4, "fp16": 0.2, "int8": 0.2}
"""Cycles per multiply-accumulate that tell how long an operator is, for `idle` alone."""

CONVERTING = "mlcommons/"
"""Whose float rows have the conversion of an image to floats within their time.

Its harness does that between the query and the answer, by a double-precision division per number,
and only copies for quantized networks: ctuning/ck-mlperf, program/image-classification-tflite-
loadgen/benchmark.h, InNormalize. It is 1 ms at 96×96 and 6 ms at 224×224, whatever the network.
"""


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
    trust: float = 1.0


def terms(
    work: Workload, group: Group, threads: int, clock_mhz: float, converted: int = 0
) -> Vector:
    """Return what each coefficient of TERMS is multiplied with, so that the sum is in seconds.

    `converted` counts the numbers of an input that a benchmark converts; a prediction has none.
    """
    size = NUMBER_BYTES[group.dtype]
    hertz = clock_mhz * 1e6
    own = group.kernels in WINOGRAD
    winograd = work.winograd_macs * own
    conv = (work.conv_macs - work.winograd_macs) * own
    pointwise = work.pointwise_macs + work.conv_macs * (not own)
    cycles = np.array([conv, winograd, pointwise, work.depthwise_macs], float) / (hertz * threads)
    both = work.depthwise_numbers + work.other_numbers
    numbers = [
        work.depthwise_numbers, work.other_numbers, both / threads, work.patches, work.weights,
        work.dense_weights,
    ]  # fmt: skip
    memory = np.array(numbers, float) * size * 1e-9
    alone = work.macs * NOMINAL[group.dtype] / hertz
    idle = sqrt(alone * work.operators * 1e-3) * (1 - 1 / threads)
    rest = [work.operators * 1e3 / hertz, idle, converted * 1e-9]
    return np.concatenate([cycles, memory, rest])


def columns(form: str) -> Vector:
    """Return the matrix that makes a form's coefficients of TERMS': a column each."""
    used = [name for name in TERMS if name not in OPTIONAL or name in FORMS[form]]
    matrix = np.array([[float(name == term) for name in used] for term in TERMS])
    if "winograd" not in used:
        matrix[list(TERMS).index("winograd"), used.index("conv")] = 1.0
    return matrix


def converted_numbers(row: Row) -> int:
    """Return how many numbers of its input a row's benchmark converts within the time."""
    if row.dtype != "fp32" or not row.source_repo.startswith(CONVERTING):
        return 0
    return prod(int(size) for size in row.input.split("x"))


def superseded(kernels: str, dtype: str, family: str, version: str) -> bool:
    """Tell whether a release is one of SUPERSEDED."""
    return any(
        (kernels, dtype) == (known, kind) and of in {None, family} and version in versions
        for known, kind, of, versions in SUPERSEDED
    )


def observations(
    rows: Iterable[Row], networks: Mapping[tuple[str, str], Network]
) -> tuple[Observation, ...]:
    """Return the rows that a fit can use: kernels we know, a counted network, a core with NEON.

    Rows of SUPERSEDED releases are not among them.
    """
    found = []
    for row in rows:
        network, kernels = network_of(row, networks), kernels_of(row)
        if network is None or kernels is None or row.core == "ARM1176":
            continue
        dtype = computed_in(kernels, row.core, row.dtype)
        if superseded(kernels, dtype, network.family, row.runtime_version):
            continue
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
                terms=terms(
                    network.workload, group, threads, row.clock_mhz, converted_numbers(row)
                ),
                seconds=row.latency_ms / 1e3,
                trust=row.trust,
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
