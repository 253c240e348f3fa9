"""Percentiles are printed only with their samples, and intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy  # scipy.stats, a second of a core, is imported where it is used

from edgekit.measurement import stats


def noisy_rounds(
    rng: np.random.Generator, effects: np.ndarray, samples: int = 40
) -> list[np.ndarray]:
    """Rounds around 10 ms: each shifted by its own effect, with 5 % of noise within."""
    return [0.01 * np.exp(effect + rng.normal(0, 0.05, samples)) for effect in effects]


@pytest.mark.parametrize(("name", "count"), [("p50", 11), ("p90", 64), ("p95", 130), ("p99", 662)])
def test_a_percentile_without_its_samples_is_none(name: stats.Percentile, count: int) -> None:
    assert stats.samples_needed(stats.SHARES[name]) == count
    assert stats.percentile(np.ones(count - 1), name) is None
    assert stats.percentile(np.ones(count), name) == 1.0


def test_the_gate_keeps_its_promise() -> None:
    """With the gate's samples the second largest is above the true p90 in 99 % of trials."""
    draws = np.random.default_rng(0).uniform(size=(20_000, stats.samples_needed(0.9)))
    second_largest = np.partition(draws, -2, axis=1)[:, -2]
    assert (second_largest > 0.9).mean() == pytest.approx(0.99, abs=0.003)


def test_percentiles_of_known_samples() -> None:
    samples = np.arange(1, 1002) / 1000
    assert stats.percentile(samples, "p50") == pytest.approx(0.501)
    assert stats.percentile(samples, "p99") == pytest.approx(0.991)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 15, 30, 200])
def test_student_t_is_scipys(degrees: int) -> None:
    assert stats.student_t(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), abs=1e-3)


@pytest.mark.parametrize("count", [3, 5])
def test_the_interval_covers_the_true_median_though_rounds_differ(count: int) -> None:
    """Three rounds that differ by 3 %: a bootstrap of pooled samples covers a third of the time."""
    rng = np.random.default_rng(1)
    trials, hits, pooled_hits = 300, 0, 0
    for trial in range(trials):
        rounds = noisy_rounds(rng, rng.normal(0, 0.03, count), samples=300)
        found = stats.interval(rounds, "p50", seed=trial)
        assert found is not None
        hits += found.holds(0.01)
        pooled = np.sort(np.concatenate(rounds))
        half = 1.96 * np.sqrt(len(pooled)) / 2
        low, high = (pooled[int(len(pooled) / 2 + side * half)] for side in (-1, 1))
        pooled_hits += low <= 0.01 <= high
    assert hits / trials >= 0.92
    assert pooled_hits / trials < 0.6, "the plain interval must fail here, or this proves nothing"


def test_the_interval_is_not_needlessly_wide() -> None:
    rng = np.random.default_rng(2)
    found = stats.interval(noisy_rounds(rng, np.zeros(10), 300), "p50")
    assert found is not None
    assert found.high / found.low - 1 < 0.02


def test_one_round_has_no_interval() -> None:
    assert stats.interval([np.ones(100)], "p50") is None
    assert stats.interval([], "p50") is None
    assert stats.speed_ratio([np.ones(100)], [np.ones(100)] * 3, paired=True) is None


def test_equal_things_are_called_different_in_at_most_one_case_of_twenty() -> None:
    """Each process has its own luck of 2 %, which pairing cannot cancel."""
    rng = np.random.default_rng(3)
    trials, claims = 300, 0
    for trial in range(trials):
        shared = rng.normal(0, 0.05, 3)
        ours = noisy_rounds(rng, shared + rng.normal(0, 0.02, 3), 300)
        theirs = noisy_rounds(rng, shared + rng.normal(0, 0.02, 3), 300)
        found = stats.speed_ratio(ours, theirs, paired=True, seed=trial)
        assert found is not None
        claims += not found.holds(1.0)
    assert claims / trials <= 0.07


def test_pairing_cancels_what_a_round_does_to_both() -> None:
    rng = np.random.default_rng(4)
    shared = np.log([1.0, 1.3, 0.8])
    fast, slow = noisy_rounds(rng, shared, 100), noisy_rounds(rng, shared + np.log(1.8), 100)
    paired = stats.speed_ratio(fast, slow, paired=True)
    apart = stats.speed_ratio(fast, slow, paired=False)
    assert paired is not None
    assert apart is not None
    assert paired.value == pytest.approx(1.8, rel=0.03)
    assert not paired.holds(1.0)
    assert apart.holds(1.0)


def test_swapping_the_two_inverts_the_ratio() -> None:
    rng = np.random.default_rng(5)
    fast, slow = noisy_rounds(rng, np.zeros(3)), noisy_rounds(rng, np.full(3, 0.7))
    one = stats.speed_ratio(fast, slow, paired=True)
    other = stats.speed_ratio(slow, fast, paired=True)
    assert one is not None
    assert other is not None
    assert one.value == pytest.approx(1 / other.value)
    assert one.value == pytest.approx(np.exp(0.7), rel=0.03)


def test_the_drawn_order_statistic_is_the_bootstraps() -> None:
    """The Beta shortcut spreads like a bootstrap that draws every value."""
    rng = np.random.default_rng(6)
    samples = rng.exponential(size=31)
    logs = [np.sort(np.log(samples))]
    quick = stats._draws(logs, 0.5, np.zeros((20_000, 1), np.int64), rng)
    plain = np.median(rng.choice(logs[0], (20_000, 31)), axis=1)
    assert quick.mean() == pytest.approx(plain.mean(), abs=0.01)
    assert quick.std() == pytest.approx(plain.std(), rel=0.03)


def test_a_drift_is_seen_and_noise_is_not() -> None:
    rng = np.random.default_rng(7)
    steady = 0.01 * np.exp(rng.normal(0, 0.05, 400))
    assert not stats.drifts(steady)
    assert stats.drifts(steady * np.linspace(1, 1.3, 400))
    assert stats.drifts(steady * np.linspace(1.3, 1, 400))
    # Real but too small to matter.
    assert not stats.drifts(0.01 * np.linspace(1, 1.02, 400))
    # Large but chance: a few very noisy samples.
    alarms = sum(stats.drifts(np.exp(rng.normal(0, 0.3, 22))) for _ in range(1000))
    assert alarms <= 10


def test_rounds_spread() -> None:
    assert stats.rounds_spread([[1, 1, 1], [1.2, 1.2, 9], [1.1]]) == pytest.approx(0.2)
    assert stats.rounds_spread([[5.0]]) == 0
    assert stats.rounds_spread([]) == 0


def test_samples_of_no_time_at_all_break_nothing() -> None:
    found = stats.interval([np.zeros(20), np.zeros(20)], "p50")
    assert found is not None
    assert found.value <= stats.TICK_S * 1.001


def test_an_interval_holds_its_estimate_to_the_last_digit() -> None:
    """Equal samples: no width, and the logarithm rounds."""
    for tick in (5.999982022331087e-08, 1e-10, 0.1, 3.0):
        found = stats.interval([[tick] * 30] * 3, "p50")
        assert found is not None and found.value == tick and found.holds(tick)
