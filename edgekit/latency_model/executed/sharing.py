"""How a runtime's threads share a network's work, where that is known from the runtime's source.

ncnn cuts a matrix product into rows of tiles and gives each thread some of them, a depthwise
convolution into its packs of channels. A layer of 16 channels has two tiles, so that two of four
threads have nothing to do; one of 48 has three. Concat, Slice and ShuffleChannel run on one thread.
(Tencent/ncnn at a4d2ea1d, src/layer/arm: the functions `get_optimal_tile_mnk` and the `omp
parallel for` of each layer.) XNNPACK, ruy, ONNX Runtime and OpenVINO cut in both directions and
finer: their shares are taken as even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.latency_model.executed.issue_table import Core
from edgekit.latency_model.workload import NUMBER_BYTES, Operator

TILE, WINOGRAD_TILE, ROWS = {"fp32": 32, "fp16": 64, "int8": 32}, 8, 8
"""ncnn's largest rows of a tile, those of Winograd's, and what both are multiples of."""
PACK = {"fp32": 4, "fp16": 8, "int8": 8}
"""Channels that ncnn keeps side by side."""
COST = {"conv": 1.0, "pointwise": 1.0, "depthwise": 4.0}
"""How long a multiply-accumulate takes, in those of a matrix product; WINOGRAD of Winograd's."""
WINOGRAD = 0.5
COPY = {"load_1q": 1, "store_1q": 1}
"""What copies 16 bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """How far the threads are from sharing the work evenly.

    The slowest thread has `uneven` times an even share; `alone` are issue cycles that one thread
    executes while the others wait.
    """

    uneven: float = 1.0
    alone: float = 0.0


EVEN = Sharing()


def of_ncnn(operators: Sequence[Operator], dtype: str, threads: int, of_core: Core) -> Sharing:
    """Return how ncnn's `threads` share a network computed in `dtype` (fp32, fp16 or int8)."""
    even = slowest = copied = 0.0
    for each in operators:
        if each.joins:
            copied += each.outputs * NUMBER_BYTES[dtype]
        if each.kind not in COST or not each.channels:
            continue
        cost = each.macs * (WINOGRAD if each.winograd else COST[each.kind])
        even += cost
        slowest += cost * _slowest(each, dtype, threads)
    alone = copied / 16 * of_core.cycles(COPY)
    return Sharing(uneven=slowest / even if even else 1.0, alone=alone)


def _slowest(layer: Operator, dtype: str, threads: int) -> float:
    """Return the slowest thread's part of a layer, in even shares."""
    if layer.kind == "depthwise":
        tile = PACK[dtype]
    elif layer.winograd:
        tile = _rows(layer.channels, WINOGRAD_TILE, threads)
    else:
        even = _up(layer.channels, _up(layer.channels, TILE[dtype]))
        tile = _rows(layer.channels, _up(even, ROWS) * ROWS, threads)
    tiles = _up(layer.channels, tile)
    return min(_up(tiles, threads) * tile, layer.channels) * threads / layer.channels


def _rows(channels: int, tile: int, threads: int) -> int:
    """Return the rows of a tile once they are divided among threads, as ncnn settles them."""
    whole = tile * threads
    whole = min(whole, _up(_up(channels, _up(channels, whole)), ROWS) * ROWS)
    return min(whole, _up(max(1, whole // threads), ROWS) * ROWS)


def _up(number: int, divisor: int) -> int:
    return -(-number // divisor)
