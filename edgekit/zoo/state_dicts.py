"""Finds a network's own weights among what a checkpoint holds, under whatever names.

Trainings save a network inside other dicts, with an average of it beside it, and under names that
start with what wrapped it. Taken is what covers the whole network; where two do and differ, the
user says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekit.errors import BadModel, printable
from edgekit.zoo.weight_files import Parts, Tensors

WRAPPERS = frozenset({"module", "model", "net", "network", "ema", "ema_model", "model_ema"})
"""First words of names beside which a training keeps tensors of its own, a loss's weights say."""
_INNER = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile and others put into names wherever they wrap a module."""
COUNTER = "num_batches_tracked"
"""What a batch norm counts while it is trained; no answer depends on it."""
_MOST_PREFIXES = 64


@dataclass(frozen=True, kw_only=True)
class Found:
    """Tensors of the file that may be the network's, by the network's names.

    `keys` lead to them in the file, `prefix` was dropped from their names; `beside` are the other
    tensors of the same dict, `extra` those under the prefix that the network does not have.
    `inner`: what torch.compile and others put between the words of a name was dropped too.
    """

    keys: tuple[str, ...]
    prefix: str
    tensors: Tensors
    beside: tuple[str, ...]
    extra: Tensors
    inner: bool

    @property
    def label(self) -> str:
        """How a user names it: the keys and the prefix, with dots."""
        return ".".join([*self.keys, *([self.prefix.rstrip(".")] if self.prefix else [])])


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a network needs: its tensors by name, and which of its names are one tensor."""

    tensors: Tensors
    ties: tuple[tuple[str, ...], ...]

    def lacks(self, given: Mapping[str, Tensor]) -> list[str]:
        """Return the names without a tensor, and none tied to them; counters may lack."""
        return [
            names[0]
            for names in self.ties
            if not any(name in given for name in names) and names[0].rpartition(".")[2] != COUNTER
        ]

    def is_like(self, given: Mapping[str, Tensor]) -> bool:
        """Tell whether `given` has all of it in its shapes."""
        return not self.lacks(given) and all(
            _has_shape(tensor, self.tensors[name].shape) for name, tensor in given.items()
        )


def network_of(module: nn.Module) -> Network:
    """Return what a module needs of a checkpoint."""
    tied: dict[int, list[str]] = {}
    tensors = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
            tied.setdefault(id(value), []).append(name)
    return Network(tensors=tensors, ties=tuple(map(tuple, tied.values())))


def choose(
    path: Path, parts: Parts, network: Network, part: str | None
) -> tuple[Found, tuple[str, ...]]:
    """Return what of a checkpoint is the network's, and a note where that is not plain.

    Where nothing fits, what comes nearest is returned, for the caller to say what differs.
    Raises BadModel where two fit and differ, or `part` is not in the file.
    """
    candidates = [found for keys, given in parts.items() for found in _found(keys, given, network)]
    if part is not None:
        named = [found for found in candidates if found.label == part]
        if not named:
            raise BadModel(f"{path}: has no part {part!r} of the network: {_offer(candidates)}")
        candidates = named
    whole = [found for found in candidates if network.is_like(found.tensors)]
    whole = [found for found in whole if not found.extra]
    fitting = [found for found in whole if part is not None or _is_plainly_it(found)]
    if not fitting and whole:
        raise BadModel(
            f"{path}: holds other networks or layers beside this one: {_offer(whole)} "
            "if those are its weights"
        )
    if not fitting:
        return max(candidates, key=lambda found: len(found.tensors)), ()
    first, *others = fitting
    for other in others:
        if not _same(first.tensors, other.tensors):
            raise BadModel(
                f"{path}: holds the network's weights twice, and they differ: {_offer(fitting)}"
            )
    return first, _notes(first, others)


def filled(path: Path, found: Found, network: Network) -> Tensors:
    """Return the found tensors under every name of the network's that is one tensor with theirs.

    Raises BadModel where the file has two values for what is one tensor in the network.
    """
    tensors = dict(found.tensors)
    for names in network.ties:
        held = [name for name in names if name in found.tensors]
        for name in held[1:]:
            if not _equal(tensors[held[0]], tensors[name]):
                raise BadModel(
                    f"{path}: '{held[0]}' and '{name}' are one tensor in the network and differ "
                    "here: give the weights of this network"
                )
        if held:
            tensors |= dict.fromkeys(names, tensors[held[0]])
    return tensors


def _found(keys: tuple[str, ...], given: Tensors, network: Network) -> Iterator[Found]:
    """Yield what one state dict holds of the network, once for each prefix that it may have."""
    plain = {_plain(name): name for name in network.tensors}
    held = {_plain(name): tensor for name, tensor in given.items()}
    if len(held) < len(given) or len(plain) < len(network.tensors):
        plain, held = {name: name for name in network.tensors}, given
    for prefix in _prefixes(held, list(plain)):
        under = {n[len(prefix) :]: t for n, t in held.items() if n.startswith(prefix)}
        yield Found(
            keys=keys,
            prefix=prefix,
            tensors={plain[name]: tensor for name, tensor in under.items() if name in plain},
            beside=tuple(name for name in held if not name.startswith(prefix)),
            extra={
                prefix + name: tensor
                for name, tensor in under.items()
                if name not in plain and name.rpartition(".")[2] != COUNTER
            },
            inner=held is not given and held.keys() != given.keys(),
        )


def _plain(name: str) -> str:
    for word in _INNER:
        name = name.replace(word, "")
    return name


def _prefixes(held: Mapping[str, Tensor], wanted: Sequence[str]) -> list[str]:
    """Return '' and what stands before any of the network's names in the file, common or not."""
    prefixes = {"": None}
    for name in wanted[:8]:  # a few: some may lack
        for given in held:
            if given.endswith(f".{name}") and len(prefixes) < _MOST_PREFIXES:
                prefixes[given[: -len(name)]] = None
    return list(prefixes)


def _is_plainly_it(found: Found) -> bool:
    """Tell whether the tensors beside it raise no doubt that these are the network's."""
    return not found.beside or found.prefix.partition(".")[0] in WRAPPERS


def _has_shape(tensor: Tensor, shape: torch.Size) -> bool:
    return not tensor.is_nested and tensor.shape == shape  # a nested one has no single shape


def _same(one: Tensors, other: Tensors) -> bool:
    return all(_equal(tensor, other[name]) for name, tensor in one.items() if name in other)


def _equal(one: Tensor, other: Tensor) -> bool:
    try:
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    except (RuntimeError, NotImplementedError):  # sparse, quantized, on no device: refused later
        return False


def _notes(first: Found, others: Sequence[Found]) -> tuple[str, ...]:
    said = []
    if first.keys:
        said.append(f"took '{'.'.join(first.keys)}' of the checkpoint")
    if first.inner:
        said.append("dropped what torch.compile or FSDP put into the names")
    if first.prefix:
        said.append(f"dropped '{first.prefix}' from the names")
    if first.beside:
        shown = ", ".join(first.beside[:3])
        said.append(f"left out {len(first.beside)} tensors that are not the network's ({shown})")
    if others:
        said.append(f"'{others[0].label}' holds the same")
    return (printable("; ".join(said)),) if said else ()


def _offer(candidates: Sequence[Found]) -> str:
    labels = dict.fromkeys(found.label for found in candidates if found.label and found.tensors)
    if not labels:
        return "leave --part out"
    return printable("give " + " or ".join(f"--part {label}" for label in list(labels)[:4]))
