"""The scatter plots claim only what their intervals allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from records import a_measurement, an_accuracy

from edgekit.report.plots.canvas import drawing
from edgekit.report.plots.scatter import accuracy_plots
from edgekit.report.records import Saved
from edgekit.report.scatter_points import points


@pytest.mark.parametrize(
    ("accuracies", "corners"),
    [
        ([(70.2, 68.1, 72.3), (70.3, 68.2, 72.4), (70.1, 68.0, 72.2)], 0),
        ([(60.2, 58.1, 62.3), (70.3, 68.2, 72.4), (70.4, 68.2, 72.4)], 2),
        ([(99.9, 99.0, 100.0), (100.0, 99.9, 100.0), (99.5, 98.0, 100.0)], 0),
    ],
)
def test_a_front_is_a_step_through_what_clearly_differs(
    accuracies: list[tuple[float, float, float]], corners: int
) -> None:
    placed = []
    for place in range(1, len(accuracies) + 1):
        row = a_measurement(median_ms=float(place), label=f"row{place}")
        facts = replace(row.artifact, sha256=f"{place}" * 64, weights="trained")
        placed.append(replace(row, artifact=facts))
    records = [
        an_accuracy(
            model=row.artifact.model, backend="onnx", artifact=row.artifact.sha256,
            age_accuracy=value, age_accuracy_low=low, age_accuracy_high=high,
        )
        for row, (value, low, high) in zip(placed, accuracies, strict=True)
    ]  # fmt: skip
    found, _ = points(
        Saved(
            measurements=tuple(placed), accuracy=tuple(records), emulations=(), predictions=(),
            problems=(), files={},
        )
    )  # fmt: skip
    with drawing():
        (plot,) = accuracy_plots(found)
    (axes,) = plot.figure.axes
    low, high = axes.get_ylim()
    assert 0 <= low < high <= 100
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [np.size(line.get_xdata()) for line in steps] == ([corners] if corners else [])
    assert len(axes.collections) == 6, "an interval of latency and of accuracy for each mark"
