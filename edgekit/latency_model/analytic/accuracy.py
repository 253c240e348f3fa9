"""The accuracy table of `predict-latency --check`: how wrong the analytic predictor was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from edgekit.latency_model import Accuracy
from edgekit.latency_model.analytic.intervals import Widths, halves, widths
from edgekit.latency_model.analytic.left_out import (
    Folds,
    LeftOut,
    folded,
    speedups,
    transferred,
)
from edgekit.latency_model.analytic.observations import Group, Observation, observations
from edgekit.latency_model.anchoring import Anchoring, Fold, Told, worth
from edgekit.latency_model.evidence import Row, load_networks, load_rows
from edgekit.latency_model.quantiles import COVERAGE, balanced_mean

Place = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What the evidence says of the predictor: the table, its notes, the intervals' widths.

    `known` tells of each group with own rows what its left-out families had: the mean error and the
    share that the intervals held, every family with one say.
    """

    rows: tuple[Accuracy, ...]
    notes: tuple[str, ...]
    observations: tuple[Observation, ...]
    widths: Widths
    known: dict[Group, tuple[float, float]]
    anchored: tuple[Anchoring, ...]


def rebuild(folds: Folds) -> Rebuilt:
    """Predict every evidence row without its family, and count. Takes some seconds.

    `folds` are the forms that were chosen without each family.
    """
    all_rows = load_rows()
    usable = observations(all_rows, load_networks())
    several, transfers = folded(usable, folds), transferred(usable, folds)
    predicted = tuple(item for left, _ in several for item in left)
    wide = halves(predicted, transfers)
    held = {item: abs(item.residual) <= half for item, half in wide.items()}
    known = {
        group: (
            balanced_mean((item.row.family, abs(item.error)) for item in mine),
            balanced_mean((item.row.family, float(held[item])) for item in mine),
        )
        for group in sorted({item.row.group for item in predicted if item.standing == "own"})
        if (mine := [i for i in predicted if i.row.group == group and i.standing == "own"])
    }
    anchored = worth(
        [
            Fold(
                tuple(_told(item.row, item.seconds, wide[item]) for item in left),
                tuple(_told(row, seconds, 1.0) for row, seconds in others),
            )
            for left, others in several
        ]
    )
    by_place: dict[Place, list[LeftOut]] = {}
    for item in predicted:
        by_place.setdefault(_place(item), []).append(item)
    table = tuple(_accuracy(place, by_place[place], held) for place in sorted(by_place))
    notes = (
        *_notes(all_rows, usable, predicted, held), *(f"analytic, {a.note}" for a in anchored)
    )  # fmt: skip
    return Rebuilt(
        rows=table,
        notes=notes,
        observations=usable,
        widths=widths(predicted, transfers),
        known=known,
        anchored=anchored,
    )


def _told(row: Observation, seconds: float, half: float) -> Told:
    place = (row.group, row.board, row.release, row.threads)
    return Told(
        place=place,
        kind=row.group.kind,
        family=row.family,
        residual=log(row.seconds / seconds),
        half=half,
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
    say = balanced_mean(((item.row.group, item.row.family), float(held[item])) for item in own)
    return (
        f"{len(usable)} of {len(rows)} rows have a counted network, known kernels and a release "
        f"that none superseded; each of the {len(predicted)} here is predicted by a fit without "
        "its family (a published design in all its widths, depths, sizes and heads), whose form "
        "was chosen without it too, and without the release's own factor, which nobody has "
        "beforehand",
        "by kernels, not by runtime: LiteRT as it ships computes with XNNPACK, not with ruy",
        f"intervals made for {COVERAGE:.0%} hold {say:.1%} of the families of the groups that have "
        f"others ({share:.1%} of their {len(own)} rows), each held to widths made without it",
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
