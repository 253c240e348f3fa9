"""What is known of the predictors beside each other: how much each errs, what anchors are worth."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.latency_model.anchoring import Anchoring


def errors_of_both(core: str, kind: str) -> tuple[float, float] | None:
    """Return the mean errors of left-out families of executed and analytic, as shares.

    They are of the kernels that both know on a core in a `kind` of arithmetic; None without any.
    """
    from edgekit.latency_model.analytic.predictor import open_predictor as open_analytic
    from edgekit.latency_model.executed.predictor import open_predictor as open_executed

    priced = {
        group.kernels: group.mape
        for group in open_analytic().known.groups
        if (group.core, group.group.kind, group.bits) == (core, kind, 64) and group.mape
    }
    counted = {
        key.split()[0].replace("litert", "xnnpack"): mape
        for board in open_executed().known.boards
        if board.core == core
        for key, mape in board.mape.items()
        if key.split()[1] == kind
    }
    both = sorted(set(priced) & set(counted))
    if not both:
        return None
    return _mean([counted[name] for name in both]), _mean([priced[name] for name in both])


def worth_of_anchors(method: str, core: str) -> tuple[Anchoring, ...]:
    """Return what anchors are worth to a method on a core, as its file of constants says."""
    if method == "analytic":
        from edgekit.latency_model.analytic.predictor import open_predictor as open_analytic

        return open_analytic().known.anchored
    from edgekit.latency_model.executed.predictor import open_predictor as open_executed

    boards = open_executed().known.boards
    return next((board.anchored for board in boards if board.core == core), ())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
