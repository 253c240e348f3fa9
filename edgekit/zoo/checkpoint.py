"""Reads and writes a network's weights; nothing in a file from outside is ever executed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgekit.errors import BadModel
from edgekit.files import write_whole

METADATA_KEY = "edgekit"
"""The safetensors metadata entry that holds our JSON: model, variant, training, temperatures."""

TEMPERATURES = "temperatures"

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}

_BROKEN_PICKLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
    OSError,
)
"""What torch's restricted unpickler was seen to raise on a damaged or hostile file."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights in `path` into `module`, all of them or none.

    `.safetensors`, or a state dict saved by `torch.save` as `.pt`, `.pth`, `.ckpt` or `.bin`,
    bare or under the key `state_dict`; it is read with `weights_only=True`. Names and shapes
    must be the module's own; floating types are converted to the module's. Raises BadModel.
    """
    given = read_weights(path)
    expected = module.state_dict()
    for name, tensor in expected.items():
        _check(path, name, tensor, given)
    for name, tensor in given.items():
        if name not in expected:
            raise BadModel(
                f"{path}: tensor '{name}' {_shape(tensor)} is not in the network: "
                "give the weights of this model and variant",
            )
    module.load_state_dict(given)


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, object]) -> None:
    """Write the weights as safetensors, whole or not at all; equal weights give equal bytes.

    `metadata` (JSON values) is stored under `METADATA_KEY`. Raises BadModel when a weight is
    not finite, before anything is written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    for name, tensor in tensors.items():
        _check_finite(f"not writing {path}", name, tensor)
    note = {METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    write_whole(path, safetensors.torch.save(tensors, note))


def read_metadata(path: Path) -> dict[str, object]:
    """Return what `save_weights` noted in a safetensors file, or {} when it was not ours.

    Raises BadModel when the file cannot be read or the note is not a JSON object.
    """
    _check_is_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError) as error:
        raise _not_safetensors(path, error) from error
    except (ValueError, RecursionError) as error:
        raise BadModel(
            f"{path}: its '{METADATA_KEY}' metadata is not JSON: {_line(error)}"
        ) from error
    if not isinstance(note, dict):
        raise BadModel(f"{path}: its '{METADATA_KEY}' metadata is not a JSON object: save it again")
    return note


def read_temperatures(path: Path) -> dict[str, float]:
    """Return what each output's logits are divided by for its confidence, as weights note it.

    Empty for weights without such a note. Raises BadModel where the note is damaged.
    """
    noted = read_metadata(path).get(TEMPERATURES, {}) if path.suffix == ".safetensors" else {}
    if not isinstance(noted, dict) or not all(
        isinstance(value, float | int) and 0.01 <= value <= 100 for value in noted.values()
    ):
        raise BadModel(f"{path}: its temperatures are no numbers from 0.01 to 100: fit them again")
    return {str(name): float(value) for name, value in noted.items()}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, of the kinds that `load_weights` takes."""
    _check_is_file(path)
    if path.suffix not in _READERS:
        raise BadModel(
            f"{path}: unknown kind of weights '{path.suffix}': give {', '.join(_READERS)}",
        )
    return _READERS[path.suffix](path)


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        raise BadModel(f"{path}: no such weights file: check the path")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise _not_safetensors(path, error) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN_PICKLE as error:
        raise BadModel(
            f"{path}: not a readable checkpoint of tensors alone ({type(error).__name__}); "
            "save the state dict as safetensors",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise BadModel(f"{path}: holds no state dict (names to tensors): save model.state_dict()")
    return dict(content)  # without the `_metadata` that a pickled OrderedDict may carry


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_pickle,
    ".pth": _read_pickle,
    ".ckpt": _read_pickle,
    ".bin": _read_pickle,
}


def _check(path: Path, name: str, expected: Tensor, given: Mapping[str, Tensor]) -> None:
    """Raise BadModel unless `given` holds `name` with the expected shape and finite values."""
    if name not in given:
        raise BadModel(
            f"{path}: expected tensor '{name}' {_shape(expected)}, found none: "
            "give the weights of this model and variant",
        )
    found = given[name]
    if not _convertible(found, expected):
        raise BadModel(
            f"{path}: tensor '{name}' should hold {_type(expected)} and holds {_type(found)}: "
            "give unquantized, dense weights",
        )
    if found.shape != expected.shape:
        raise BadModel(
            f"{path}: tensor '{name}' should be {_shape(expected)} and is {_shape(found)}: "
            "give the weights of this model and variant",
        )
    _check_finite(str(path), name, found.to(expected.dtype))


def _check_finite(where: str, name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor).all():
        raise BadModel(
            f"{where}: tensor '{name}' has values that are not finite: the training diverged, "
            "or the file is damaged; use an earlier checkpoint",
        )


def _convertible(found: Tensor, expected: Tensor) -> bool:
    """Tell whether `found` is dense, in memory, and of the type expected or another float."""
    plain = found.layout == torch.strided and found.device.type == "cpu" and not found.is_nested
    same = found.dtype == expected.dtype
    return plain and (same or {found.dtype, expected.dtype} <= _FLOATS)


def _type(tensor: Tensor) -> str:
    kind = "nested" if tensor.is_nested else str(tensor.layout)
    return f"{tensor.dtype} ({kind}, {tensor.device.type})".replace("torch.", "")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"


def _not_safetensors(path: Path, error: Exception) -> BadModel:
    return BadModel(f"{path}: truncated, or not a safetensors file: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
