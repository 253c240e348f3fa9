"""One training run, from options to weights, a model card and a recorded result."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import msgspec
import torch
from torch import nn

from edgekit import zoo
from edgekit.data import Dataset, SplitPlan, open_dataset
from edgekit.data.decoded import decode_all, frame_of
from edgekit.data.reframe import reframe
from edgekit.errors import DISTRIBUTION, BadModel
from edgekit.evaluation.assessment import Assessment, assess, shares
from edgekit.files import sha256, write_whole
from edgekit.records import AccuracyRecord
from edgekit.spec import ModelSpec, with_temperatures
from edgekit.training.card import model_card
from edgekit.training.device import choose_device
from edgekit.training.elm import fit_elm
from edgekit.training.inference import decisions, predict, sureness, temperatures, validate
from edgekit.training.loop import Told, Trained, fit
from edgekit.training.recipe import Recipe, adjusted
from edgekit.training.teachers import Lessons, lessons_of, weights_of
from edgekit.version import __version__
from edgekit.zoo.checkpoint import TEMPERATURES, read_weights, save_weights

SCHEMA = 1

TRAINERS = {"cnn-elm": fit_elm}
"""What trains a system that is not trained by gradient descent."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `edgekit train` is asked for.

    `model` is a zoo source (`multitask-cnn:regression`); `recipe` a name and `changes` its
    `FIELD=VALUE` changes; `output` the folder that gets checkpoint, log and results.
    `start` are weights to begin from: every tensor whose name and shape the network has too.
    `teachers` are weights, or folders of runs, whose answers on the train side are soft targets.
    `threads` are torch's, `workers` decode images the first time they are needed; `device` is
    auto, cpu, cuda or mps.
    """

    model: str
    data: str
    output: Path
    plan: SplitPlan = field(default_factory=SplitPlan)
    recipe: str = "paper"
    changes: tuple[str, ...] = ()
    start: Path | None = None
    seed: int = 0
    threads: int = 2
    workers: int = 2
    teachers: tuple[Path, ...] = ()
    device: str = "auto"

    def command(self) -> str:
        """Return the command that repeats this run; of paths only the last part is kept."""
        words = ["edgekit", "train", self.model, "--data", Path(self.data).name]
        if self.plan.protocol:
            words += ["--protocol", self.plan.protocol]
        if self.plan.protocol == "folds":
            words += ["--fold", str(self.plan.fold)]
        words += ["--recipe", self.recipe]
        words += [word for change in self.changes for word in ("--set", change)]
        if self.start is not None:
            words += ["--from", named(self.start)]
        words += [word for path in self.teachers for word in ("--teacher", weights_of(path).name)]
        words += ["--seed", str(self.seed), "--threads", str(self.threads)]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run, as `result.json` records it.

    `validation` is the mean over the outputs of exact accuracy in per cent, of the epoch chosen
    by it; the test side was evaluated once, after that choice. `start` is the file of the weights
    it began from, or empty; `decisions` counts what was left out or left unlabelled, and why.
    `reframed` is each output's exact accuracy in per cent on the validation side reframed
    (data/reframe.py), which chose nothing. `teachers` are the files of the weights it learned from.
    `temperatures` were fitted on the validation side, by output (evaluation/confidence.py).
    """

    schema: int
    model: str
    variant: str
    command: str
    parameters: int
    weights_sha256: str
    best_epoch: int
    validation: float
    images_per_second: float
    start: str
    recipe: Recipe
    seed: int
    versions: dict[str, str]
    decisions: dict[str, int]
    test: Assessment
    reframed: dict[str, float] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    device: str = "cpu"
    temperatures: dict[str, float] = field(default_factory=dict)


def train(options: TrainOptions, tell: Callable[[Told], None] = lambda told: None) -> TrainResult:
    """Train, choose by validation, evaluate the test side once and write everything down.

    A run that was interrupted goes on where its folder's checkpoint stands.
    """
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    name, variant = zoo.resolve(options.model)
    spec = zoo.spec(name, variant)
    recipe = adjusted(options.recipe, options.changes)
    labels = {output.name: output.labels for output in spec.outputs}
    dataset = open_dataset(options.data, options.plan, labels=labels)
    network = zoo.build(name, variant, options.seed)
    if options.start is not None:
        begin_from(network, options.start)
    elif name in TRAINERS:
        raise BadModel(f"{name} is fitted to a trained network's features: give them with --from")
    lessons: Lessons = {}
    if options.teachers:
        side = dataset.split("train")
        lessons = lessons_of(options.teachers, spec, side, recipe, options.workers)
    with torch.random.fork_rng(devices=[]):
        trained = TRAINERS.get(name, fit)(
            network,
            spec,
            dataset,
            recipe,
            options.output,
            seed=options.seed,
            workers=options.workers,
            device=device,
            lessons=lessons,
            tell=tell,
        )
    return conclude(options, spec, dataset, recipe, trained, device)


def begin_from(network: nn.Module, path: Path) -> None:
    """Copy into a network every tensor of a weights file that it has too, name and shape.

    One that an installed package brings is found as `package/path/in/it`.
    Raises BadModel where the file cannot be read or shares nothing with the network.
    """
    given = read_weights(start_file(path))
    own = network.state_dict()
    shared = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    if not shared:
        raise BadModel(f"{path} has no tensor in common with the network: check --from")
    network.load_state_dict(own | shared)


def start_file(path: Path) -> Path:
    """Return the path, or the file of an installed package that it names."""
    if path.exists() or path.is_absolute() or len(path.parts) < 2:
        return path
    found = find_spec(path.parts[0])
    places = [] if found is None else found.submodule_search_locations or []
    return next((inside for p in places if (inside := Path(p, *path.parts[1:])).is_file()), path)


def named(path: Path) -> str:
    """Return how records name a file: an installed package's by its path, others by their name."""
    return path.name if start_file(path) == path else path.as_posix()


def conclude(
    options: TrainOptions,
    spec: ModelSpec,
    dataset: Dataset,
    recipe: Recipe,
    trained: Trained,
    device: str,
) -> TrainResult:
    """Evaluate a trained network on the test side and write down all that comes of it.

    Weights (`<model>.<variant>.safetensors`), model card (`.md`), `result.json` and, as the
    report reads it, `accuracy.json`.
    """
    name, variant = zoo.resolve(options.model)
    weights = options.output / f"{name}.{variant}.safetensors"
    note = {
        "command": options.command(),
        "recipe": asdict(recipe),
        "seed": options.seed,
        "best_epoch": trained.best_epoch,
        "validation": trained.best_score,
        "data": dataset.protocol,
        "versions": versions(),
    }
    side = decode_all(dataset.split("val"), frame_of(spec.image), options.workers)
    heat = temperatures(trained.network, spec, side)
    spec = with_temperatures(spec, heat)
    about = {"model": name, "variant": variant, "training": note}
    save_weights(trained.network, weights, about | ({TEMPERATURES: heat} if heat else {}))
    moved = decode_all(reframe(dataset.split("val")), frame_of(spec.image), options.workers)
    test = evaluate(trained.network, spec, dataset.split("test"), options.workers)
    result = TrainResult(
        schema=SCHEMA,
        model=name,
        variant=variant,
        command=options.command(),
        parameters=sum(parameter.numel() for parameter in trained.network.parameters()),
        weights_sha256=sha256(weights),
        best_epoch=trained.best_epoch,
        validation=trained.best_score,
        images_per_second=trained.images_per_second,
        start=named(options.start) if options.start else "",
        recipe=recipe,
        seed=options.seed,
        versions=versions(),
        decisions=dict(dataset.decisions.counts),
        test=test,
        reframed=validate(trained.network, spec, moved),
        teachers=tuple(weights_of(path).name for path in options.teachers),
        device=device,
        temperatures=heat,
    )
    write_whole(options.output / "result.json", msgspec.json.format(msgspec.json.encode(result)))
    write_whole(weights.with_suffix(".md"), card_of(result))
    accuracy = accuracy_record(result, Path(options.data))
    write_whole(
        options.output / "accuracy.json", msgspec.json.format(msgspec.json.encode(accuracy))
    )
    return result


def evaluate(network: nn.Module, spec: ModelSpec, dataset: Dataset, workers: int) -> Assessment:
    """Return a torch network's assessment on all of a dataset's images, plainly decoded."""
    images = decode_all(dataset, frame_of(spec.image), workers)
    outputs = predict(network, spec, images.pixels)
    return assess(images.dataset, decisions(outputs, spec), sureness(outputs, spec))


def accuracy_record(result: TrainResult, data: Path) -> AccuracyRecord:
    """Return the test side's shares as the report reads them, beside those of artifacts."""
    known = shares(result.test)
    wanted = {item.name for item in fields(AccuracyRecord)}
    return AccuracyRecord(
        model=f"{result.model}:{result.variant}",
        backend="torch",
        precision="fp32",
        artifact=None,
        dataset=result.test.dataset,
        dataset_sha256=sha256(data) if data.is_file() else "",
        split="test",
        protocol=result.test.protocol,
        images=result.test.images,
        provenance="measured",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=result.command,
        confusion=tuple(item.matrix for item in result.test.scores),
        **{name: value for name, value in known.items() if name in wanted},  # type: ignore[arg-type]
    )


def card_of(result: TrainResult) -> str:
    """Return a result's model card."""
    recipe = result.recipe
    start = f"the weights in {result.start}" if result.start else "random weights"
    length = f"{recipe.epochs} epoch{'s' if recipe.epochs != 1 else ''}"
    how = f"{length} from {start}, batch {recipe.batch}, {recipe.optimiser} at "
    how += f"{recipe.learning_rate:g} ({recipe.schedule}), seed {result.seed}"
    if result.teachers:
        share = f"{100 * recipe.teacher_share:.0f} % of each target"
        how += f"; {share} from {', '.join(result.teachers)}"
    if result.model in TRAINERS:
        how = f"solved in closed form on the features of {start}: no epochs"
    lines = [
        how,
        f"weights of epoch {result.best_epoch}, chosen by the validation side alone "
        f"(mean exact accuracy {result.validation:.1f} %"
        + (
            f"; on its faces reframed {fmean(result.reframed.values()):.1f} %)"
            if result.reframed
            else ")"
        ),
        f"with {', '.join(f'{name} {value}' for name, value in result.versions.items())}",
    ]
    title = f"{result.model}:{result.variant}"
    return model_card(title, result.parameters, result.command, result.test, lines)


def versions() -> dict[str, str]:
    """Return the versions that training depends on."""
    packages = ("torch", "numpy", "Pillow")
    return {DISTRIBUTION: __version__, **{name: metadata.version(name) for name in packages}}
