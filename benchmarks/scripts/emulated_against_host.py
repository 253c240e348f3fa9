"""Writes checks/emulated-against-host.json: accuracy by the ARM binaries beside this machine's.

    edgekit evaluate OUT --data utkface.zip --limit 200 --results host
    edgekit evaluate OUT --data utkface.zip --limit 200 --target rpi4 --device virtual --results emu
    python benchmarks/scripts/emulated_against_host.py host emu

Both folders must hold the same artifacts, judged on the same images.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgekit.files import write_whole
from edgekit.records import AccuracyRecord
from edgekit.results import load_accuracy

SCORES = ("age_accuracy", "age_1off", "gender_accuracy")


def scores(record: AccuracyRecord) -> dict[str, float]:
    """Return what a record holds of age and gender, in per cent."""
    found = {name: getattr(record, name) for name in SCORES}
    return {name: round(value, 2) for name, value in found.items() if value is not None}


def main(host: Path, emulated: Path) -> None:
    """Write a row for each record of `emulated`."""
    here = {record.artifact: record for record in load_accuracy(host)[0]}
    rows: list[dict[str, object]] = []
    for record in load_accuracy(emulated)[0]:
        beside = here[record.artifact]
        assert (beside.images, beside.dataset_sha256) == (record.images, record.dataset_sha256)
        rows.append(
            {
                "model": record.model,
                "backend": record.backend,
                "precision": record.precision,
                "runtime": record.runtime or "the backend's own",
                "device": record.device,
                "images": record.images,
                "there": scores(record),
                "here": scores(beside),
            }
        )
    whole = {"kind": "emulated-against-host", "schema": 1, "rows": rows}
    target = Path(__file__).parents[1] / "checks" / "emulated-against-host.json"
    write_whole(target, json.dumps(whole, indent=1) + "\n")


main(Path(sys.argv[1]), Path(sys.argv[2]))
