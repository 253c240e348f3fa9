"""Fits the temperatures of weights that are there: their confidences change, nothing else does."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import replace
from pathlib import Path

import msgspec

from edgekit import zoo
from edgekit.data import SplitPlan, open_dataset
from edgekit.data.decoded import decode_all, frame_of
from edgekit.errors import BadModel
from edgekit.files import sha256, write_whole
from edgekit.paths import shelf
from edgekit.spec import with_temperatures
from edgekit.training.inference import temperatures
from edgekit.training.recorded import Recorded
from edgekit.training.run import TrainResult, card_of, evaluate
from edgekit.zoo.checkpoint import TEMPERATURES, load_weights, read_metadata, save_weights


def refit(one: Recorded, weights: Path, data: str, workers: int = 2) -> TrainResult:
    """Fit the temperatures of a training's weights on its validation side; note them in the file.

    The weights' file, the model card beside it and the record of the training are renewed; the
    tensors stay. The test side is read only to tell the calibration error.
    Raises BadModel where the weights are not those on record.
    """
    if sha256(weights) != one.result.weights_sha256:
        raise BadModel(
            f"{weights} is not what the training on record made: put its result.json in "
            f"benchmarks/training/{weights.stem}/training.json first"
        )
    name, variant = one.result.model, one.result.variant
    spec = zoo.spec(name, variant)
    network = zoo.build(name, variant)
    load_weights(network, weights)
    dataset = open_dataset(data, _plan(one.result.command))
    side = decode_all(dataset.split("val"), frame_of(spec.image), workers)
    heat = temperatures(network, spec, side)
    about = {key: value for key, value in read_metadata(weights).items() if key != TEMPERATURES}
    test = evaluate(network, with_temperatures(spec, heat), dataset.split("test"), workers)
    save_weights(network, weights, about | ({TEMPERATURES: heat} if heat else {}))
    result = replace(
        one.result,
        weights_sha256=sha256(weights),
        temperatures=heat,
        test=replace(one.result.test, confidence=test.confidence),
    )
    for record in (
        shelf("benchmarks") / "training" / weights.stem / "training.json",
        weights.with_suffix(".training.json"),
    ):
        if record.is_file():
            write_whole(record, msgspec.json.format(msgspec.json.encode(result)))
    write_whole(weights.with_suffix(".md"), card_of(result))
    return result


def _plan(command: str) -> SplitPlan:
    """Return the split that a recorded command trained by."""
    said = dict(itertools.pairwise(shlex.split(command)))
    return SplitPlan(protocol=said.get("--protocol"), fold=int(said.get("--fold", 0)))  # type: ignore[arg-type]
