"""A .pt2 from outside runs nothing when it is opened; what torch.export writes still loads."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import one_line_error, run_cli
from safetensors.torch import save_file
from torch import nn

from edgekit.conversion.sources import SourceRequest, load_module
from edgekit.errors import BadModel
from edgekit.graph.pt2_files import Unsafe, load_pt2


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.scale = torch.arange(4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.norm(self.conv(x))) * 2
        return y.mean((2, 3)) + self.scale, y.flatten(1).softmax(1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "good.pt2"
    torch.export.save(torch.export.export(Small().eval(), (torch.zeros(1, 3, 8, 8),)), path)
    return path


class Touches:
    """Unpickled, it makes the folder `ran`."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.place),))


def changed(source: Path, target: Path, changes: dict[str, Callable[[bytes], bytes]]) -> Path:
    """Write the archive with some members changed, and those that are new added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        left = dict(changes)
        for name in old.namelist():
            change = left.pop(name.removeprefix(f"{root}/"), None)
            new.writestr(name, change(old.read(name)) if change else old.read(name))
        for name, change in left.items():
            new.writestr(f"{root}/{name}", change(b""))
    return target


def in_graph(edit: Callable[[dict[str, Any]], None]) -> dict[str, Callable[[bytes], bytes]]:
    def change(data: bytes) -> bytes:
        table = json.loads(data)
        edit(table)
        return json.dumps(table).encode()

    return {"models/model.json": change}


def node(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = table["graph_module"]["graph"]["nodes"][0]
    return found


def pickled(place: Path) -> Callable[[bytes], bytes]:
    def change(_: bytes) -> bytes:
        buffer = io.BytesIO()
        torch.save(Touches(place), buffer)
        return buffer.getvalue()

    return change


def config(key: str, value: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        table = json.loads(data)
        next(iter(table["config"].values()))[key] = value
        return json.dumps(table).encode()

    return change


WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def attacks(place: Path) -> dict[str, dict[str, Callable[[bytes], bytes]]]:
    run = f"open('{place}', 'w')"
    return {
        "a pickled weight": {
            WEIGHTS: config("use_pickle", True), "data/weights/weight_0": pickled(place),
        },
        "a pickled constant": {
            CONSTANTS: config("use_pickle", True), "data/constants/tensor_0": pickled(place),
        },
        "an object": {
            CONSTANTS: config("path_name", "opaque_obj_0"),
            "data/constants/opaque_obj_0": lambda _: pickle.dumps(Touches(place)),
        },
        "a script object": {CONSTANTS: config("path_name", "custom_obj_0")},
        "weights of the old kind": {"data/weights/model.pt": pickled(place)},
        "constants of the old kind": {"data/constants/model.pt": pickled(place)},
        "pickled inputs": {"data/sample_inputs/model.pt": pickled(place)},
        "a compiled library": {"data/aotinductor/model/a.so": lambda _: b"\x7fELF"},
        "a second graph": {"models/other.json": lambda _: b"{}"},
        "a function of torch": in_graph(lambda t: node(t).update(target="torch.os.system")),
        "a library to load": in_graph(
            lambda t: node(t).update(target="torch.ops.load_library")
        ),
        "a file to map": in_graph(lambda t: node(t).update(target="torch.ops.aten.from_file")),
        "Python's insides": in_graph(
            lambda t: node(t).update(target="torch.ops.aten.__class__.mro")
        ),
        "an operator with a way out": in_graph(
            lambda t: node(t).update(target="_operator.methodcaller")
        ),
        "a guard": in_graph(lambda t: t.update(guards_code=[run])),
        "a guard with a way out": in_graph(
            lambda t: t.update(guards_code=["L['x'].__class__.__mro__[1] == 1"])
        ),
        "a size": in_graph(
            lambda t: next(iter(t["graph_module"]["graph"]["tensor_values"].values())).update(
                sizes=[{"as_expr": {"expr_str": run, "hint": None}}]
            )
        ),
        "a name that is code": in_graph(
            lambda t: node(t).update(name=f"x): {run}\n#")
        ),
        "a key that is code": in_graph(
            lambda t: t["graph_module"]["graph"]["tensor_values"].update({f"x={run}": {}})
        ),
        "inputs of a class": in_graph(
            lambda t: t["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec=json.dumps([1, {"type": "collections.defaultdict", "context": "os"}])
            )
        ),
        "a graph nested beyond reason": {"models/model.json": lambda _: b"[" * 100_000},
    }  # fmt: skip


def test_what_torch_exports_loads_and_answers_the_same(good: Path, tmp_path: Path) -> None:
    x = torch.rand(1, 3, 8, 8)
    ours = load_pt2(good).module()(x)
    theirs = torch.export.load(good).module()(x)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)

    class Batches(Small):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            half = x[:, :, : x.shape[2] // 2]
            with torch.no_grad():
                return super().forward(torch.cat([half, half], 2).reshape(x.shape[0], 3, -1, 8))

    dynamic = {"x": {0: torch.export.Dim("batch", min=1, max=16)}}
    example = (torch.zeros(2, 3, 8, 8),)
    program = torch.export.export(Batches().eval(), example, dynamic_shapes=dynamic)
    path = tmp_path / "dynamic.pt2"
    torch.export.save(program, path)
    assert load_pt2(path).module()(torch.rand(3, 3, 8, 8))[0].shape == (3, 4)
    decomposed = program.run_decompositions()
    torch.export.save(decomposed, path)
    assert load_pt2(path).module()(torch.rand(3, 3, 8, 8))[0].shape == (3, 4)


@pytest.mark.parametrize("kind", attacks(Path("x")))
def test_nothing_runs_when_it_is_opened(good: Path, tmp_path: Path, kind: str) -> None:
    ran = tmp_path / "ran"
    path = changed(good, tmp_path / "bad.pt2", attacks(ran)[kind])
    with pytest.raises(Unsafe):
        load_pt2(path)
    with pytest.raises(BadModel, match="could run code when it is opened") as caught:
        load_module(SourceRequest(locator=str(path)), "pt2")
    assert "--trust" in str(caught.value) and "\n" not in str(caught.value)
    assert not ran.exists()


def test_trust_is_what_it_takes(good: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = changed(good, tmp_path / "bad.pt2", attacks(ran)["a pickled weight"])
    with pytest.raises(BadModel):  # torch then finds that it is no tensor
        load_module(SourceRequest(locator=str(path), trust=True), "pt2")
    assert ran.exists(), "the attack is a real one"


def test_a_pt2_of_the_old_format_is_trusted_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_state_dict.pt", pickled(tmp_path / "ran")(b""))
    with pytest.raises(BadModel, match="--trust"):
        load_module(SourceRequest(locator=str(path)), "pt2")
    assert not (tmp_path / "ran").exists()


def test_weights_cannot_name_code_to_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n")
    note = {"edgekit": json.dumps({"model": "evil", "variant": "factory"})}
    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors", note)
    done = run_cli("convert", "w.safetensors", "-o", "out", cwd=tmp_path)
    assert "names code to run, 'evil:factory': give --arch evil:factory" in one_line_error(done)
    assert not (tmp_path / "ran").exists()
