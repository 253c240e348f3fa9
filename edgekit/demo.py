"""`make demo`: the whole flow on the shipped model, with the commands a user would type.

The answer comes first: a photograph, its face found and answered. Then what it costs to run.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from edgekit.data.sample_images import sample_photograph

OUT = Path("demo-out")
PHOTOGRAPH = OUT / "photograph.png"
ANSWER = OUT / "answer.jpg"


def steps() -> list[list[str]]:
    """Return the demo's commands, in order."""
    artifacts, results = str(OUT / "multitask-cnn"), str(OUT / "results")
    return [
        [
            "convert", "multitask-cnn", "--calibration", "data-free", "--force", "-o", artifacts,
            "--backend", "onnx", "--backend", "tflite", "--backend", "openvino",
            "--backend", "torch", "--backend", "null",
        ],
        [
            "predict", str(PHOTOGRAPH), "--artifact", f"{artifacts}/tflite-int8",
            "--annotate", str(ANSWER),
        ],
        ["bench", artifacts, "--target", "host", "--results", results],
        ["report", "--results", results, "--output", str(OUT / "report"), "--paper"],
    ]  # fmt: skip


def main() -> int:
    """Run every step, stopping at the first that fails; return its exit code."""
    OUT.mkdir(exist_ok=True)
    shutil.copyfile(sample_photograph(), PHOTOGRAPH)
    for step in steps():
        print(f"\n$ edgekit {shlex.join(step)}", flush=True)
        code = subprocess.call([sys.executable, "-m", "edgekit", *step])
        if code:
            return code
    print(
        f"\nEverything is in {OUT}/: the answer drawn in {ANSWER.name}, artifacts in "
        "multitask-cnn/, tables in report/."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
