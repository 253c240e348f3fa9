"""Weights files: what is saved comes back, and anything else is refused in one line."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from edgekit import zoo
from edgekit.errors import BadModel
from edgekit.zoo import checkpoint

torch.set_num_threads(1)

SMALL = ("multitask-cnn", "classification")
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_a_saved_network_comes_back_and_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    note = {"model": "multitask-cnn", "variant": "classification", "training": {"epochs": 3}}
    source, target = zoo.build(*SMALL, seed=1), zoo.build(*SMALL, seed=2)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    checkpoint.save_weights(source, one, note)
    checkpoint.save_weights(zoo.build(*SMALL, seed=1), two, dict(reversed(note.items())))
    assert one.read_bytes() == two.read_bytes()
    checkpoint.load_weights(target, one)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(source(image)[0], target(image)[0])
    assert checkpoint.read_metadata(one) == note


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_torch_state_dict_loads_too(tmp_path: Path, wrapped: bool) -> None:
    source, target = zoo.build(*SMALL, seed=1), zoo.build(*SMALL, seed=2)
    state = source.half().state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "w.pt")
    checkpoint.load_weights(target, tmp_path / "w.pt")
    weight = target.get_parameter("heads.age.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, source.get_parameter("heads.age.weight").float())


def refusal(path: Path, network: nn.Module | None = None) -> str:
    """Load `path`; return its one-line refusal, having seen that no weight changed."""
    network = network or nn.Linear(3, 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(BadModel) as caught:
        checkpoint.load_weights(network, path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias": None}, "expected tensor 'bias' 2, found none"),
        ({"weight": torch.zeros(3, 2)}, "tensor 'weight' should be 2×3 and is 3×2"),
        ({"extra": torch.zeros(1)}, "tensor 'extra' 1 is not in the network"),
        ({"weight": torch.full((2, 3), torch.nan)}, "'weight' has values that are not finite"),
        ({"bias": torch.tensor([0.0, torch.inf])}, "'bias' has values that are not finite"),
        ({"bias": torch.tensor([0.0, 1e300], dtype=torch.double)}, "not finite"),
        ({"weight": torch.zeros(2, 3, dtype=torch.int8)}, "should hold float32"),
        ({"weight": torch.zeros(2, 3, dtype=torch.complex64)}, "should hold float32"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_another_network_name_the_first_tensor_that_differs(
    tmp_path: Path, suffix: str, change: dict[str, torch.Tensor | None], said: str
) -> None:
    state = {**nn.Linear(3, 2).state_dict(), **change}
    kept = {key: value for key, value in state.items() if value is not None}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(kept, path)
    else:
        safetensors.torch.save_file(kept, path)
    assert said in refusal(path)


def test_the_other_variants_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save_weights(zoo.build("multitask-cnn", "regression"), path, {})
    said = refusal(path, zoo.build(*SMALL))
    assert "tensor 'heads.age.weight' should be 8×512 and is 1×512" in said


def test_missing_empty_folder_and_wrong_kind_are_refused(tmp_path: Path) -> None:
    assert "no such weights file" in refusal(tmp_path / "none.safetensors")
    (tmp_path / "folder.pt").mkdir()
    assert "no such weights file" in refusal(tmp_path / "folder.pt")
    for name in ("w.safetensors", "w.pt", "w.onnx"):
        (tmp_path / name).write_bytes(b"")
    assert "not a safetensors file" in refusal(tmp_path / "w.safetensors")
    assert "not a readable checkpoint" in refusal(tmp_path / "w.pt")
    assert "'.onnx'" in refusal(tmp_path / "w.onnx")
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "pickle.safetensors")
    assert "not a safetensors file" in refusal(tmp_path / "pickle.safetensors")
    for content in ([1, 2], {"a": 1}, {1: torch.zeros(1)}, {"state_dict": {"a": "b"}}):
        torch.save(content, tmp_path / "w.pt")
        assert "no state dict" in refusal(tmp_path / "w.pt")
    torch.save(nn.Linear(3, 2), tmp_path / "w.pt")
    assert "a whole pickled model" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.zeros(2, 3).to_sparse(), "sparse"),
        (lambda: torch.zeros(2, 3, device="meta"), "meta"),
        (lambda: torch.nested.nested_tensor([torch.zeros(3), torch.zeros(2)]), "nested"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.qint8), "qint8"),
        (lambda: torch.zeros(2, 3).to(torch.float8_e4m3fn), "float8"),
    ],
    ids=["sparse", "meta", "nested", "quantized", "float8"],
)
# torch calls the one kind a prototype and gives the other up; checkpoints hold them all the same.
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_tensors_that_are_not_dense_floats_are_refused(
    tmp_path: Path, make: Callable[[], torch.Tensor], said: str
) -> None:
    weight = make()
    torch.save({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "w.pt")
    assert said in refusal(tmp_path / "w.pt")


def test_what_a_pickled_state_dict_carries_beside_its_tensors_is_ignored(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    state = network.state_dict()
    state._metadata = {"": ("not", "a", "dict")}  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "w.pt")
    checkpoint.load_weights(network, tmp_path / "w.pt")


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "w.pt"
    payload = {"weight": Hostile(marker)}
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    assert "not a readable checkpoint" in refusal(path)
    path.write_bytes(pickle.dumps(payload))
    assert "not a readable checkpoint" in refusal(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()  # the payload was a live one


def saved(kind: str) -> bytes:
    state = nn.Linear(3, 2).state_dict()
    if kind == "safetensors":
        return safetensors.torch.save(state, {"edgekit": json.dumps({"model": "x"})})
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


WHOLE = {kind: saved(kind) for kind in ("safetensors", "zip", "legacy")}


def load_whatever(path: Path, content: bytes) -> None:
    """Load bytes that may be anything: the weights come in, or BadModel comes out."""
    path.write_bytes(content)
    reads: tuple[Callable[[], object], ...] = (
        lambda: checkpoint.load_weights(nn.Linear(3, 2), path),
        lambda: metadata(path),
    )
    for read in reads:
        try:
            read()
        except BadModel as error:
            assert "\n" not in str(error)


def metadata(path: Path) -> None:
    if path.suffix == ".safetensors":
        checkpoint.read_metadata(path)


@FUZZ
@given(
    content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b"\x80\x02" + b + b"."),
    suffix=st.sampled_from([".safetensors", ".pt"]),
)
def test_random_bytes_are_refused_without_a_traceback(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    load_whatever(tmp_path / f"w{suffix}", content)


@FUZZ
@given(data=st.data(), kind=st.sampled_from(sorted(WHOLE)))
def test_truncated_and_altered_files_are_refused_without_a_traceback(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    suffix = ".safetensors" if kind == "safetensors" else ".pt"
    load_whatever(tmp_path / f"w{suffix}", bytes(content[:end]))


@pytest.mark.parametrize("cut", [1, 7, 8, 20, 100])
def test_a_truncated_safetensors_file_says_so(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(WHOLE["safetensors"][:-cut])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("note", ["[1]", "{", "null", "[" * 100_000])
def test_a_note_that_is_no_json_object_is_refused(tmp_path: Path, note: str) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {checkpoint.METADATA_KEY: note})
    with pytest.raises(BadModel, match="JSON"):
        checkpoint.read_metadata(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    assert checkpoint.read_metadata(path) == {}


def test_diverged_weights_are_not_written(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    nn.init.constant_(network.bias, torch.nan)
    with pytest.raises(BadModel, match="'bias' has values that are not finite"):
        checkpoint.save_weights(network, tmp_path / "w.safetensors", {})
    assert list(tmp_path.iterdir()) == []
