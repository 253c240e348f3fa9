"""A network's weights, from files of many makers and to files of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgekit.errors import BadModel, printable
from edgekit.files import write_whole
from edgekit.zoo.state_dicts import COUNTER, Found, Network, choose, filled, network_of
from edgekit.zoo.weight_files import Tensors, check_is_file, not_safetensors, read_parts

METADATA_KEY = "edgekit"
"""The safetensors metadata entry that holds our JSON: model, variant, training, temperatures."""

TEMPERATURES = "temperatures"

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def load_weights(module: nn.Module, path: Path, part: str | None = None) -> tuple[str, ...]:
    """Copy the weights in `path` into `module`, all of them or none; return what to know of it.

    A state dict as `.safetensors`, or saved by `torch.save` as `.pt`, `.pth`, `.ckpt` or `.bin`:
    bare or inside other dicts, its names with or without what wrapped the network. `part` says
    which, where several fit: the keys that lead to it and the first words of its names, with
    dots. Names and shapes must be the module's own; floating types are converted to the module's.
    A tied tensor may be given once; counters that only training uses may be missing. Raises
    BadModel.
    """
    network = network_of(module)
    found, notes = choose(path, read_parts(path), network, part)
    _check(_where(path, found), found, network)
    module.load_state_dict({**module.state_dict(), **filled(path, found, network)})
    return notes


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
    check_is_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error
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


def read_weights(path: Path) -> Tensors:
    """Return the tensors of a weights file whose network is not known. Raises BadModel."""
    parts = read_parts(path)
    most = max(len(tensors) for tensors in parts.values())
    largest = [keys for keys, tensors in parts.items() if len(tensors) == most]
    if len(largest) > 1:
        names = ", ".join(".".join(keys) for keys in largest[:4])
        raise BadModel(f"{path}: holds several networks ({printable(names)}): save one alone")
    return parts[largest[0]]


def _where(path: Path, found: Found) -> str:
    """Return the file, and the part of it that came nearest."""
    return f"{path} ({printable(found.label)[:80]})" if found.label else str(path)


def _check(where: str, found: Found, network: Network) -> None:
    """Raise BadModel unless what was found has the names, shapes and types of the network."""
    if not found.tensors:
        held = ", ".join(printable(name)[:60] for name in list(found.extra)[:3])
        raise BadModel(
            f"{where}: none of its tensors has a name of the network's (it has {held}; the "
            f"network has {', '.join(list(network.tensors)[:3])}): name its network with --arch"
        )
    for name in network.lacks(found.tensors):
        raise BadModel(
            f"{where}: expected tensor '{name}' {_shape(network.tensors[name])}, found none: "
            "give the weights of this model and variant",
        )
    for name, expected in network.tensors.items():
        if name in found.tensors:
            _check_tensor(where, name, expected, found.tensors[name])
    for name, tensor in found.extra.items():
        raise BadModel(
            f"{where}: tensor '{printable(name)}' {_shape(tensor)} is not in the network: "
            "give the weights of this model and variant",
        )


def _check_tensor(where: str, name: str, expected: Tensor, found: Tensor) -> None:
    """Raise BadModel unless `found` has the shape expected and finite values."""
    if name.rpartition(".")[2] == COUNTER and found.numel() == 1:  # whatever made it a float
        return
    if not _convertible(found, expected):
        raise BadModel(
            f"{where}: tensor '{name}' should hold {_type(expected)} and holds {_type(found)}: "
            "give unquantized, dense weights",
        )
    if found.shape != expected.shape:
        raise BadModel(
            f"{where}: tensor '{name}' should be {_shape(expected)} and is {_shape(found)}: "
            "give the weights of this model and variant",
        )
    _check_finite(where, name, found.to(expected.dtype))


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
    if tensor.is_nested:
        return "of no single shape"
    return "×".join(str(size) for size in tensor.shape) or "scalar"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
