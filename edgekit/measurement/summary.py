"""A measurement in one row: percentiles, intervals, and every reason to doubt them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edgekit.records import Measurement, Round

if TYPE_CHECKING:
    from edgekit.measurement.stats import Interval


def verdict(measurement: Measurement) -> str:
    """Return `ok`, `failed: …` or `inconclusive: …` with every reason to doubt the numbers."""
    from edgekit.measurement import stats

    if measurement.error is not None:
        return f"failed: {measurement.error}"
    rounds, doubts = measurement.rounds, []
    if len(rounds) < measurement.wanted_rounds:
        doubts.append(f"{len(rounds)} of {measurement.wanted_rounds} rounds")
    checks: dict[str, Callable[[Round], bool]] = {
        "throttled": lambda r: was_throttled(r.throttled) is True,
        "did not settle in the warm-up": lambda r: not r.settled,
        "drifted": lambda r: stats.drifts(r.invoke_s),
    }
    for words, check in checks.items():
        found = [str(number) for number, item in enumerate(rounds, 1) if check(item)]
        if found:
            doubts.append(f"round {', '.join(found)} {words}")
    spread = stats.rounds_spread([r.invoke_s for r in rounds])
    if spread > stats.ROUNDS_APART:
        doubts.append(f"the rounds' medians are {spread:.0%} apart")
    return f"inconclusive: {'; '.join(doubts)}" if doubts else "ok"


def was_throttled(readings: Sequence[str | None]) -> bool | None:
    """Tell whether the Raspberry Pi's firmware held the clock back between these readings.

    None where no reading is there to tell, which is not a no.

    Bits 0 to 3 are under-voltage, capped clock, throttled and soft temperature limit now; bits 16
    to 19 the same since boot, which count where they are new (Raspberry Pi documentation,
    `vcgencmd get_throttled`).
    """
    flags = [int(text, 16) for text in readings if text and _is_hexadecimal(text)]
    if not flags:
        return None
    now = any(flag & 0xF for flag in flags)
    return now or bool(flags[-1] & ~flags[0] & 0xF0000)


def summary_row(measurement: Measurement) -> dict[str, Any]:
    """Return one table row: times in ms, memory in MB (10^6 bytes).

    A percentile without its samples is None, and so is an interval of one round. `load_ms` and
    `first_ms` are the middle one of the rounds; `peak_memory_mb` is the largest.
    """
    import numpy as np

    from edgekit.measurement import stats

    rounds = measurement.rounds
    invoke = tuple(r.invoke_s for r in rounds)
    pooled = [sample for samples in invoke for sample in samples]
    end_to_end = [sample for r in rounds for sample in r.end_to_end_s]
    sure = _median(invoke)
    return {
        "model": measurement.artifact.model,
        "backend": measurement.artifact.backend,
        "precision": measurement.artifact.precision,
        "runtime": measurement.runtime,
        "threads": measurement.threads,
        "p50_ms": _ms(stats.percentile(pooled, "p50")),
        "p50_low_ms": _ms(sure.low if sure else None),
        "p50_high_ms": _ms(sure.high if sure else None),
        "p90_ms": _ms(stats.percentile(pooled, "p90")),
        "p99_ms": _ms(stats.percentile(pooled, "p99")),
        "load_ms": _ms(float(np.median([r.load_s for r in rounds])) if rounds else None),
        "first_ms": _ms(float(np.median([r.first_s for r in rounds])) if rounds else None),
        "end_to_end_p50_ms": _ms(stats.percentile(end_to_end, "p50")),
        "peak_memory_mb": max(r.peak_memory_bytes for r in rounds) / 1e6 if rounds else None,
        "size_bytes": measurement.artifact.bytes,
        "samples": len(pooled),
        "rounds": len(rounds),
        "verdict": verdict(measurement),
        "provenance": measurement.provenance,
        "target": measurement.target,
        "device": measurement.device,
    }


@lru_cache(maxsize=1024)
def _median(invoke: tuple[tuple[float, ...], ...]) -> Interval | None:
    """Return the p50 with its interval, once for all tables and plots of a report."""
    from edgekit.measurement import stats

    return stats.interval(invoke, "p50")


def _is_hexadecimal(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
