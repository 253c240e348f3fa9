"""Judges networks on the validation side alone: its faces as given, and reframed.

    python benchmarks/training/ablation/judge.py utkface.zip RUN_OR_WEIGHTS... > ablation.json

A run that has ended is judged by its weights, one that has not by its checkpoint's best epoch.
Both are exact accuracies in per cent, in float32, in torch; `choice` is the mean of all four.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import torch
from torch import nn

from edgekit import zoo
from edgekit.data import open_dataset
from edgekit.data.decoded import decode_all, frame_of
from edgekit.data.reframe import reframe
from edgekit.training.inference import validate
from edgekit.zoo.checkpoint import load_weights, read_metadata


def network_of(path: Path) -> tuple[str, nn.Module, dict[str, Any]]:
    """Return the zoo name, the network and what is known of its training."""
    found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if found:
        note = read_metadata(found[0])
        source, training = f"{note['model']}:{note['variant']}", note["training"]
        network = zoo.build(*zoo.resolve(source))
        load_weights(network, found[0])
        return source, network, {"ended": True, **_facts(training)}
    state = torch.load(path / "checkpoint.pt", map_location="cpu", weights_only=True)
    best = state["progress"]["best"]
    for source in ("multitask-cnn:classification", "multitask-cnn:teacher"):
        network = zoo.build(*zoo.resolve(source))
        if network.state_dict().keys() <= best.keys():
            network.load_state_dict({name: best[name] for name in network.state_dict()})
            recipe = msgspec.json.decode(state["run"])["recipe"]
            facts = {"best_epoch": state["progress"]["best_epoch"], "epochs": recipe["epochs"]}
            return source, network, {"ended": False, **facts, "recipe": recipe}
    raise SystemExit(f"{path}: no network of ours")


def _facts(training: Any) -> dict[str, Any]:
    recipe = training["recipe"]
    return {
        "command": training["command"],
        "best_epoch": training["best_epoch"],
        "epochs": recipe["epochs"],
        "recipe": recipe,
    }


def main(data: str, paths: list[Path]) -> None:
    """Print a row for each path as JSON."""
    torch.set_num_threads(1)
    side = open_dataset(data).split("val")
    moved = reframe(side)
    rows = []
    for path in paths:
        source, network, facts = network_of(path)
        spec = zoo.spec(*zoo.resolve(source))
        given = validate(network, spec, decode_all(side, frame_of(spec.input)))
        reframed = validate(network, spec, decode_all(moved, frame_of(spec.input)))
        row: dict[str, Any] = {"name": path.stem, "model": source}
        row |= {f"{name}_given": round(value, 2) for name, value in given.items()}
        row |= {f"{name}_reframed": round(value, 2) for name, value in reframed.items()}
        row["choice"] = round(fmean([*given.values(), *reframed.values()]), 2)
        rows.append(row | facts)
    print(msgspec.json.format(msgspec.json.encode(rows)).decode())


if __name__ == "__main__":
    main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
