"""Golden images: what the artifact answers here, so that a board can prove that it answers so too.

The images are stored as the network is shown them, without loss: a JPEG decoder may differ from
board to board, and its rounding is not what is tested. Samples of other inputs are .npz files.
"""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact, grain
from edgekit.conversion.parity import (
    EQUAL_VALUES,
    FLOAT_MATCHED,
    FP16_OF_LARGEST,
    FP16_SPREAD,
    FP32_UNMEASURED,
    HALF_OF_LARGEST,
    HALF_SPREAD,
    INT8_AGREEMENT,
    INT8_SPREAD,
)
from edgekit.data.images import ImageSet
from edgekit.devices import open_device
from edgekit.errors import BadData
from edgekit.files import write_whole
from edgekit.kinds import kind_of
from edgekit.outputs import Outputs
from edgekit.session import OUTPUTS, entry, lay_out, put_images
from edgekit.targets import HOST, load_target

if TYPE_CHECKING:
    from edgekit.spec import InputSpec, OutputSpec

COUNT = 8
"""Enough that a wrong kernel shows, few enough for the slowest board to answer in seconds."""

_ANSWERS = "answers.npz"


def write_golden(artifact: Artifact, images: ImageSet, folder: Path) -> None:
    """Write the first COUNT images, this machine's answers to them and what may differ.

    Raises BadData for an image that cannot be decoded, MissingPackage without the runtime.
    """
    folder.mkdir()
    names = []
    for number, name in enumerate(images.names[:COUNT]):
        if artifact.manifest.tensors:  # samples, one a file, are stored as they are
            names.append(f"{number:02d}.npz")
            write_whole(folder / names[-1], images.read(name))
            continue
        names.append(f"{number:02d}.png")
        try:
            png = _as_shown(images.read(name), artifact.manifest.image)
        except (OSError, ValueError) as error:
            raise BadData(f"{name} in {images.path} is no image ({error}): replace it") from None
        write_whole(folder / names[-1], png)
    answers = _answers(artifact, folder, names)
    limits = {output.name: limit(artifact, output, answers) for output in artifact.manifest.outputs}
    record = {"images": names, "answers": _ANSWERS, "limits": limits}
    write_whole(folder / "golden.json", json.dumps(record, indent=1) + "\n")


FP32_BOARD_SPREAD = 0.01
"""Of a plain tensor's slices: ten times parity's, since a board's kernels round for themselves."""


def limit(artifact: Artifact, output: OutputSpec, answers: Outputs) -> dict[str, Any]:
    """Return how far another machine may be from these answers: parity's bars, by precision.

    A float artifact may differ from itself on another machine by as much as it was allowed to
    differ from the model. int8 of random weights decides nothing, and is only held to finite
    answers.
    """
    manifest, largest = artifact.manifest, float(abs(answers[output.name]).max())
    int8 = grain(manifest.precision) == "int8"
    if int8 and manifest.source.weights == "random":
        return {}
    readers = [other for other in manifest.outputs if output.name in other.parts]
    if any(int8 or reader.sorted for reader in readers):  # judged with what it is read with
        return {}
    if output.sorted and not int8:
        return {"min_score": FLOAT_MATCHED}
    proven = {record.name: record for record in manifest.parity.outputs}.get(output.name)
    if proven is not None and proven.equal is not None:
        return {"min_equal": INT8_AGREEMENT if int8 else EQUAL_VALUES}
    if int8:
        kind = kind_of(output)
        return {
            "spread": {"max_relative": INT8_SPREAD},
            "metric": {"min_score": kind.LEAST},
            "decisions": {"min_agreement": INT8_AGREEMENT},
        }[kind.JUDGED_BY]
    fallback, spread = {
        "fp32": (FP32_UNMEASURED, FP32_BOARD_SPREAD),
        "fp16": (FP16_OF_LARGEST, FP16_SPREAD),
        "half": (HALF_OF_LARGEST, HALF_SPREAD),
    }[grain(manifest.precision)]
    allowed = proven.allowed if proven is not None else None
    limits = {"max_abs_diff": fallback * largest if allowed is None else allowed}
    return limits | ({"max_relative": spread} if output.kind == "tensor" else {})


def _as_shown(data: bytes, spec: InputSpec) -> bytes:
    """Return the image as a PNG of the size from which the network's input is cut."""
    import msgspec
    from PIL import Image

    from edgekit.onboard.runner import decode_for

    pixels = decode_for(data, msgspec.to_builtins(spec), cut=False)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if spec.channels == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _answers(artifact: Artifact, folder: Path, names: list[str]) -> Outputs:
    """Return what the artifact answers on this machine, and keep the file of it in `folder`."""
    images = [folder / name for name in names]
    with closing(open_device("local", load_target(HOST))) as device:
        session = lay_out(device, entry(artifact))
        answers, _ = session.outputs(put_images(device, images), len(images), timeout=600)
        device.fetch(OUTPUTS, folder / _ANSWERS)
    return answers
