"""The accuracy table of `predict-latency --check`: how wrong the analytic predictor was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.latency_model import Accuracy
from edgekit.latency_model.analytic.intervals import COVERAGE, Widths, covered, widths
from edgekit.latency_model.analytic.left_out import (
    LeftOut,
    left_out,
    speedups,
    transferred,
)
from edgekit.latency_model.analytic.observations import Observation, observations
from edgekit.latency_model.evidence import Row, load_networks, load_rows

Place = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What the evidence says of the predictor: the table, its notes, the intervals' widths."""

    rows: tuple[Accuracy, ...]
    notes: tuple[str, ...]
    observations: tuple[Observation, ...]
    widths: Widths


def rebuild() -> Rebuilt:
    """Predict every evidence row without its family, and count. Takes some seconds."""
    all_rows = load_rows()
    usable = observations(all_rows, load_networks())
    predicted, transfers = left_out(usable), transferred(usable)
    held = covered(predicted, transfers)
    by_place: dict[Place, list[LeftOut]] = {}
    for item in predicted:
        by_place.setdefault(_place(item), []).append(item)
    table = tuple(_accuracy(place, by_place[place], held) for place in sorted(by_place))
    notes = _notes(all_rows, usable, predicted, held)
    return Rebuilt(
        rows=table, notes=notes, observations=usable, widths=widths(predicted, transfers)
    )


def _place(item: LeftOut) -> Place:
    row = item.row
    runtime = f"{row.runtime}, {row.group.bits}-bit" if row.group.bits != 64 else row.runtime
    return row.board, runtime, row.group.dtype, item.standing


def _accuracy(place: Place, items: Sequence[LeftOut], held: dict[LeftOut, bool]) -> Accuracy:
    board, runtime, dtype, standing = place
    errors = np.abs([item.error for item in items])
    constants = [
        abs(item.constant_seconds / item.row.seconds - 1)
        for item in items
        if item.constant_seconds is not None
    ]
    stated = {str(i.row.threads) if i.row.threads_stated else "unstated" for i in items}
    return Accuracy(
        method="analytic",
        board=board,
        runtime=runtime,
        dtype=dtype,
        threads=", ".join(sorted(stated)),
        rows=len(items),
        models=len({item.row.model for item in items}),
        families=len({item.row.family for item in items}),
        mape=round(float(errors.mean()), 4),
        within_10=round(float((errors <= 0.1).mean()), 4),
        within_20=round(float((errors <= 0.2).mean()), 4),
        covered=round(float(np.mean([held[item] for item in items])), 4),
        constant_mape=round(float(np.mean(constants)), 4) if constants else None,
        note=""
        if standing == "own"
        else "no other family: predicted from other kernels on this core",
    )


def _notes(
    rows: Sequence[Row],
    usable: Sequence[Observation],
    predicted: Sequence[LeftOut],
    held: dict[LeftOut, bool],
) -> tuple[str, ...]:
    own = [item for item in predicted if item.standing == "own"]
    share = float(np.mean([held[item] for item in own]))
    return (
        f"{len(usable)} of {len(rows)} rows have a counted network and known kernels; each of the "
        f"{len(predicted)} here is predicted by a fit without its family (a published design in "
        "all its widths, depths, sizes and heads)",
        f"intervals made for {COVERAGE:.0%} hold {share:.1%} of the {len(own)} rows whose group "
        "has another family, each held to widths made without its family",
        f"noise floor: the same measurement (TFLite v2.7.1) in MLPerf v2.0 and v2.1 differs by "
        f"{_noise(rows):.1%}, the mean of the networks that both have",
        "constant_mape: the fit of one number, seconds per multiply-accumulate, left out the same",
        *_thread_notes(own),
        *_clock_notes(own),
    )


def _noise(rows: Sequence[Row]) -> float:
    """Return the mean difference of two rounds of one measurement, as a share of their mean."""
    rounds: dict[str, dict[str, float]] = {}
    for row in rows:
        if (row.runtime, row.runtime_version) == ("TFLite (ruy)", "v2.7.1"):
            rounds.setdefault(row.model, {})[row.source_repo] = row.latency_ms
    pairs = [tuple(times.values()) for times in rounds.values() if len(times) == 2]
    return float(np.mean([2 * abs(a - b) / (a + b) for a, b in pairs]))


def _thread_notes(own: Sequence[LeftOut]) -> list[str]:
    ups = speedups(own)
    notes = []
    for group in sorted({group for group, *_ in ups}):
        seen = [measured for other, measured, _ in ups if other == group]
        told = [law for other, _, law in ups if other == group]
        notes.append(
            f"threads, {group.title}: 4 are {np.median(seen):.2f} times as fast as 1 "
            f"(median of {len(seen)} networks), predicted {np.median(told):.2f}"
        )
    return notes


def _clock_notes(own: Sequence[LeftOut]) -> list[str]:
    """Compare what two clocks of one board did, by network, where ncnn's table has both."""
    times: dict[tuple[str, str, int, str], dict[float, tuple[float, float]]] = {}
    for item in own:
        row = item.row
        if row.group.kernels == "ncnn":
            key = (row.board, row.group.dtype, row.threads, row.model)
            # Where a table was measured anew, its last edition is what stands.
            times.setdefault(key, {})[row.clock_mhz] = (row.seconds, item.seconds)
    found: dict[tuple[str, str, int, float, float], list[tuple[float, float]]] = {}
    for (board, dtype, threads, _), clocks in times.items():
        if len(clocks) == 2:
            slow, fast = sorted(clocks)
            (seen_slow, told_slow), (seen_fast, told_fast) = clocks[slow], clocks[fast]
            place = (board, dtype, threads, slow, fast)
            found.setdefault(place, []).append((seen_slow / seen_fast, told_slow / told_fast))
    return [
        f"clock, ncnn {dtype} on {board}, {threads} threads: {fast:.0f} MHz is "
        f"{np.median([a for a, _ in pairs]):.2f} times as fast as {slow:.0f} (median of "
        f"{len(pairs)} networks), predicted {np.median([b for _, b in pairs]):.2f}; "
        f"by the clock alone {fast / slow:.2f}"
        for (board, dtype, threads, slow, fast), pairs in sorted(found.items())
    ]
