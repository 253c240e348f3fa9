"""Whether a PyTorch module can be converted at all: told before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekit.errors import BadModel

if TYPE_CHECKING:
    from torch import nn

_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_PREPARED = ("torch.ao.quantization.observer", "torch.ao.quantization.fake_quantize")


def ready(name: str, module: nn.Module) -> nn.Module:
    """Return the module on the CPU, in evaluation mode, without what a training wraps around it.

    Raises BadModel, with the layer or the weight, for one that is quantized or prepared for it,
    is TorchScript, has weights without values or on no dense memory, or stays in training mode.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.dropout import _DropoutNd
    from torch.nn.parameter import is_lazy

    module = _unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule) and not _traced(module):
        raise BadModel(
            f"{name} gave a TorchScript module, which torch.export cannot read: return the "
            "torch.nn.Module that it was scripted from"
        )
    for path, layer in module.named_modules():
        made_in = type(layer).__module__
        if made_in.startswith(_QUANTIZED):
            raise BadModel(
                f"{name} is quantized by PyTorch already (layer {path}): give the float network, "
                "edgekit quantizes it by itself"
            )
        if made_in.startswith(_PREPARED):
            raise BadModel(
                f"{name} is prepared for PyTorch's quantization (layer {path}): give the float "
                "network from before prepare()"
            )
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(tensor):
            raise BadModel(
                f"the weight '{path}' of {name} has no shape yet (a lazy layer): call the network "
                "once on an input before you return it, and load its weights"
            )
        if tensor.is_meta:
            raise BadModel(
                f"the weight '{path}' of {name} has no values (it is on the device 'meta'): "
                "load the network's weights before you return it"
            )
        if tensor.layout != torch.strided:
            raise BadModel(f"the weight '{path}' of {name} is sparse: make it .to_dense()")
    module = module.cpu().eval()
    for path, layer in module.named_modules():
        if layer.training and isinstance(layer, _BatchNorm | _DropoutNd):
            raise BadModel(
                f"layer {path} of {name} stays in training mode after eval(): does a train() of "
                "your own keep it there?"
            )
    return module


def in_float32(module: nn.Module, runs: Callable[[], bool]) -> tuple[str, ...]:
    """Let weights of 16 bits be float32, in place, where the network runs so; return what to say.

    Runtimes compute in float32 or int8. One that casts to 16 bits by itself stays as it is.
    """
    import torch

    narrow = (torch.float16, torch.bfloat16)
    held = (*module.parameters(), *module.buffers())
    found = [(tensor, tensor.data) for tensor in held if tensor.dtype in narrow]
    if not found:
        return ()
    for tensor, values in found:
        tensor.data = values.float()
    if not runs():
        for tensor, values in found:
            tensor.data = values
        return ()
    kinds = {str(values.dtype).removeprefix("torch.") for _, values in found}
    return (f"{' and '.join(sorted(kinds))}, computed in float32 here",)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DataParallel and their like."""
    import torch

    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    inner = module.module if isinstance(module, parallel) else getattr(module, "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, torch.nn.Module) else module


def _traced(module: nn.Module) -> bool:
    """Tell whether a TorchScript module was made by tracing, which torch.export can read."""
    from torch.jit._trace import TopLevelTracedModule

    return isinstance(module, TopLevelTracedModule)
