"""Names the operator and the layer when a converter cannot take a model."""

from __future__ import annotations

import re
from typing import Any

from edgekit.errors import UnsupportedModel, first_line

_OPERATOR = re.compile(r"\b(aten|torchvision|prims)(?:::|\.)(\w+)")

_UNCONVERTED = re.compile(
    r"No (?:conversion rule found for operations: |ONNX function found for <OpOverload\(op=')"
    r"(?:aten|prims)\.(\w+)"
)
"""How OpenVINO's and PyTorch's converters report what they know nothing of."""

_TRANSPOSED = re.compile(r"legalize operation '\w+\.convolution'")
"""What litert-torch says of a transposed convolution with stride and dilation."""

_NARROW = re.compile(r"\bBFloat16\b|\dxb?f16>")
"""How litert-torch writes numbers of 16 bits."""


def unsupported(backend: str, error: BaseException, module: Any) -> UnsupportedModel:
    """Return the one-line error for a conversion that failed.

    `error` is what the converter raised; its text and its causes' are searched for operator
    names, and the traced graph of `module` (a module that torch.export loaded, or one around it)
    for the layer that calls one of them. Where none is named, the converter's own first line is
    passed on.
    """
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    text = "\n".join(map(str, chain))
    unknown = [f"aten.{name}" for name in _UNCONVERTED.findall(text)]
    # What follows an unknown operator fails too, and is named with it.
    named = dict.fromkeys(unknown or [".".join(found) for found in _OPERATOR.findall(text)])
    if _TRANSPOSED.search(text):
        named |= dict.fromkeys(f"aten.conv_transpose{n}d" for n in (1, 2, 3))
    for operator in named:
        layer = _layer(module, operator)
        if layer is not None:
            where = f"layer {layer}" if layer else "the model's own forward"
            return UnsupportedModel(
                f"{backend} cannot take operator {operator} ({where}): "
                f"replace it, or leave out --backend {backend}"
            )
    if unknown:
        return UnsupportedModel(
            f"{backend} cannot take operator {unknown[0]}: replace it, or leave out "
            f"--backend {backend}"
        )
    if "f64" in text:
        return of_kind(backend, "float64", ".double()")
    if _NARROW.search(text):
        return of_kind(backend, "16 bits", ".half(), .bfloat16() or autocast")
    return UnsupportedModel(
        f"{backend} cannot convert the model: {first_line(error)}; leave out --backend {backend}"
    )


def of_kind(backend: str, kind: str, made_by: str) -> UnsupportedModel:
    """Return the error for a network with numbers of another kind than a runtime computes in."""
    return UnsupportedModel(
        f"{backend} does not compute in {kind}: let the model compute in float32 (no {made_by} in "
        f"forward), or leave out --backend {backend}"
    )


def _layer(module: Any, operator: str) -> str | None:
    """Return the dotted path of the layer that calls `operator`; None where none does."""
    for part in module.modules():
        graph = getattr(part, "graph", None)
        for node in getattr(graph, "nodes", ()):
            if node.op == "call_function" and _same(str(node.target), operator):
                stack = node.meta.get("nn_module_stack") or {}
                path = list(stack.values())[-1][0] if stack else ""
                inner = path.removeprefix("L['self'].").split(".")
                return ".".join(inner[1:] if inner[0] == "network" else inner)
    return None


def _same(target: str, operator: str) -> bool:
    """Tell whether a graph's `aten.name.overload` is the operator a converter complains of.

    Converters name the decomposed form: `aten._linalg_svd` for `aten.linalg_svd`.
    """
    space, _, rest = target.partition(".")  # Python's own, like getitem, have no dot
    name = rest.partition(".")[0]
    return operator in {f"{space}.{name}", f"{space}._{name}", f"{space}._{name}_forward"}
