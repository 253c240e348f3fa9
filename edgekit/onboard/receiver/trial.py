"""Proves a version on the board before it serves: golden answers and the p90, by its own runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.programs import last_words, run

TIMEOUT_S = 900.0
"""For a large network on the slowest board; a hung runtime ends here."""

SAMPLES = 64
"""What a p90 needs at 99 % confidence."""


def golden(python: str, version: Path) -> dict[str, Any]:
    """Return the runner's report of the golden images. Raises Refused where one answers wrongly."""
    event = _event(python, ["golden"], version)
    if event.get("passed") is not True:
        raise Refused(
            f"the golden test failed here: {'; '.join(map(str, event.get('faults', [])))}"
        )
    return event


def latency(python: str, version: Path, limit_ms: float, scratch: Path) -> float:
    """Return the p90 of one inference on the golden images, in ms.

    One thread, one process, SAMPLES calls or more after the warm-up. Raises Refused where it is
    over `limit_ms`.
    """
    job = scratch / ".latency.json.aside"
    table = {
        "task": "bench",
        "threads": 1,
        "images": sorted(str(path) for path in (version / "golden").glob("*.png")),
        "min_seconds": 0,
        "min_count": SAMPLES,
        "warmup_max_seconds": 5,
    }
    job.write_text(json.dumps(table))
    try:
        samples = sorted(_event(python, [str(job)], version)["invoke_s"])
    finally:
        job.unlink()
    p90 = 1000 * float(samples[-(-9 * len(samples) // 10) - 1])
    if not p90 <= limit_ms:
        raise Refused(f"p90 is {p90:.3g} ms here, over the limit of {limit_ms:g} ms")
    return p90


def _event(python: str, arguments: list[str], version: Path) -> dict[str, Any]:
    """Return the last event of the version's runner. Raises Refused in the runner's own words."""
    command = [python, "runner.py", *arguments]
    done = run(command, version, TIMEOUT_S, version.with_name(".scratch.aside"))
    event: object = None
    for line in done.stdout.splitlines():
        if line.startswith(b"{"):
            event = json.loads(line)
    if not isinstance(event, dict):
        raise Refused(f"the runner gave no answer: {last_words(done)}")
    if "error" in event:
        raise Refused(f"the runner failed: {event.get('kind')}: {event['error']}")
    return event
