"""Measures evaluating an artifact against a plain loop of decode and infer in one process.

    python benchmarks/scripts/evaluation_speed.py utkface.zip ARTIFACT [ARTIFACT ...] > OUT.json

The plain loop decodes in full, resizes, invokes and decides, one image after the other, on one
thread. `evaluate` is the shards of `edgekit evaluate`, `--workers 2`, with nothing decoded before
(`cold`, the first artifact of an input size) and from the cache (`warm`, every later one). Both
load the artifact in their time; neither reads the labels. They take turns, and a ratio is that of
one turn: the median is given with the least and greatest, which hold the true median in 94 % of
samples of five. CPU time is of the process and its children: what a busy machine disturbs least.
Wall time can gain from two cores, CPU time cannot: on free cores the wall ratio is at most `cores`
x the ratio of CPU times. Where others keep the cores busy, two processes also get more of them
than one: a wall ratio measured there (see `load_average`) is no speed-up to quote.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from edgekit.artifact import Artifact, load_artifact
from edgekit.backends import runtime_for
from edgekit.data import Dataset, open_dataset
from edgekit.evaluation.shards import run_shards, shards_of
from edgekit.executors import open_executor
from edgekit.onboard import runner
from edgekit.targets import load_target

IMAGES, TURNS, WORKERS = 1000, 5, 2


def plain_loop(artifact: Artifact, dataset: Dataset) -> None:
    """Read, decode in full, resize, invoke and decide, one image after the other."""
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    runtime = runtime_for(artifact.manifest.backend, None)
    invoke = runner.RUNTIMES[runtime](str(artifact.path), manifest, 1)
    size = artifact.manifest.input.width, artifact.manifest.input.height
    for sample in dataset.samples:
        with Image.open(io.BytesIO(dataset.read(sample))) as encoded:
            image = encoded.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        values = invoke(runner.feed(np.asarray(image), manifest))
        for output, value in zip(manifest["outputs"], values, strict=True):
            runner.decide(value, output)


def sharded(artifact: Artifact, dataset: Dataset, data: Path) -> None:
    """Run the shards of `edgekit evaluate` on this machine."""
    target = load_target("host")
    shards = list(shards_of(artifact, dataset, data, target, "local", None, WORKERS))
    run_shards(shards, open_executor("local", WORKERS), lambda count: None)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return (wall, CPU of this process and its ended children) in seconds."""
    start, cpu = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - start, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return user and system time of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(artifact: Artifact, dataset: Dataset, data: Path) -> dict[str, Any]:
    """Return the times of every turn and their ratios."""
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "cold": [], "warm": []}
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            times["plain"].append(timed(lambda: plain_loop(artifact, dataset)))
            times["cold"].append(timed(lambda: sharded(artifact, dataset, data)))
            times["warm"].append(timed(lambda: sharded(artifact, dataset, data)))
    found: dict[str, Any] = {"artifact": artifact.label, "sha256": artifact.sha256}
    for place, clock in enumerate(("wall", "cpu")):
        for way in ("cold", "warm"):
            pairs = zip(times["plain"], times[way], strict=True)
            ratios = sorted(plain[place] / ours[place] for plain, ours in pairs)
            found[f"{clock}_ratio_{way}"] = {
                "median": round(median(ratios), 2),
                "least": round(ratios[0], 2),
                "greatest": round(ratios[-1], 2),
            }
    found["cpu_ms_per_image"] = {
        way: round(median(cpu for _, cpu in turns) / len(dataset.samples) * 1000, 3)
        for way, turns in times.items()
    }
    found["cpu_ms_inference"] = round(inference(artifact, dataset), 3)
    whole = found["cpu_ms_per_image"]["plain"]
    found["most_that_one_image_at_a_time_allows"] = round(
        WORKERS * whole / found["cpu_ms_inference"], 2
    )
    return found


def inference(artifact: Artifact, dataset: Dataset) -> float:
    """Return the CPU milliseconds of one invoke alone: what no decoding can save."""
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    runtime = runtime_for(artifact.manifest.backend, None)
    invoke = runner.RUNTIMES[runtime](str(artifact.path), manifest, 1)
    pixels = runner.decode_for(dataset.read(dataset.samples[0]), asdict(artifact.manifest.input))
    tensor = runner.feed(pixels, manifest)

    def calls() -> None:
        for _ in range(200):
            invoke(tensor)

    return min(timed(calls)[1] for _ in range(3)) / 200 * 1000


def main(data: str, artifacts: list[str]) -> None:
    """Print the record."""
    dataset = open_dataset(data).split("test")
    dataset = replace(dataset, samples=dataset.samples[:IMAGES])
    rows = [measure(load_artifact(Path(one)), dataset, Path(data)) for one in artifacts]
    record = {
        "kind": "evaluation-speed",
        "schema": 1,
        "command": "python benchmarks/scripts/evaluation_speed.py utkface.zip ARTIFACT ...",
        "images": len(dataset.samples),
        "turns": TURNS,
        "workers": WORKERS,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {
            name: metadata.version(name)
            for name in ("Pillow", "numpy", "onnxruntime", "ai-edge-litert", "openvino")
        },
        "rows": rows,
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
