"""Reads a .pt2 file that torch.export wrote: only what computes, and in evaluation mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.conversion.spec_files import numbered
from edgekit.errors import BadModel


def open_pt2(path: Path, trust: bool) -> Any:
    """Return an ExportedProgram that only computes; any, where its maker is trusted.

    Raises BadModel for one that cannot be read, could run code, or is in training mode.
    """
    import torch

    from edgekit.graph.pt2_files import Unsafe, load_pt2

    try:
        program = torch.export.load(path) if trust else load_pt2(path)
    except Unsafe as error:
        raise BadModel(
            f"{path} could run code when it is opened ({error}): give --trust if you trust who "
            "made it, or export it again with torch.export.save"
        ) from None
    except Exception as error:  # torch.export.load raises whatever its zip and JSON readers raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadModel(f"{path} is no readable .pt2 ({reason}): export it again") from None
    training = _left_in_training(program)
    if training:
        raise BadModel(
            f"{path} was exported in training mode ({training}): call eval() on the model, "
            "then torch.export.export it again"
        )
    return program


def check_arguments(program: Any, path: Path) -> None:
    """Raise BadModel for a program that takes more than tensors in their places."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    places = program.call_spec.in_spec.children()  # the arguments in places, those by keyword
    keywords = places[1].context if len(places) == 2 else None
    if isinstance(keywords, list) and keywords:
        raise BadModel(
            f"{path} was exported with inputs by keyword ({', '.join(map(str, keywords))}): export "
            "it with all of them in places, torch.export.export(model, (x,))"
        )
    fixed = [
        f"{held.arg.name} = {held.arg.value!r}"
        for held in program.graph_signature.input_specs
        if held.kind is InputKind.USER_INPUT and isinstance(held.arg, ConstantArgument)
    ]
    if fixed:
        raise BadModel(
            f"{path} was exported with arguments that are no tensors ({', '.join(fixed)}): export "
            "a module whose forward takes the tensors alone"
        )


def output_paths(program: Any) -> tuple[str, ...]:
    """Return the paths of an exported program's outputs; numbers where it has but places."""
    from torch.utils import _pytree

    from edgekit.graph.contract import parts

    count = len(program.graph_signature.user_outputs)
    answer = _pytree.tree_unflatten(list(range(count)), program.call_spec.out_spec)
    paths = tuple(parts(answer))
    if all(path.replace(".", "").isdigit() or not path for path in paths):
        return numbered(len(paths))
    return paths


def _left_in_training(program: Any) -> str:
    """Return the operator of an exported program that behaves as in training, or ''."""
    places = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "batch_norm": 5}
    for node in program.graph.nodes:
        words = str(node.target).split(".")
        place = places.get(words[1]) if len(words) > 1 else None
        if (
            node.op == "call_function"
            and place is not None
            and node.args[place : place + 1] == (True,)
        ):
            return words[1]
    return ""
