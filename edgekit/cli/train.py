"""`edgekit train`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli import completion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.executors import Executor
    from edgekit.training.loop import Told
    from edgekit.training.run import TrainOptions, TrainResult


def train(
    model: Annotated[
        str,
        typer.Argument(
            help="Zoo name, for example multitask-cnn:regression.",
            autocompletion=completion.zoo_names,
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Adience root, UTKFace zip or folder, or a folder with labels.csv.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the run. If a run is there, it continues."),
    ],
    protocol: Annotated[
        str | None,
        typer.Option(help="published, folds, random or given. Default: the dataset's own."),
    ] = None,
    fold: Annotated[str, typer.Option(help="Test fold of --protocol folds, or 'all'.")] = "0",
    split_seed: Annotated[int, typer.Option(help="Seed of a random split.")] = 0,
    recipe: Annotated[
        str | None,
        typer.Option(help="paper, strong, framed or levi-hassner. Default: the model's own."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a field of the recipe, like epochs=30; repeat for more."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Start from the weights in this .safetensors file."),
    ] = None,
    teachers: Annotated[
        list[Path] | None,
        typer.Option(
            "--teacher", help="Learn from this network too: weights, or a run's folder; repeat."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 2,
    workers: Annotated[int, typer.Option(help="Threads that decode images.", min=1)] = 2,
    executor: Annotated[
        str, typer.Option(help="Where runs go: local, or dask://HOST:PORT (a trusted network).")
    ] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a zoo network on face images; the test images are used once, at the end.

    Example: edgekit train multitask-cnn --data utkface.zip --recipe strong -o run
    """
    import os

    # Threads that wait asleep lose little when alone and gain much on a shared machine; OpenMP
    # reads this when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import msgspec

    from edgekit import zoo
    from edgekit.cli.output import show
    from edgekit.data import SplitPlan
    from edgekit.errors import BadData
    from edgekit.executors import open_executor
    from edgekit.training.folds import across_folds, fold_runs
    from edgekit.training.recipe import default_recipe
    from edgekit.training.run import TrainOptions

    try:
        plan = msgspec.convert(
            {"protocol": protocol, "fold": 0 if fold == "all" else fold, "seed": split_seed},
            SplitPlan,
            strict=False,
        )
    except msgspec.ValidationError as error:
        raise BadData(f"--protocol {protocol} --fold {fold}: {error}") from error
    name, variant = zoo.resolve(model)
    options = TrainOptions(
        model=model,
        data=data,
        output=output,
        plan=plan,
        recipe=recipe or default_recipe(name),
        changes=tuple(changes or ()),
        start=start,
        seed=seed,
        threads=threads,
        workers=workers,
        teachers=tuple(teachers or ()),
        device=device,
    )
    runs = fold_runs(options, range(5)) if fold == "all" else (options,)
    results = _spread(runs, open_executor(executor, workers=1), quiet or as_json)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(results)).decode())
        return
    rows: list[dict[str, Any]] = [
        {
            "output": score.output,
            "accuracy": score.exact.percent,
            "accuracy_low": score.exact.low,
            "accuracy_high": score.exact.high,
            "one_off": score.one_off.percent if score.one_off else None,
            "lowest_recall": score.lowest_recall,
            "images": score.exact.count,
            "folder": str(one.output),
        }
        for one, result in zip(runs, results, strict=True)
        for score in result.test.scores
    ]
    notes = [results[0].test.protocol]
    if len(results) > 1:
        notes = [
            f"{item.output}: {item.mean:.1f} ± {item.deviation:.1f} % over {item.folds} folds"
            for item in across_folds(results)
        ]
    notes += [f"{count} {decision}" for decision, count in results[0].decisions.items()]
    then = f"edgekit convert {model} --weights {runs[0].output}/{name}.{variant}.safetensors -o out"
    show(f"{model}, test side", rows, as_json=False, notes=notes, then=then)


def _spread(runs: Sequence[TrainOptions], executor: Executor, quiet: bool) -> list[TrainResult]:
    """Do the runs and return their results in order; what runs elsewhere only tells its end."""
    from edgekit.cli.output import progress
    from edgekit.training.folds import elsewhere, train_alone
    from edgekit.training.run import train as run

    def here(options: TrainOptions) -> TrainResult:
        with _progress(quiet) as tell:
            return run(options, tell)

    results: dict[int, TrainResult] = {}
    if executor.here:
        results.update(executor.map(here, runs))
    else:
        with progress(quiet) as say:
            say("train", f"0 of {len(runs)} runs")
            for index, result in executor.map(train_alone, [elsewhere(one) for one in runs]):
                results[index] = result
                say("train", f"{len(results)} of {len(runs)} runs")
            say("train", "done")
    return [results[index] for index in range(len(runs))]


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Told], None]]:
    """Yield what shows a run's progress on standard error: images/s and the time left."""
    if quiet:
        yield lambda told: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _one_line_an_epoch
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.fields[speed]:.0f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("train", total=None, epoch="", speed=0.0)

        def tell(told: Told) -> None:
            done = (told.epoch - 1) * told.images + told.done
            bars.update(
                task,
                total=told.epochs * told.images,
                completed=done,
                epoch=f"{told.epoch}/{told.epochs}",
                speed=told.images_per_second,
            )

        yield tell


def _one_line_an_epoch(told: Told) -> None:
    from edgekit.cli.output import tell

    if told.done == told.images:
        speed = f"{told.images_per_second:.0f} images/s"
        tell(f"epoch {told.epoch} of {told.epochs}, {speed}", errors=True)
