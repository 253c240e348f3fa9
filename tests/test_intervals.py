"""Intervals of shares and changes: they have a width, stay inside, and hold what they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy  # scipy.stats, a second of a core, is imported where it is used

from edgekit.evaluation.intervals import exact, paired_change, wilson
from edgekit.evaluation.scores import ordered, paired_difference, score, share


def test_all_right_on_six_images_does_not_mean_always_right() -> None:
    found = share([True] * 6)
    assert (found.percent, found.high) == (100.0, 100.0)
    assert found.low == pytest.approx(60.97, abs=0.01)
    none = share([False] * 6)
    assert none.low == 0.0 and none.high == pytest.approx(39.03, abs=0.01)


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 3), (7, 20), (1777, 2531), (30, 30)])
def test_intervals_are_those_of_scipy(hits: int, count: int) -> None:
    result = scipy.stats.binomtest(hits, count)
    for ours, method in ((wilson(hits, count), "wilson"), (exact(hits, count), "exact")):
        theirs = result.proportion_ci(0.95, method=method)
        assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_no_interval_leaves_what_a_share_can_be_or_has_no_width() -> None:
    for count in (1, 2, 7, 40):
        for hits in range(count + 1):
            low, high = wilson(hits, count)
            assert 0 <= low <= hits / count <= high <= 1 and low < high
    for gained, lost in itertools.product(range(6), repeat=2):
        low, high = paired_change(gained, lost, 10)
        assert -1 <= low <= (gained - lost) / 10 <= high <= 1 and low < high


def test_no_change_on_few_images_is_less_sure_than_on_many() -> None:
    answers = np.zeros(2500, int)
    few = paired_difference(answers[:20], answers[:20], answers[:20])
    many = paired_difference(answers, answers, answers)
    assert few.percent == many.percent == 0.0
    assert few.low < -10 and few.high > 10
    assert -1 < many.low < 0 < many.high < 1


@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.0), (0.02, 0.05), (0.3, 0.1)])
def test_the_change_is_held_in_95_of_100_samples(gain: float, loss: float) -> None:
    """Not by trials: over every sample of 25 images there is."""
    count, held = 25, 0.0
    for gained in range(count + 1):
        for lost in range(count + 1 - gained):
            low, high = paired_change(gained, lost, count)
            if low <= gain - loss <= high:
                ways = math.comb(count, gained) * math.comb(count - gained, lost)
                same = (1 - gain - loss) ** (count - gained - lost)
                held += ways * gain**gained * loss**lost * same
    assert held >= 0.95


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["0-2", "4-6", "60-100"], True),
        (["0-9", "10-19", "20+"], True),
        (["cat", "dog", "horse"], False),
        (["0", "1", "2", "3"], False),
        (["20-30", "0-10", "40-50"], False),
        (["0-2", "4-6"], False),
    ],
)
def test_only_rising_ranges_have_neighbours(labels: list[str], said: bool) -> None:
    assert ordered(labels) is said
    known = [index % len(labels) for index in range(12)]
    assert (score("output", known, known, labels).one_off is not None) is said
