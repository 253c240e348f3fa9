"""Noise is never called a speed-up, and unlike things are not compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from records import DESKTOP, a_measurement, a_round

from edgekit.artifact import Precision
from edgekit.errors import BadResults
from edgekit.measurement.comparison import compare
from edgekit.records import Measurement

STEADY = a_measurement(rounds=(a_round(),) * 3)
"""Every call took 10 ms to the digit."""


def noisy(precision: Precision, median: float, seed: int, luck: float = 0.01) -> Measurement:
    """Three rounds around `median` seconds; each process has its own luck."""
    rng = np.random.default_rng(seed)
    rounds = tuple(
        a_round(tuple(median * np.exp(rng.normal(0, luck) + rng.normal(0, 0.03, 60))))
        for _ in range(3)
    )
    return a_measurement("model", precision=precision, rounds=rounds)


def test_a_clear_difference_is_said_with_its_doubt_the_faster_first() -> None:
    slow, fast = noisy("fp32", 0.018, 1), noisy("int8", 0.010, 2)
    for comparison in (compare(fast, slow), compare(slow, fast)):
        assert comparison.differs
        words = comparison.sentence
        assert words.startswith("model onnx int8 is 1.")
        assert " ± 0." in words
        assert words.endswith("times as fast as model onnx fp32")
    assert compare(fast, slow).ratio.value == pytest.approx(1.8, rel=0.05)
    assert compare(fast, slow).doubts == ()


def test_no_difference_is_claimed_within_the_noise() -> None:
    comparison = compare(noisy("fp32", 0.0101, 3), noisy("int8", 0.0100, 4))
    assert not comparison.differs
    assert comparison.sentence.startswith("no difference can be claimed")


def test_a_measurement_does_not_differ_from_itself() -> None:
    one = noisy("fp32", 0.01, 5)
    comparison = compare(one, one)
    assert not comparison.differs
    assert comparison.ratio.value == 1


def test_samples_without_any_noise_are_still_compared() -> None:
    fast = a_measurement(precision="int8", rounds=(a_round((0.005,) * 30),) * 3)
    comparison = compare(STEADY, fast)
    assert "2.000 ± 0.000" in comparison.sentence


def test_two_runs_are_compared_unpaired_and_told_apart() -> None:
    later = replace(noisy("fp32", 0.005, 6), run="20260102T000000.000000Z-0123456789ab")
    comparison = compare(noisy("fp32", 0.010, 7), later)
    assert not comparison.paired
    assert comparison.differs
    assert comparison.sentence.startswith("model onnx fp32 of 20260102")


def test_every_fact_that_differs_is_named_with_both_values() -> None:
    other = a_measurement(
        precision="int8", threads=4, facts=replace(DESKTOP, cpu_model="Another CPU")
    )
    with pytest.raises(BadResults) as caught:
        compare(STEADY, other)
    assert "threads (1 and 4)" in str(caught.value)
    assert "CPU model (A CPU and Another CPU)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failed_row_is_not_compared() -> None:
    failed = a_measurement(precision="int8", rounds=(), error="round 1: killed by signal 9")
    with pytest.raises(BadResults, match="killed by signal 9"):
        compare(STEADY, failed)


def test_the_doubts_of_both_stand_beside_the_claim() -> None:
    unsettled = a_measurement(precision="int8", rounds=(a_round(settled=False),) * 3)
    comparison = compare(STEADY, unsettled)
    assert len(comparison.doubts) == 1
    assert "did not settle" in comparison.doubts[0]
