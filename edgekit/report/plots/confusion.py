"""Confusion matrices: which class was taken for which, and how often."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.paths import shelf
from edgekit.records import AccuracyRecord, Confusion, record_key, slug
from edgekit.report.plots.canvas import Plot, canvas, settle
from edgekit.report.records import Saved
from edgekit.report.table import Cell, Table
from edgekit.report.theme import LIGHT
from edgekit.runtimes.table import role_of

LEAD = (
    "Each row is a true class, each column the answer; a cell is the number of images, its shade "
    "that number's share of the row. Records made before confusions were kept have none."
)
SHADE = 0.55
"""How much of the colour a full cell takes: ink on it must stay readable."""


def confusion_plots(saved: Saved) -> Iterator[Plot]:
    """Yield one plot a record and output, the user's own before those that ship with edgekit."""
    shipped = shelf("benchmarks")

    def order(record: AccuracyRecord) -> tuple[object, ...]:
        files = saved.files[record_key(record)]
        ours = all(path.resolve().is_relative_to(shipped) for path in files)
        return ours, record.model, role_of(record.backend) != "reference", record.label

    for record in sorted(saved.accuracy, key=order):
        for item in record.confusion:
            if any(map(sum, item.counts)):
                yield _plot(record, item)


def _plot(record: AccuracyRecord, item: Confusion) -> Plot:
    from matplotlib.patches import Rectangle

    count = len(item.labels)
    figure, (axes,) = canvas(1.4 + min(0.33 * max(count, 4), 5.0))
    for true, row in enumerate(item.counts):
        total = sum(row)
        for answer, images in enumerate(row):
            share = images / total if total else 0.0
            cell = Rectangle(
                (answer - 0.5, true - 0.5), 1, 1, facecolor=LIGHT["series0"], alpha=SHADE * share
            )
            if share:
                axes.add_patch(cell)
            if images and count <= 16:
                axes.text(answer, true, f"{images:,}", ha="center", va="center", fontsize=7)
    turned = 40 if count > 3 else 0
    axes.set_xticks(range(count), item.labels, rotation=turned, ha="right" if turned else "center")
    axes.set_yticks(range(count), item.labels)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.set_xlabel("answered")
    axes.set_ylabel(f"true {item.output}")
    settle(figure)
    title = (
        f"{record.model} {record.backend} {record.precision}, {item.output}: {record.protocol}, "
        f"{record.split} side"
    )
    rows = tuple(_rows(item))
    sources = tuple(record_key(record) for _ in rows)
    return Plot(
        name=slug(f"confusion {record.label} {item.output}"),
        title=title,
        says=_says(item),
        data=Table(
            name="data", title=title, columns=tuple(rows[0]), rows=rows, notes=(), sources=sources
        ),
        figure=figure,
    )


def _rows(item: Confusion) -> Iterator[dict[str, Cell]]:
    for place, (label, row) in enumerate(zip(item.labels, item.counts, strict=True)):
        total = sum(row)
        answers: dict[str, Cell] = {
            f"answered {name}": images for name, images in zip(item.labels, row, strict=True)
        }
        recall = 100 * row[place] / total if total else None
        known: dict[str, Cell] = {"true_class": label, "images": total, "recall_percent": recall}
        yield known | answers


def _says(item: Confusion) -> str:
    total = sum(map(sum, item.counts))
    right = sum(row[place] for place, row in enumerate(item.counts))
    said = f"{right:,} of {total:,} images right ({100 * right / total:.1f} %)."
    wrong = [
        (images, item.labels[true], item.labels[answer])
        for true, row in enumerate(item.counts)
        for answer, images in enumerate(row)
        if images and true != answer
    ]
    for images, true, answer in sorted(wrong, key=lambda found: -found[0])[:2]:
        said += f" {images:,} of {true} were taken for {answer}."
    return said
