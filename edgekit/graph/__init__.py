"""An exported graph: what leaves the export step and every backend builds from.

Its folder holds the bare float network (`graph.pt2`, or `graph.onnx` for an ONNX source) and the
pixels that prove and calibrate it:

    parity.npy       uint8 N×H×W×C, decoded from image files
    reference.npz    the source model's outputs on them, by output name: float32, or the integers
                     or booleans that it answers
    calibration.npy  uint8 N×H×W×C, where an int8 artifact was asked for
    parity.npz, calibration.npz    instead, where an input is no image: each input's samples,
                     (N, …), by name

    guard.npz        pixels, or each input's samples (`sample:NAME`), model outputs (`output:NAME`)
                     and labels (`label:NAME`, or `boxes:NAME` and `sizes`, or `mask:NAME`), with a
                     guard
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekit.artifact import CalibrationRecord, Feed, SourceRecord
from edgekit.errors import BuildFailed
from edgekit.outputs import Outputs
from edgekit.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Noise:
    """How far PyTorch's own float32 answers are from float64's: rounding, and nothing else.

    `max_abs_diff` is in the output's unit, `relative` in its spreads (see runner.Distances).
    """

    max_abs_diff: float
    relative: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedGraph:
    """A network exported once, with its contract, origin and the samples beside it.

    `noise` is by output name; empty where the model cannot be run in float64. `wide_int8`: the
    target adds int8 products in 32 bits, so that weights of 8 bits overflow nowhere there.
    `way`: in which of the backend's ways int8 is built (backends.ways_of); empty is the usual one.
    `held_back`: so many samples of calibration, the last, are not seen.
    """

    folder: Path
    format: Literal["pt2", "onnx"]
    model: str
    source: SourceRecord
    spec: ModelSpec
    raw_input: bool
    parity_images: tuple[str, ...]
    calibration: CalibrationRecord | None
    noise: dict[str, Noise] = field(default_factory=dict)
    wide_int8: bool = False
    way: str = ""
    held_back: int = 0

    @property
    def path(self) -> Path:
        """The graph file."""
        return self.folder / f"graph.{self.format}"

    @property
    def feed(self) -> Feed:
        """What its artifacts take, where the backend has no reason to differ."""
        return "float32" if self.raw_input or self.spec.input is None else "uint8"

    def examples(self) -> tuple[Tensor, ...]:
        """Return an input for each of the network's as most backends trace it (see `feed`)."""
        from edgekit.graph.contract import example_inputs

        return example_inputs(self.spec, raw=self.raw_input)

    def contract(self, feed: Feed | None = None) -> dict[str, Any]:
        """Return the part of a manifest that runner.feed reads."""
        return contract_of(self.spec, feed or self.feed)

    def parity_samples(self) -> Sequence[Any]:
        """Return the samples that prove: pixels of images, or arrays by input name."""
        return self._samples("parity")

    def calibration_samples(self) -> Sequence[Any]:
        """Return the calibration samples, as parity_samples; BuildFailed where there are none."""
        samples = self._samples("calibration")
        return samples[: len(samples) - self.held_back]

    def parity_pixels(self) -> NDArray[np.uint8]:
        """Return the parity images, uint8 N×H×W×C."""
        return self._array("parity.npy")

    def calibration_pixels(self) -> NDArray[np.uint8]:
        """Return the calibration images, uint8 N×H×W×C; BuildFailed where there are none."""
        pixels = self._array("calibration.npy")
        return pixels[: len(pixels) - self.held_back]

    def reference(self) -> dict[str, NDArray[np.float32]]:
        """Return the source model's outputs on the parity images, by output name."""
        import numpy as np

        with np.load(self.folder / "reference.npz", allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}

    def guard_set(self) -> GuardSet | None:
        """Return the images that guard int8's accuracy, or None where none were asked for."""
        import numpy as np

        from edgekit.graph import GuardSet

        path = self.folder / "guard.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        names = [output.name for output in self.spec.outputs]
        samples: NDArray[np.uint8] | Sequence[Any] = arrays.get("pixels", ())
        if self.spec.tensors:
            columns = {name: arrays[f"sample:{name}"] for name in self.spec.names}
            count = len(arrays[f"output:{names[0]}"])
            samples = [{name: column[i] for name, column in columns.items()} for i in range(count)]
        known = {
            field: {name: arrays[f"{word}:{name}"] for name in names if f"{word}:{name}" in arrays}
            for field, word in (("labels", "label"), ("boxes", "boxes"), ("masks", "mask"))
        }
        return GuardSet(
            pixels=samples,
            reference={name: arrays[f"output:{name}"] for name in names},
            sizes=arrays.get("sizes"),
            frame=self.spec.input,
            **known,
        )

    def baked_module(self, *, planes: bool = False) -> nn.Module:
        """Return the network behind the contract as a torch module taking `feed`.

        `planes`: the pixels come as floats, N×C×H×W, in the network's order of colours.
        With `raw_input` it is the bare network. Only for graphs of format `pt2`.
        """
        import torch

        from edgekit.graph.contract import Baked, Flat
        from edgekit.graph.rewrites import with_plain_attention, with_plain_pools

        module = torch.export.load(self.path).module()
        network = Flat(module if planes else with_plain_pools(with_plain_attention(module)))
        if self.raw_input or self.spec.input is None:
            return network
        place = self.spec.names.index(self.spec.input.name)
        return Baked(network, self.spec.input, planes=planes, place=place)

    def _samples(self, name: str) -> Sequence[Any]:
        if not self.spec.tensors:
            pixels: Sequence[Any] = self._array(f"{name}.npy")  # type: ignore[assignment]
            return pixels
        import numpy as np

        path = self.folder / f"{name}.npz"
        if not path.is_file():
            raise BuildFailed(f"the export step left no {path.name}")
        with np.load(path, allow_pickle=False) as saved:
            columns = {key: saved[key] for key in saved.files}
        count = len(next(iter(columns.values())))
        return [{key: column[i] for key, column in columns.items()} for i in range(count)]

    def _array(self, name: str) -> NDArray[np.uint8]:
        import numpy as np

        path = self.folder / name
        if not path.is_file():
            raise BuildFailed(f"the export step left no {name}")
        pixels: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        return pixels


def contract_of(spec: ModelSpec, feed: Feed) -> dict[str, Any]:
    """Return the part of a manifest that runner.feed reads, for a network with that feed."""
    import msgspec

    return {
        "feed": feed,
        "input": msgspec.to_builtins(spec.input),
        "tensors": msgspec.to_builtins(spec.tensors),
        "order": spec.order,
    }


@dataclass(frozen=True, kw_only=True)
class GuardSet:
    """Samples to guard by: uint8 N×H×W×C or arrays by input name, the model's own outputs, labels.

    A label of -1 means there is none; an output without any label is guarded by agreement.
    `boxes` are those that are truly there, by output, a row each (K, 8): image, class, x, y, x, y
    in pixels of the picture, area, crowd. `sizes` (N, 2) are the pictures' widths and heights,
    `frame` how the network sees them. `masks` are the true ones, uint8 N×H×W, so seen.
    """

    pixels: NDArray[np.uint8] | Sequence[Any]
    reference: Outputs
    labels: dict[str, NDArray[np.int64]]
    boxes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sizes: NDArray[np.int64] | None = None
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    frame: InputSpec | None = None

    @property
    def labelled(self) -> bool:
        """Whether anything is known of the samples beside the model's own answers."""
        classes = any((value >= 0).any() for value in self.labels.values())
        return classes or bool(self.boxes) or bool(self.masks)

    def first(self, count: int) -> GuardSet:
        """Return the first `count` samples."""
        return replace(
            self,
            pixels=self.pixels[:count],
            reference={name: value[:count] for name, value in self.reference.items()},
            labels={name: value[:count] for name, value in self.labels.items()},
            boxes={name: rows[rows[:, 0] < count] for name, rows in self.boxes.items()},
            sizes=None if self.sizes is None else self.sizes[:count],
            masks={name: value[:count] for name, value in self.masks.items()},
        )
