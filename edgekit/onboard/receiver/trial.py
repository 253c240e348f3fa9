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
    event = _event("golden", python, ["golden"], version)
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
        samples = _samples(_event("bench", python, [str(job)], version))
    finally:
        job.unlink()
    p90 = 1000 * float(samples[-(-9 * len(samples) // 10) - 1])
    if not p90 <= limit_ms:
        raise Refused(f"p90 is {p90:.3g} ms here, over the limit of {limit_ms:g} ms")
    return p90


def _samples(event: dict[str, Any]) -> list[float]:
    """Return a bench's samples in order. Raises Refused where they are none."""
    given = event.get("invoke_s")
    samples = given if isinstance(given, list) else []
    if not samples or not all(type(s) in (int, float) and 0 <= s < float("inf") for s in samples):
        raise Refused("the runner measured nothing here: its answer holds no times")
    return sorted(samples)


def _event(name: str, python: str, arguments: list[str], version: Path) -> dict[str, Any]:
    """Return the last event of that name from the version's runner, which ended well.

    Libraries print what they please; a runner that failed has said nothing, whatever was printed.
    Raises Refused in the runner's own words.
    """
    command = [python, "runner.py", *arguments]
    done = run(command, version, TIMEOUT_S, version.with_name(".scratch.aside"))
    said = [_object(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    for item in said:
        if "error" in item and "event" not in item:
            raise Refused(f"the runner failed: {item.get('kind')}: {item['error']}")
    events = [item for item in said if item.get("event") == name]
    if done.returncode:
        raise Refused(f"the runner failed: {last_words(done)}")
    if not events:
        raise Refused(f"the runner gave no answer: {last_words(done)}")
    return events[-1]


def _object(line: bytes) -> dict[str, Any]:
    """Return the JSON object a line holds, or an empty one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
