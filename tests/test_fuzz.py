"""Every reader of files from outside, fed with damaged ones: an answer or one line, nothing else.

`make test` tries 500 inputs, always the same. `make fuzz` tries 10,000 others each time
(EDGEKIT_FUZZ is their number); what it finds becomes a test of its own kind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from null_artifacts import null_artifact
from PIL import Image
from records import a_measurement, an_accuracy, an_emulation
from safetensors.torch import save

from edgekit.artifact import load_artifact
from edgekit.conversion.calibration import load_recipe
from edgekit.conversion.loading import load_source
from edgekit.conversion.sources import SourceRequest, load_module
from edgekit.conversion.spec_files import read_spec
from edgekit.data.images import open_images
from edgekit.data.labelled_folder import open_labelled_folder
from edgekit.data.splits import SplitPlan
from edgekit.data.stores import FolderStore
from edgekit.deployment.inventory import read_inventory
from edgekit.deployment.keys import trusted_line
from edgekit.devices.ssh_link.address import parse_address
from edgekit.emulation.cost_gate import read_baseline
from edgekit.errors import EdgekitError
from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.archive import damage, header, unpack
from edgekit.onboard.runner import decode
from edgekit.outputs import read_outputs
from edgekit.paths import shelf
from edgekit.results import load_accuracy, load_measurement, load_results
from edgekit.runtimes.locks import read_lock
from edgekit.spec import OutputSpec
from edgekit.zoo.checkpoint import load_weights, read_metadata

INPUTS = int(os.environ.get("EDGEKIT_FUZZ", "500"))
MOST_S = 10.0
MOST_BYTES = 500 * 10**6

TOKENS = (
    b"\0", b"\xff\xfe", b"\r\n", b"[" * 3000, b"{" * 3000, b"9" * 5000, b"-1", b"1e999", b"NaN",
    b"null", b"true", b'"', b"'''", b"\\u0000", b"../", b"\xed\xa0\x80", b"a." * 3000, b"]", b"}",
    b",", b"PK\x03\x04", b"\x1b[2J", b"=", b"\xf4\x8f\xbf\xbf", b"inf", b"30000", b"0x7fffffff",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What reads a file of that name, a good content, and how it may refuse a bad one."""

    name: str
    good: bytes
    read: Callable[[Path], object]
    refuses: tuple[type[Exception], ...] = (EdgekitError,)


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def _zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.png", _picture("PNG"))
        archive.writestr("b/c.jpg", _picture("JPEG"))
    return buffer.getvalue()


def _read_all(path: Path) -> None:
    images = open_images(path)
    for name in images.names:
        try:
            decode(images.read(name), 8, 8)
        except (OSError, ValueError, EdgekitError):
            continue


def _bundle() -> bytes:
    import hashlib

    data = b"weights"
    entry = {"name": "m", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    index = json.dumps({"schema": 1, "name": "cats", "files": [entry]}).encode()
    parts = [("index.json", index), ("m", data)]
    packed = [header(n, len(d)) + d + bytes(-len(d) % 512) for n, d in parts]
    return b"".join(packed) + bytes(1024)


def _unpacked(path: Path) -> None:
    folder = path.with_name("unpacked")
    unpack(path, folder)
    damage(folder)


def _outputs() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, age=np.zeros((2, 3), np.float32))
    return buffer.getvalue()


def _pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 1).state_dict(), buffer)
    return buffer.getvalue()


def _weights() -> bytes:
    note = {"edgekit": json.dumps({"model": "multitask-cnn", "variant": "classification"})}
    return save(torch.nn.Linear(2, 1).state_dict(), note)


@cache
def _program() -> bytes:
    buffer = io.BytesIO()
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU()).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 8, 8),)), buffer)
    return buffer.getvalue()


def _onnx() -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def _read_program(path: Path) -> None:
    load_module(SourceRequest(locator=str(path)), "pt2")


def _member(archive: bytes, end: str) -> bytes:
    """Return the member whose name ends so."""
    with zipfile.ZipFile(io.BytesIO(archive)) as whole:
        return whole.read(next(name for name in whole.namelist() if name.endswith(end)))


def _in_archive(
    archive: bytes, end: str, suffix: str, read: Callable[[Path], object]
) -> Callable[[Path], object]:
    """Read an archive that is whole but for this member: its checksums are right."""

    def run(path: Path) -> None:
        whole = path.with_name(f"whole{suffix}")
        with (
            zipfile.ZipFile(io.BytesIO(archive)) as old,
            zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as new,
        ):
            for name in old.namelist():
                new.writestr(name, path.read_bytes() if name.endswith(end) else old.read(name))
        read(whole)

    return run


def _read_onnx(path: Path) -> None:
    load_source(SourceRequest(locator=str(path)), raw_input=True)


def _checkpoint() -> bytes:
    buffer = io.BytesIO()
    state = {f"module.{name}": t for name, t in torch.nn.Linear(2, 1).state_dict().items()}
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=0.1), "model_ema": state}, buffer)
    return buffer.getvalue()


def _read_checkpoint(path: Path) -> None:
    load_weights(torch.nn.Linear(2, 1), path)


def _manifest() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        artifact = null_artifact(Path(folder) / "a")
        return (artifact.folder / "manifest.json").read_bytes()


SPEC = b"""[input]
height = 8
width = 8
mean = [0.0, 0.0, 0.0]
std = [255.0, 255.0, 255.0]

[[outputs]]
name = "age"
kind = "classification"
labels = ["young", "old"]
"""
FLEET = b"""[defaults]
max_p90_ms = 40.0

[groups.kitchen]
hosts = ["ssh://pi@kitchen-1.local", "pi@kitchen-2.local:2222"]
"""
LABELS = b"file,age,gender,split,group\na.png,0-2,male,train,x\nb.png,31,female,test,y\n"
PUBLIC = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample release\n"


def _read_safetensors(path: Path) -> None:
    read_metadata(path)
    load_weights(torch.nn.Linear(2, 1), path)


READERS = {
    "spec": Reader("spec.toml", SPEC, lambda p: read_spec(str(p))),
    "recipe": Reader(
        "r.toml", (shelf("calibration") / "default.toml").read_bytes(),
        lambda p: load_recipe(str(p)),
    ),
    "inventory": Reader("fleet.toml", FLEET, read_inventory),
    "manifest": Reader("manifest.json", _manifest(), load_artifact),
    "measurement": Reader("m.json", msgspec.json.encode(a_measurement()), load_measurement),
    "accuracy": Reader(
        "a.json", msgspec.json.encode(an_accuracy()), lambda p: load_accuracy(p.parent)
    ),
    "emulation": Reader(
        "e.json", msgspec.json.encode(an_emulation()), lambda p: load_results(p.parent)
    ),
    "baseline": Reader("b.json", b"[]", read_baseline),
    "lock": Reader(
        "l.json", min((shelf("targets") / "locks").glob("*.json")).read_bytes()[:20_000], read_lock
    ),
    "bundle": Reader("b.ekb", _bundle(), _unpacked, (Refused,)),
    "outputs": Reader("o.npz", _outputs(), lambda p: read_outputs(p, (OutputSpec("age"),), 2)),
    "stored zip": Reader("s.zip", _zip(zipfile.ZIP_STORED), _read_all),
    "deflated zip": Reader("d.zip", _zip(zipfile.ZIP_DEFLATED), _read_all),
    "bzip2 zip": Reader("b.zip", _zip(zipfile.ZIP_BZIP2), _read_all),
    "lzma zip": Reader("l.zip", _zip(zipfile.ZIP_LZMA), _read_all),
    **{
        kind: Reader(
            "picture", _picture(kind), lambda p: decode(p.read_bytes(), 8, 8), (OSError, ValueError)
        )
        for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
    },
    "labels": Reader(
        "labels.csv", LABELS,
        lambda p: open_labelled_folder("mine", FolderStore(p.parent), SplitPlan()),
    ),
    "safetensors": Reader(
        "w.safetensors", _weights(), _read_safetensors,
    ),
    "pickle": Reader("w.pt", _pickled(), _read_checkpoint),
    "checkpoint": Reader("w.ckpt", _checkpoint(), _read_checkpoint),
    "pt2": Reader("m.pt2", _program(), _read_program),
    "graph of a pt2": Reader(
        "model.json", _member(_program(), "models/model.json"),
        _in_archive(_program(), "models/model.json", ".pt2", _read_program),
    ),
    "pickle of a checkpoint": Reader(
        "data.pkl", _member(_checkpoint(), "data.pkl"),
        _in_archive(_checkpoint(), "data.pkl", ".pt", _read_checkpoint),
    ),
    "onnx": Reader("m.onnx", _onnx(), _read_onnx),
    "address": Reader(
        "address", b"ssh://pi@kitchen-1.local:22",
        lambda p: parse_address(p.read_bytes().decode("utf-8", "surrogateescape")),
    ),
    "public key": Reader("k.pub", PUBLIC, trusted_line),
}  # fmt: skip

Change = tuple[float, float, bytes]
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from((0.0, 0.0, 1e-3, 0.05, 1.0)),
        st.binary(max_size=6) | st.sampled_from(TOKENS),
    ),
    max_size=4,
)


def damaged(good: bytes, changes: list[Change]) -> bytes:
    """Replace a share of the content from a place on by other bytes, for each change."""
    data = good
    for where, share, new in changes:
        at = int(where * len(data))
        data = data[:at] + new + data[at + int(share * len(data)) :]
    return data


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_an_answer_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    reader = READERS[kind]
    with contextlib.suppress(*reader.refuses):  # its images or its model are not beside it
        reader.read(_file(tmp_path_factory, reader, reader.good))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=-(-INPUTS // len(READERS)),
        derandomize="EDGEKIT_FUZZ" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CHANGES)
    def once(changes: list[Change]) -> None:
        path = _file(tmp_path_factory, reader, damaged(reader.good, changes))
        start = time.monotonic()
        try:
            reader.read(path)
        except reader.refuses as error:
            assert str(error).strip()
            assert not isinstance(error, EdgekitError) or len(str(error).splitlines()) == 1
        assert time.monotonic() - start < MOST_S

    once()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert 1024 * grown < MOST_BYTES


def _file(factory: pytest.TempPathFactory, reader: Reader, content: bytes) -> Path:
    path = factory.mktemp("fuzz") / reader.name
    path.write_bytes(content)
    return path
