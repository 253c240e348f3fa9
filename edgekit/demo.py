"""`make demo`: the whole flow on the shipped model, with the commands a user would type."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from edgekit.data.sample_images import sample_images

OUT = Path("demo-out")


def steps() -> list[list[str]]:
    """Return the demo's commands, in order."""
    face = sample_images()
    artifacts, results = str(OUT / "multitask-cnn"), str(OUT / "results")
    return [
        ["doctor"],
        [
            "convert", "multitask-cnn", "--calibration", "data-free", "--force", "-o", artifacts,
            "--backend", "onnx", "--backend", "tflite", "--backend", "openvino",
            "--backend", "torch", "--backend", "null",
        ],
        ["predict", str(face.path / face.names[0]), "--artifact", f"{artifacts}/tflite-int8"],
        ["bench", artifacts, "--target", "host", "--results", results],
        ["report", "--results", results, "--output", str(OUT / "report"), "--paper"],
    ]  # fmt: skip


def main() -> int:
    """Run every step, stopping at the first that fails; return its exit code."""
    for step in steps():
        print(f"\n$ edgekit {shlex.join(step)}", flush=True)
        code = subprocess.call([sys.executable, "-m", "edgekit", *step])
        if code:
            return code
    print(f"\nEverything is in {OUT}/: artifacts in multitask-cnn/, tables in report/.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
