"""The zoo's trained networks, made again from data by the commands that are on record.

Their records are `benchmarks/training/<weights file>/training.json`. Weights small enough ship
with edgekit; the others are kept in a folder of the user's, in which the zoo looks for them.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import zoo
from edgekit.data.utkface import published_split
from edgekit.errors import BadData, BadModel, EdgekitError
from edgekit.files import sha256, write_whole
from edgekit.paths import shelf
from edgekit.training.run import TrainResult
from edgekit.zoo.checkpoint import (
    TEMPERATURES,
    load_weights,
    read_metadata,
    read_temperatures,
    save_weights,
)
from edgekit.zoo.heads import Pair


@dataclass(frozen=True)
class Recorded:
    """A training on record and the file its weights belong in.

    `hours` is how long its epochs took where it was recorded, None where that is not on record
    (a readout solved in closed form has no epochs).
    """

    result: TrainResult
    weights: Path
    hours: float | None

    @property
    def source(self) -> str:
        """The zoo's name of it; of weights that others begin from, as their file is named."""
        return self.weights.stem.replace(".", ":", 1)

    @property
    def needs(self) -> tuple[str, ...]:
        """The weights files of other networks that its command takes.

        A start with a folder is the file of an installed package, which nobody here makes.
        """
        start = self.result.start
        return (start,) * bool(start and "/" not in start) + self.result.teachers

    @property
    def ships(self) -> bool:
        """Whether its weights ship with edgekit."""
        return (zoo.WEIGHTS / self.weights.name).is_file()

    @property
    def made(self) -> bool:
        """Whether the file is there and its own note says that this command made it."""
        if not self.weights.is_file():
            return False
        training = read_metadata(self.weights).get("training")
        return isinstance(training, dict) and training.get("command") == self.result.command


def recorded(folder: Path, records: Path | None = None) -> tuple[Recorded, ...]:
    """Return the trainings on record, each after those whose weights it begins or learns from.

    `folder` is where weights are made. Raises BadData where a record cannot be read.
    """
    found = []
    places = (records or shelf("benchmarks") / "training").glob("*/training.json")
    for path in sorted(places):
        try:
            result = msgspec.json.decode(path.read_bytes(), type=TrainResult)
        except (OSError, msgspec.DecodeError) as error:
            raise BadData(f"{path} is damaged ({error}): restore it") from None
        weights = folder / f"{path.parent.name}.safetensors"
        found.append(Recorded(result, weights, _hours(result)))
    return tuple(_in_order(found))


def with_needed(wanted: Sequence[Recorded], known: Sequence[Recorded]) -> list[Recorded]:
    """Return what is wanted and all that its commands need, in the order of `known`."""
    names = {one.weights.name for one in wanted}
    for one in reversed(known):
        if one.weights.name in names:
            names.update(one.needs)
    return [one for one in known if one.weights.name in names]


def for_use(known: Sequence[Recorded]) -> list[Recorded]:
    """Return the trainings of what users run: not those that only shipped weights came from."""

    def lacked(one: Recorded) -> bool:
        takers = [other for other in known if one.weights.name in other.needs]
        return not takers or any(not taker.ships for taker in takers)

    return [one for one in known if lacked(one)]


def _in_order(found: Sequence[Recorded]) -> Iterator[Recorded]:
    left = list(found)
    while left:
        names = {one.weights.name for one in left}
        ready = [one for one in left if not names & set(one.needs)] or left
        yield from ready
        left = [one for one in left if one not in ready]


def _hours(result: TrainResult) -> float | None:
    if not result.images_per_second:
        return None
    epochs = result.recipe.stop or result.recipe.epochs
    images = epochs * len(published_split().train)
    return images / result.images_per_second / 3600


def command_of(one: Recorded, data: Path) -> list[str]:
    """Return the recorded command with this machine's paths, and `--output` beside the weights.

    Raises BadModel where weights of other networks that it takes are not beside its own.
    """
    words = shlex.split(one.result.command)
    words[words.index("--data") + 1] = str(data)
    for name in one.needs:
        path = one.weights.parent / name
        if not path.is_file():
            raise BadModel(f"{one.source} needs {path}, which is not there: make it first")
        words = [str(path) if word == name else word for word in words]
    return [sys.executable, "-m", *words, "--output", str(_run_folder(one))]


def make(one: Recorded, data: Path, quiet: bool) -> None:
    """Train it and put its weights, card and result in their folder; goes on where it stood.

    Raises EdgekitError where the training did not end well; it has said why.
    """
    command = command_of(one, data) + (["--quiet"] if quiet else [])
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise EdgekitError(
            f"training {one.source} ended with exit code {done.returncode}: mend what it said "
            "and run again; it goes on where it was"
        )
    run = _run_folder(one)
    trained = run / f"{one.result.model}.{one.result.variant}.safetensors"
    write_whole(one.weights.with_suffix(".training.json"), (run / "result.json").read_bytes())
    write_whole(one.weights.with_suffix(".md"), trained.with_suffix(".md").read_text())
    write_whole(one.weights, trained.read_bytes())
    shutil.rmtree(run)


def _run_folder(one: Recorded) -> Path:
    return one.weights.parent / f"{one.weights.stem}.run"


def join_pairs(trained: Sequence[Recorded]) -> list[Path]:
    """Write the weights of each `pair` whose age and gender network are there; return them."""
    written = []
    for age in trained:
        gender = age.weights.with_name(f"{age.result.model}.gender.safetensors")
        variants = zoo.systems()[age.result.model].variants
        if age.result.variant != "age" or "pair" not in variants or not gender.is_file():
            continue
        network = zoo.build(age.result.model, "pair")
        assert isinstance(network, Pair)
        load_weights(network.age, age.weights)
        load_weights(network.gender, gender)
        path = age.weights.with_name(f"{age.result.model}.pair.safetensors")
        note = {"age": sha256(age.weights), "gender": sha256(gender)}
        about = {"model": age.result.model, "variant": "pair", "training": note}
        heat = read_temperatures(age.weights) | read_temperatures(gender)
        save_weights(network, path, about | ({TEMPERATURES: heat} if heat else {}))
        written.append(path)
    return written
