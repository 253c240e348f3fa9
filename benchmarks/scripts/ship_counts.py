"""Counts artifacts on a virtual board and keeps the counts, so that nobody has to count them again.

    PYTHONPATH=. python benchmarks/scripts/ship_counts.py BOARD ARTIFACTS

Writes benchmarks/evidence/executed/shipped.json. A count is of a network's operators in a
precision, whatever its weights are, of a board's locked runtime and of its core's issue table: it
is looked up by these (run.shipped_key). A new count takes the place of the one of the same name,
which nobody finds any more. `common_artifacts.py` makes the artifacts.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from edgekit.artifact import find_artifacts
from edgekit.backends import runtime_for
from edgekit.errors import EdgekitError
from edgekit.files import write_whole
from edgekit.latency_model.evidence import folder
from edgekit.latency_model.executed.run import SHIPPED, executed, shipped_key
from edgekit.latency_model.operators import readers
from edgekit.targets import load_target

PATH = folder() / SHIPPED


def main(board: str, places: list[str]) -> None:
    """Count every artifact that a board runs, and write after each."""
    target = load_target(board)
    for artifact in find_artifacts([Path(place) for place in places]):
        manifest = artifact.manifest
        if manifest.backend not in readers():
            continue
        runtime = runtime_for(manifest.backend, None)
        start = time.monotonic()
        name = f"{manifest.model} {manifest.backend} {manifest.precision}"
        ways = (re.match(r"(\w+) int8: ", note) for note in manifest.notes)
        name += "".join(f", {way[1]}" for way in ways if way) + f" on {board}"
        try:
            counted = executed(target, artifact, runtime)
        except EdgekitError as error:  # it dies there: the others are counted all the same
            print(f"{name}: {error}", flush=True)
            continue
        work = {each: round(value) for each, value in asdict(counted).items()}
        add(shipped_key(target, artifact, runtime), name, work)
        took, millions = time.monotonic() - start, work["instructions"] / 1e6
        print(f"{name}: {millions:.1f} M instructions, {took:.0f} s", flush=True)


def add(key: str, name: str, work: dict[str, int]) -> None:
    """Write the counts with one more: one a line, by what they are of."""
    counts = json.loads(PATH.read_text())["counts"] if PATH.is_file() else {}
    kept = {other: each for other, each in counts.items() if each["of"] != name}
    kept[key] = {"of": name, "work": work}
    lines = [
        f"  {json.dumps(each)}: {json.dumps(kept[each])}"
        for each in sorted(kept, key=lambda each: kept[each]["of"])
    ]
    told = json.dumps("benchmarks/scripts/ship_counts.py")
    write_whole(PATH, f'{{\n "command": {told},\n "counts": {{\n' + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
