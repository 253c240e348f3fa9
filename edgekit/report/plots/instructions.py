"""Exact instructions of one inference on an emulated board: counts, on an axis of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.records import EmulationRecord, record_key, slug
from edgekit.report.plots.canvas import POINT, Plot, canvas, legend
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT, SERIES

LEAD = (
    "Counted, not timed: how many instructions of the board's own instruction set one inference "
    "takes on one thread, in the real ARM runtime under emulation. Fewer is not always faster; "
    "there is no time in these numbers."
)
_SHAPES = ("o", "s", "^", "v", "P", "X")


def instruction_plots(records: Sequence[EmulationRecord]) -> Iterator[Plot]:
    """Yield one plot a model."""
    from matplotlib.lines import Line2D

    counted = [record for record in records if record.instructions_per_inference is not None]
    for model in dict.fromkeys(record.artifact.model for record in counted):
        own = [record for record in counted if record.artifact.model == model]
        rows_of = list(dict.fromkeys(_name(record) for record in own))
        targets = sorted({record.target for record in own})
        figure, (axes,) = canvas(1.5 + 0.3 * len(rows_of))
        look = {
            name: (_SHAPES[i % len(_SHAPES)], LIGHT[SERIES[i % len(SERIES)]])
            for i, name in enumerate(targets)
        }
        for record in own:
            shape, colour = look[record.target]
            beside = 0.2 * (targets.index(record.target) - (len(targets) - 1) / 2)
            (mark,) = axes.plot(
                [(record.instructions_per_inference or 0) / 1e6],
                [rows_of.index(_name(record)) + beside],
                marker=shape,
                color=colour,
                markersize=6,
                linestyle="",
            )
            mark.set_gid(f"{POINT}{record_key(record)}")
        axes.set_yticks(range(len(rows_of)), rows_of)
        axes.set_ylim(len(rows_of) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("million instructions an inference")
        handles = [Line2D([], [], marker=s, color=c, linestyle="") for s, c in look.values()]
        legend(figure, handles, targets, 4)
        title = f"{model}: {', '.join(targets)}, emulated"
        rows = tuple(_row(record) for record in own)
        yield Plot(
            name=slug(f"instructions {model}"),
            title=title,
            says=_says(model, own),
            data=Table(
                name="data",
                title=title,
                columns=tuple(rows[0]),
                rows=rows,
                notes=(),
                sources=tuple(map(record_key, own)),
            ),
            figure=figure,
        )


def _name(record: EmulationRecord) -> str:
    return f"{record.artifact.backend} {record.artifact.precision}"


def _row(record: EmulationRecord) -> dict[str, Cell]:
    return {
        "artifact": _name(record),
        "target": record.target,
        "instructions_per_inference": record.instructions_per_inference,
        "vector_mac": record.vector_mac,
        "load_store": record.load_store,
        "other": record.other,
        "provenance": record.provenance,
    }


def _says(model: str, own: Sequence[EmulationRecord]) -> str:
    parts = [
        f"{_name(r)} on {r.target} {(r.instructions_per_inference or 0) / 1e6:.3g} M" for r in own
    ]
    return f"Instructions of one inference of {model}: {', '.join(parts)}."
