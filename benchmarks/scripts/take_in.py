"""Takes published rows into latency.csv that a prediction can be held to, by a stated rule.

    python benchmarks/scripts/take_in.py ROWS.csv

ROWS.csv has latency.csv's columns. A row is left out for the first reason of REASONS that is true
of it; the script prints how many each reason kept out. A row that is in latency.csv already stays
as it is. What is only doubtful is taken in and counts less (edgekit/latency_model/evidence.py,
`Row.trust`).
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

EVIDENCE = Path(__file__).parents[1] / "evidence"
Record = dict[str, str]
ONE_SIZE = {
    "YOLOX-Nano": "3x416x416", "YOLOX-Tiny": "3x416x416",
    "YOLOX-S": "3x640x640", "YOLOX-M": "3x640x640",
}  # fmt: skip
"""Networks published at one input size: where a source states none, it is taken to be this."""
NO_KERNELS = ("baseline", "PyTorch", "TFLite (LCE")
"""Runtimes whose kernels none of ours has; Larq's are binary networks."""

REASONS: dict[str, Callable[[Record], bool]] = {
    "not a Raspberry Pi": lambda row: not row["board"].startswith("Raspberry Pi"),
    "precision unstated": lambda row: row["dtype"] == "unstated",
    "kernels none of ours has": lambda row: row["runtime"].startswith(NO_KERNELS),
    "TFLite, and whether ruy or XNNPACK computed is unstated": lambda row: (
        row["runtime"] == "TFLite" and "XNNPACK-enabled" not in row["notes"]
    ),
    "its repository is not named": lambda row: "not named" in row["source_repo"],
    "input size unstated": lambda row: (
        "unstated" in row["input"] and row["model"] not in ONE_SIZE
        and "640x640" not in row["input"]
    ),
    "its own source calls it an outlier": lambda row: "OUTLIER" in row["notes"],
    "no published design to count": lambda row: row["model"] not in counted(),
}  # fmt: skip


def counted() -> set[str]:
    """Return the networks whose operators are counted."""
    with (EVIDENCE / "features.csv").open(newline="") as file:
        return {row["model"] for row in csv.DictReader(file)}


def why_not(row: Record) -> str | None:
    """Return the first reason to leave a row out, None where it is taken in."""
    return next((reason for reason, holds in REASONS.items() if holds(row)), None)


def main() -> None:
    """Append what can be used, in the order it came."""
    path = EVIDENCE / "latency.csv"
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns, known = list(reader.fieldnames or ()), list(reader)
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    reasons = Counter(why_not(row) or "taken in" for row in rows)
    new = []
    for row in rows:
        if why_not(row) is None:
            size = ONE_SIZE.get(row["model"], row["input"])
            row["input"] = size if "unstated" in row["input"] else row["input"]
            row["input"] = row["input"].removesuffix(" (unstated)").removesuffix(" (standard)")
            if row not in known:
                new.append(row)
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns).writerows(new)
    for reason, count in reasons.most_common():
        print(f"{count:4} {reason}")
    print(f"{len(new)} rows appended")


if __name__ == "__main__":
    main()
