"""How threads share a network's layers: ncnn's tiles, and what that does to a prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.latency_model.executed.issue_table import core
from edgekit.latency_model.executed.model import TERMS, terms
from edgekit.latency_model.executed.run import Work
from edgekit.latency_model.executed.sharing import EVEN, Sharing, of_ncnn
from edgekit.latency_model.workload import Operator, convolution

A72 = core("cortex-a72")
WORK = Work(
    instructions=0,
    float_cycles=8e6,
    integer_cycles=0,
    other_cycles=2e6,
    refilled=0,
    shared=0,
    memory=0,
    written_back=0,
)


def layer(channels: int, area: int = 1, groups: int = 1, inputs: int = 64) -> Operator:
    """Return a convolution of a 10 × 10 map, by default 1×1 from 64 channels."""
    return convolution(
        inputs * 100,
        channels * 100,
        area=area,
        channels=channels,
        group_inputs=inputs // groups,
        groups=groups,
    )


@pytest.mark.parametrize(
    ("channels", "uneven"),
    [
        (16, 2.0),  # two tiles of 8 rows: two threads idle
        (24, 4 / 3),  # three tiles of 8
        (40, 1.6),  # 16, 16 and 8
        (48, 4 / 3),  # three of 16
        (64, 1.0),
        (112, 8 / 7),  # 32, 32, 32 and 16
        (128, 1.0),
    ],
)
def test_four_threads_of_ncnn_share_a_matrix_product_in_tiles(channels: int, uneven: float) -> None:
    assert of_ncnn([layer(channels)], "fp32", 4, A72).uneven == pytest.approx(uneven)
    assert of_ncnn([layer(channels)], "fp32", 1, A72) == EVEN


def test_depthwise_layers_are_shared_in_packs_and_winograds_in_smaller_tiles() -> None:
    depthwise = layer(24, area=9, groups=24, inputs=24)
    assert depthwise.kind == "depthwise"
    assert of_ncnn([depthwise], "fp32", 4, A72).uneven == pytest.approx(4 / 3), "six packs of four"
    assert of_ncnn([depthwise], "int8", 4, A72).uneven == pytest.approx(4 / 3), (
        "three packs of eight"
    )
    assert of_ncnn([depthwise], "fp32", 2, A72).uneven == 1.0
    winograd = layer(40, area=9)
    assert winograd.winograd
    assert of_ncnn([winograd], "fp32", 4, A72).uneven == pytest.approx(1.6), "five tiles of eight"


def test_each_group_of_a_convolution_is_shared_by_itself() -> None:
    grouped = layer(64, groups=4)
    assert grouped.channels == 16
    assert of_ncnn([grouped], "fp32", 4, A72).uneven == pytest.approx(2.0)


def test_layers_count_by_their_cost() -> None:
    even, uneven = layer(64), layer(16)
    both = of_ncnn([even, uneven], "fp32", 4, A72).uneven
    assert both == pytest.approx((even.macs + 2 * uneven.macs) / (even.macs + uneven.macs))
    pooling = Operator(kind="other", macs=0, inputs=100, outputs=100)
    assert of_ncnn([pooling], "fp32", 4, A72) == EVEN


def test_joining_maps_takes_one_thread() -> None:
    joined = Operator(kind="other", macs=0, inputs=1600, outputs=1600, joins=True)
    in_float = of_ncnn([joined], "fp32", 4, A72)
    assert in_float.alone == pytest.approx(800), "two cycles to store 16 bytes"
    assert of_ncnn([joined], "int8", 4, A72).alone == pytest.approx(in_float.alone / 4)
    assert of_ncnn([joined], "fp32", 4, core("cortex-a76")).alone == in_float.alone / 2
    assert of_ncnn([replace(joined, joins=False)], "fp32", 4, A72) == EVEN


def test_the_slowest_thread_is_waited_for() -> None:
    def seconds(threads: int, sharing: Sharing) -> dict[str, float]:
        return dict(zip(TERMS, terms(WORK, 1, threads, 1000, sharing=sharing), strict=True))

    even, uneven = seconds(4, EVEN), seconds(4, Sharing(uneven=1.5))
    assert uneven["float_cycles"] == pytest.approx(1.5 * even["float_cycles"]) == 3e-3
    assert uneven["idle"] == even["idle"] > 0
    assert seconds(1, Sharing(uneven=1.5, alone=1e6)) == seconds(1, EVEN)
    waiting = seconds(4, Sharing(alone=1e6))
    # Of 2 ms, 1 ms is shared by four threads and 1 ms is not.
    assert waiting["other_cycles"] == pytest.approx(1.25e-3)
    assert waiting["float_cycles"] == even["float_cycles"]
