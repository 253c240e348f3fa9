"""Writes results.md from the JSON files in results/: python table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NEARER = "nearer to the model beyond doubt"
SAME = "no difference that the judged samples show"
FURTHER = "further beyond doubt"
UNKNOWN_NEARER = "older row without an interval, nearer or as near"
UNKNOWN_FURTHER = "older row without an interval, further"
VERDICTS = (NEARER, SAME, FURTHER, UNKNOWN_NEARER, UNKNOWN_FURTHER)
BACKENDS = ("onnx", "tflite", "openvino", "ncnn")


def main() -> None:
    """Write a row a network: what became of fp32 and int8 in each backend; then every refusal."""
    cells: dict[str, dict[str, str]] = {}
    refused: list[str] = []
    counts = {precision: [0, 0] for precision in ("fp32", "int8")}
    verdicts: list[str] = []
    further: list[str] = []
    for file in sorted((HERE / "results").glob("*/*.json")):
        row, name, artifact = json.loads(file.read_text()), file.parent.name, file.stem
        fault = row.get("error")
        word = "refused" if fault else "proven"
        quality = row.get("quality") or {}
        ours, theirs = _worst(quality.get("edgekit")), _worst(quality.get("default"))
        if ours is not None:
            word += f" {ours:.3g}"
            if theirs is not None:
                word += f" ({theirs:.3g})"
                told = _verdicts(quality)
                verdicts += told.values()
                further += [
                    f"- {name}, {artifact}, {output}: {quality['edgekit'][output]:.3g} "
                    f"({quality['default'][output]:.3g}), {low:.2f} to {high:.2f} times as far"
                    for output, (low, high) in quality.get("times", {}).items()
                    if told[output] == FURTHER
                ]
        cells.setdefault(name, {})[artifact] = f"{word}, {row['seconds']:.0f} s"
        total = counts[artifact.rpartition("-")[2]]
        total[0] += 1
        total[1] += not fault
        if fault:
            refused.append(f"- {name}, {artifact}: {fault}")
    columns = [f"{backend}-{kind}" for kind in ("fp32", "int8") for backend in BACKENDS]
    lines = [
        "# What ran, written by table.py",
        "",
        *(f"{kind}: {done} of {ran} artifacts proven." for kind, (ran, done) in counts.items()),
        "",
        f"int8 beside the runtime's own default, {len(verdicts)} outputs where both were measured:",
        "",
        *(f"- {verdict}: {verdicts.count(verdict)}" for verdict in VERDICTS),
        "",
        "int8's numbers are the RMS distance to the model as a share of the output's spread over "
        "pictures; in brackets that of the runtime's own default.",
        "",
        f"| network | {' | '.join(columns)} |",
        f"|{'---|' * (len(columns) + 1)}",
        *(
            f"| {name} | {' | '.join(held.get(c, '') for c in columns)} |"
            for name, held in cells.items()
        ),
        "",
        "## Further than the runtime's own default, beyond doubt",
        "",
        *(further or ["None."]),
        "",
        "## Refused",
        "",
        *refused,
    ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")


def _verdicts(quality: Any) -> dict[str, str]:
    """Return what each output's interval says of ours beside the default."""
    told = {}
    for name in quality["edgekit"]:
        low, high = quality.get("times", {}).get(name, (None, None))
        if low is None:
            nearer = quality["edgekit"][name] <= quality["default"][name]
            told[name] = UNKNOWN_NEARER if nearer else UNKNOWN_FURTHER
        else:
            told[name] = NEARER if high < 1 else FURTHER if low > 1 else SAME
    return told


def _worst(shares: Any) -> float | None:
    """Return the largest distance of any output; None where there is none."""
    return max(shares.values()) if isinstance(shares, dict) and shares else None


if __name__ == "__main__":
    main()
