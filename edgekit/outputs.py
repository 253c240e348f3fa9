"""Outputs by name: read back from a device, compared, decided."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import OutputParity
from edgekit.errors import DeviceError
from edgekit.kinds import kind_of
from edgekit.spec import OutputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Outputs = dict[str, "NDArray[np.float32]"]
"""Output name → (N, …) float32; the source model's own may be of integers or booleans."""

MAX_BYTES = 4 << 30
"""Of all outputs of one job: a thousand images of a megabyte each and more."""


def read_outputs(path: Path, specs: Sequence[OutputSpec], count: int) -> Outputs:
    """Return the outputs a runner saved for `count` images.

    Raises DeviceError where the file is damaged, lacks an output, or has another number of images:
    what a device sends is not trusted.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:  # a few bytes may unpack to gigabytes
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise DeviceError(f"the runner's {path.name} unpacks to {size:,} bytes: refused")
        with np.load(path, allow_pickle=False) as saved:
            outputs = {spec.name: saved[spec.name] for spec in specs}
    except DeviceError:
        raise
    except Exception as error:  # whatever NumPy's and zipfile's readers raise on a hostile file
        raise DeviceError(f"the runner's {path.name} cannot be read: {error}") from None
    for name, value in outputs.items():
        if value.ndim < 1 or len(value) != count:
            raise DeviceError(f"the runner's '{name}' is {value.shape}, not for {count} images")
    return outputs


def decisions(values: NDArray[np.float32], output: OutputSpec) -> NDArray[np.int64] | None:
    """Return the class index of each image, (N,), or None where an output decides nothing.

    `values` is (N, …). A plain tensor decides nothing: its largest value may be one pixel.
    """
    kind = kind_of(output)
    return kind.decisions(values, output) if kind.JUDGED_BY == "decisions" else None


def ties(
    ours: NDArray[np.float32], reference: NDArray[np.float32], output: OutputSpec
) -> NDArray[np.bool_] | None:
    """Tell for each image whether its decision changed between two that nearly tie, (N,).

    A tie is the reference's own: it all but decides what `ours` does (kinds.NEAR_TIE). None where
    an output decides nothing.
    """
    decided, expected = decisions(ours, output), decisions(reference, output)
    if decided is None or expected is None:
        return None
    tied: NDArray[np.bool_] = kind_of(output).nearly_tied(reference, decided, output)
    changed: NDArray[np.bool_] = decided != expected
    return changed & tied


def confidences(
    values: NDArray[np.float32], output: OutputSpec, *, plain: bool = False
) -> NDArray[np.float64] | None:
    """Return how sure each image's decision is, (N,), 0 to 1; None for kinds without confidence.

    With `plain` as the network says it, without the output's temperature.
    """
    import msgspec
    import numpy as np

    from edgekit.onboard.runner import confidences as of

    if output.kind not in {"classification", "ordinal"}:
        return None
    said = msgspec.to_builtins(replace(output, temperature=1.0) if plain else output)
    sure: NDArray[np.float64] = of(values.reshape(len(values), -1).astype(np.float64), said)
    return sure


def compare_outputs(
    ours: Outputs, reference: Outputs, outputs: tuple[OutputSpec, ...]
) -> tuple[OutputParity, ...]:
    """Return each output's distance and agreement. Raises ValueError where shapes differ."""
    import numpy as np

    records = []
    for output in outputs:
        mine, theirs = ours[output.name], reference[output.name]
        if mine.shape != theirs.shape:
            raise ValueError(f"output '{output.name}' is {mine.shape}, the model's {theirs.shape}")
        with np.errstate(invalid="ignore"):  # inf - inf
            distance = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))
        decided, expected = decisions(mine, output), decisions(theirs, output)
        agreement = None
        if decided is not None and expected is not None:
            agreement = float((decided == expected).mean())
        records.append(
            OutputParity(
                name=output.name,
                max_abs_diff=float(distance.max()),
                mean_abs_diff=float(distance.mean()),
                agreement=agreement,
            )
        )
    return tuple(records)
