"""Checkpoints as trainings leave them: the network's weights are found, or one line says why."""

from __future__ import annotations

import argparse
import copy
import io
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from command_line import Cli, one_line_error
from torch import Tensor, nn

from edgekit.errors import BadModel
from edgekit.zoo.checkpoint import load_weights, read_weights

torch.set_num_threads(1)
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Small(nn.Module):
    """A convolution, a batch norm (with its counter) and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.f = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.h = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.h(self.f(x).mean((2, 3)))
        return answer


class Tied(nn.Module):
    """Two heads that are one."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.c = nn.Conv2d(3, 8, 3)
        self.small = nn.Linear(8, 4, bias=False)
        self.large = nn.Linear(8, 4, bias=False)
        self.large.weight = self.small.weight

    def forward(self, x: Tensor) -> Tensor:
        f = self.c(x).relu()
        answer: Tensor = self.small(f.mean((2, 3))) + self.large(f.amax((2, 3)))
        return answer


class Options:
    """A class of a training that nobody else has."""

    def __init__(self) -> None:
        self.rate = 0.1


def answers(network: nn.Module) -> Tensor:
    with torch.no_grad():
        answer: Tensor = network.eval()(IMAGE)
        return answer


def prefixed(prefix: str, seed: int = 1) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in Small(seed).state_dict().items()}


def loaded(path: Path, content: Any, part: str | None = None) -> tuple[str, ...]:
    """Save, load into a network of other weights, and see that it answers as the one saved."""
    torch.save(content, path)
    network = Small(2)
    notes = load_weights(network, path, part)
    assert torch.equal(answers(network), answers(Small(1)))
    return notes


def refused(path: Path, network: nn.Module, part: str | None = None) -> str:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(BadModel) as caught:
        load_weights(network, path, part)
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert len(str(caught.value).splitlines()) == 1
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "module.model.", "_orig_mod.module.", "backbone.0."]
)
@pytest.mark.parametrize("keys", [[], ["state_dict"], ["ema", "model"]])
def test_a_prefix_and_wrapping_dicts_are_taken_off_and_said(
    tmp_path: Path, prefix: str, keys: list[str]
) -> None:
    content: Any = prefixed(prefix)
    for key in reversed(keys):
        content = {"epoch": 9, key: content, "optimizer": {"state": {0: {"step": IMAGE}}}}
    (note,) = loaded(tmp_path / "w.pth", content)
    assert f"dropped '{prefix.replace('_orig_mod.', '')}'" in note
    assert not keys or f"took '{'.'.join(keys)}'" in note


def test_a_plain_state_dict_needs_no_note(tmp_path: Path) -> None:
    assert loaded(tmp_path / "w.pth", Small(1).state_dict()) == ()


def test_names_of_a_compiled_part_and_of_a_compiled_network_are_the_networks(
    tmp_path: Path,
) -> None:
    state = Small(1).state_dict()
    inner = {n.replace("f.", "f._orig_mod."): t for n, t in state.items()}
    assert loaded(tmp_path / "w.pth", inner) == (
        "dropped what torch.compile or FSDP put into the names",
    )
    torch.save(state, tmp_path / "plain.pth")
    compiled = nn.Module()
    compiled._orig_mod = Small(2)  # as torch.compile holds it
    load_weights(compiled, tmp_path / "plain.pth")
    assert torch.equal(compiled.state_dict()["_orig_mod.h.weight"], state["h.weight"])


def test_two_equal_copies_are_one_and_two_that_differ_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    (note,) = loaded(path, {"model": prefixed(""), "model_ema": prefixed("module.")})
    assert "took 'model'" in note
    assert "'model_ema.module' holds the same" in note
    content = {"model": prefixed("", 5), "model_ema": prefixed("module."), "epoch": 1}
    torch.save(content, path)
    said = refused(path, Small(2))
    assert "they differ: give --part model or --part model_ema.module" in said
    assert loaded(path, content, "model_ema.module")
    assert "no part 'ema'" in refused(path, Small(2), "ema")
    flat = {**prefixed("model.", 5), **prefixed("ema.")}
    torch.save(flat, path)
    assert "--part model or --part ema" in refused(path, Small(2))
    assert loaded(path, flat, "ema")


def test_what_a_training_keeps_beside_the_network_is_left_out_and_said(tmp_path: Path) -> None:
    lightning = {"state_dict": {**prefixed("model."), "loss.weight": torch.ones(2)}, "epoch": 3}
    (note,) = loaded(tmp_path / "w.ckpt", lightning)
    assert "left out 1 tensor" in note
    assert "loss.weight" in note
    averaged = torch.optim.swa_utils.AveragedModel(Small(1)).state_dict()
    (note,) = loaded(tmp_path / "swa.pt", averaged)
    assert "n_averaged" in note


def test_a_piece_of_another_network_is_not_taken_unasked(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    larger = {**prefixed("student."), "projector.weight": torch.ones(3, 3)}
    torch.save(larger, path)
    assert "beside this one: give --part student if" in refused(path, Small(2))
    assert loaded(path, larger, "student")
    torch.save({**prefixed("model."), "model.extra.weight": torch.ones(1)}, path)
    assert "'model.extra.weight' 1 is not in the network" in refused(path, Small(2))


def test_the_only_one_of_its_shape_is_it(tmp_path: Path) -> None:
    other = {name: torch.zeros(7, 7) for name in Small().state_dict()}
    (note,) = loaded(tmp_path / "w.pth", {"critic": other, "generator": prefixed("")})
    assert "took 'generator'" in note


def test_what_differs_is_said_of_the_part_that_comes_nearest(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    near = prefixed("module.")
    del near["module.h.bias"]
    torch.save({"epoch": torch.tensor(3), "state_dict": near}, path)
    said = refused(path, Small(2))
    assert "w.pth (state_dict.module): expected tensor 'h.bias' 2, found none" in said
    torch.save({"state_dict": {"encoder.weight": torch.ones(1)}}, path)
    assert "none of its tensors has a name of the network's" in refused(path, Small(2))


@pytest.mark.parametrize("missing", [True, False])
def test_counters_of_training_may_be_missing_or_too_many(tmp_path: Path, missing: bool) -> None:
    state = prefixed("module.")
    counter = "module.f.1.num_batches_tracked"
    if missing:
        del state[counter]
    else:
        state["module.g.num_batches_tracked"] = state[counter]
    assert loaded(tmp_path / "w.pth", state)


def test_a_tied_tensor_may_be_given_once_or_twice_but_not_as_two(tmp_path: Path) -> None:
    source, path = Tied(1), tmp_path / "w.safetensors"
    safetensors.torch.save_model(source, str(path))
    once = safetensors.torch.load_file(path)
    assert len(once) == len(source.state_dict()) - 1
    for content in (once, source.state_dict()):
        torch.save(content, tmp_path / "w.pt")
        for file in (path, tmp_path / "w.pt"):
            network = Tied(2)
            load_weights(network, file)
            assert torch.equal(answers(network), answers(source))
            assert network.large.weight is network.small.weight
    untied = copy.deepcopy(source.state_dict())
    untied["large.weight"] = untied["large.weight"] + 1
    torch.save(untied, tmp_path / "w.pt")
    assert "one tensor in the network and differ" in refused(tmp_path / "w.pt", Tied(2))


def test_objects_of_a_training_do_not_hide_the_tensors_beside_them(tmp_path: Path) -> None:
    content = {
        "args": argparse.Namespace(lr=0.1, where=Path("x")),
        "mine": Options(),
        "scores": defaultdict(list, {"top1": [1.0]}),
        "state_dict": OrderedDict(prefixed("module.")),
    }
    assert loaded(tmp_path / "w.pth", content)


def test_a_whole_model_names_its_class_and_the_way_out(tmp_path: Path) -> None:
    torch.save(Small(1), tmp_path / "whole.pt")
    said = refused(tmp_path / "whole.pt", Small(2))
    assert "a whole pickled model of the class test_state_dicts.Small" in said
    assert "torch.load('whole.pt', weights_only=False).state_dict()" in said
    torch.save({"epoch": 1, "model": Small(1)}, tmp_path / "in.pt")
    assert "['model'].state_dict()" in refused(tmp_path / "in.pt", Small(2))


def _script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch gives TorchScript up; files of it remain
        torch.jit.save(torch.jit.trace(Small().eval(), IMAGE), path)  # type: ignore[no-untyped-call]


def _program(path: Path) -> None:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Small().eval(), (IMAGE,)), buffer)
    path.write_bytes(buffer.getvalue())


def _safetensors(path: Path) -> None:
    path.write_bytes(safetensors.torch.save(Small().state_dict()))


def _cut(path: Path) -> None:
    torch.save(Small().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_script, "TorchScript"),
        (_program, "rename it to end in .pt2"),
        (_safetensors, "rename it to end in .safetensors"),
        (_cut, "truncated"),
        (
            lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "lfs pull",
        ),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
        (lambda path: torch.save({"optimizer": {"lr": 1}}, path), "but optimizer"),
    ],
    ids=["script", "program", "safetensors", "cut", "lfs", "page", "optimizer"],
)
def test_a_file_of_another_kind_says_what_it_is(
    cli: Cli, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "w.pth"
    make(path)
    assert said in refused(path, Small(2))
    error = one_line_error(cli("convert", path, "-o", tmp_path / "out", "-q"))
    assert said in error


def test_a_state_dict_without_a_network_asks_for_arch(cli: Cli, tmp_path: Path) -> None:
    for name in ("w.pth", "w.bin", "w.ckpt"):
        torch.save(Small().state_dict(), tmp_path / name)
        error = one_line_error(cli("convert", tmp_path / name, "-o", tmp_path / "out", "-q"))
        assert "--arch" in error
    two = {"model": prefixed(""), "model_ema": prefixed("", 3)}
    torch.save(two, tmp_path / "two.pth")
    error = one_line_error(cli("convert", tmp_path / "two.pth", "-o", tmp_path / "out", "-q"))
    assert "--arch" in error
    assert not (tmp_path / "out").exists()


def test_the_largest_of_a_file_without_a_network_is_read_unless_two_are(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": prefixed(""), "loss": {"weight": torch.ones(1)}}, path)
    assert read_weights(path).keys() == Small().state_dict().keys()
    torch.save({"model": prefixed(""), "model_ema": prefixed("")}, path)
    with pytest.raises(BadModel, match="several networks"):
        read_weights(path)


def test_a_counter_that_was_halved_with_the_rest_is_no_matter(tmp_path: Path) -> None:
    """`{name: value.half() for ...}` of a whole state dict: no answer depends on the counter."""
    network = nn.BatchNorm2d(2)
    nn.init.uniform_(network.weight)
    path = tmp_path / "half.pt"
    torch.save({name: value.half() for name, value in network.state_dict().items()}, path)
    other = nn.BatchNorm2d(2)
    load_weights(other, path)
    assert torch.equal(other.weight, network.weight.half().float())
