"""Counts artifacts on a virtual board and keeps the counts, so that nobody has to count them again.

    PYTHONPATH=. python benchmarks/scripts/ship_counts.py BOARD ARTIFACTS

Writes benchmarks/evidence/executed/shipped.json. A count is of a network's operators in a
precision, whatever its weights are, of a board's locked runtime and of its core's issue table: it
is looked up by these (run.shipped_key), and one that none of them asks for any more is never found.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from edgekit.artifact import find_artifacts
from edgekit.backends import runtime_for
from edgekit.files import write_whole
from edgekit.latency_model.evidence import folder
from edgekit.latency_model.executed.run import SHIPPED, executed, shipped_key
from edgekit.latency_model.operators import readers
from edgekit.targets import load_target

PATH = folder() / SHIPPED


def main(board: str, places: list[str]) -> None:
    """Count every artifact that a board runs, and write after each."""
    target = load_target(board)
    counts = json.loads(PATH.read_text())["counts"] if PATH.is_file() else {}
    for artifact in find_artifacts([Path(place) for place in places]):
        manifest = artifact.manifest
        if manifest.backend not in readers():
            continue
        runtime = runtime_for(manifest.backend, None)
        work = executed(target, artifact, runtime)
        name = f"{manifest.model} {manifest.backend} {manifest.precision} on {board}"
        counts[shipped_key(target, artifact, runtime)] = {"of": name, "work": asdict(work)}
        content = {"command": "benchmarks/scripts/ship_counts.py", "counts": counts}
        write_whole(PATH, json.dumps(content, indent=1) + "\n")
        print(f"{name}: {work.instructions / 1e6:.1f} M instructions", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
