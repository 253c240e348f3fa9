"""Provisioning by the real pip over a real connection, with wheels small enough to make here."""

from __future__ import annotations

import ensurepip
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import run_cli
from raspberry_pi4 import PI, PI4
from sshd import Board
from waiting import appears, in_the_background

from edgekit.devices import open_device
from edgekit.devices.emulator.relock import relock
from edgekit.devices.ssh_link.address import parse_address
from edgekit.devices.ssh_link.environment import environments, lock_for
from edgekit.devices.ssh_link.interpreter import Interpreter
from edgekit.devices.ssh_link.provision import Provisioned, provision
from edgekit.errors import DeviceError, DeviceLost, UserError
from edgekit.files import sha256
from edgekit.onboard import runner
from edgekit.runtimes import wheels
from edgekit.runtimes.locks import Wheel, lock_path, own_lock_path, read_lock
from edgekit.session import probe, put_runner
from edgekit.targets import DeviceFacts, load_target

MODULES = {
    "numpy": "numpy/__init__.py", "pillow": "PIL/Image.py", "onnxruntime": "onnxruntime.py",
    "tflite_runtime": "tflite_runtime/interpreter.py",
}  # fmt: skip


def make_wheel(folder: Path, name: str, version: str, code: str = "") -> None:
    """Write a wheel of one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(MODULES[name], code)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that the host's pip finds: a runtime, what it needs, and pip itself."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "numpy", "2.9")
    make_wheel(folder, "pillow", "13.9")
    make_wheel(folder, "onnxruntime", "1.99")
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(bundled, folder)
    pip = Wheel(
        name="pip",
        version=bundled.name.split("-")[1],
        file=bundled.name,
        sha256=sha256(bundled),
        bytes=0,
    )
    monkeypatch.setattr("edgekit.runtimes.wheels.PIP", pip)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def probe_of_this_machine() -> DeviceFacts:
    return msgspec.convert(runner.probe(), DeviceFacts)


def give(board: Board, **options: Any) -> Provisioned:
    (made,) = provision(
        parse_address(board.address),
        probe_of_this_machine(),
        runtimes=("onnxruntime",),
        **options,
    )
    return made


def in_use(board: Board) -> str:
    return (board.home / ".edgekit/env/main").readlink().name


def runtimes(board: Board) -> dict[str, str]:
    device = open_device(board.address, load_target("host"))
    put_runner(device)
    facts = probe(device)
    device.close()
    return facts.runtimes


def test_a_wheelhouse_serves_a_board_without_network_and_a_second_time_nothing_is_done(
    board: Board, index: Path, tmp_path: Path
) -> None:
    board.has("rustc", "exit 1")  # pip asks for it, and rustup would leave a folder
    before = {path.name for path in board.home.iterdir()}
    made = give(board, wheelhouse=tmp_path / "wheels")
    assert not made.kept
    assert in_use(board) == made.environment.folder
    assert runtimes(board) == {"onnxruntime": "1.99"}
    assert {path.name for path in board.home.iterdir()} == before | {".edgekit"}
    assert len(list((tmp_path / "wheels").glob("*.whl"))) == 4

    assert give(board, wheelhouse=tmp_path / "wheels") == replace(made, kept=True)

    make_wheel(index, "onnxruntime", "2.0")
    newer = give(board, wheelhouse=tmp_path / "wheels")
    assert in_use(board) == newer.environment.folder != made.environment.folder
    assert runtimes(board) == {"onnxruntime": "2.0"}
    assert (board.home / ".edgekit/env" / made.environment.folder).is_dir(), "may be in use still"


def test_a_runtime_that_does_not_start_never_comes_into_use(board: Board, index: Path) -> None:
    config = board.home / ".config/pip/pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(f"[global]\nno-index = true\nfind-links = {index}\n")
    made = give(board)  # by the board's own pip settings
    make_wheel(index, "onnxruntime", "2.0", "raise ImportError('made for another CPU')")
    with pytest.raises(DeviceError, match=r"^[^\n]*does not start there[^\n]*another CPU[^\n]*\Z"):
        give(board)
    assert in_use(board) == made.environment.folder
    assert runtimes(board) == {"onnxruntime": "1.99"}

    config.write_text("[global]\nno-index = true\n")
    make_wheel(index, "onnxruntime", "3.0")
    with pytest.raises(DeviceError, match=r"^[^\n]*--wheelhouse[^\n]*\Z"):
        give(board)
    assert in_use(board) == made.environment.folder


def test_a_connection_cut_in_the_middle_leaves_nothing_in_use_and_the_next_run_completes(
    board: Board, index: Path, tmp_path: Path
) -> None:
    folder = board.home / ".edgekit/env"
    cutter = in_the_background(lambda: appears(folder, "main-*/pyvenv.cfg"), board.cut)
    with pytest.raises(DeviceLost, match=r"^[^\n]*\Z"):
        give(board, wheelhouse=tmp_path / "wheels")
    cutter.join()
    assert not (folder / "main").exists()
    made = give(board, wheelhouse=tmp_path / "wheels")
    assert in_use(board) == made.environment.folder
    assert not made.kept


def test_a_python_without_venv_is_told_what_to_install(
    board: Board, index: Path, tmp_path: Path
) -> None:
    board.has(
        "python3",
        f'case "$*" in *venv*) echo no ensurepip >&2; exit 1 ;; esac\nexec {sys.executable} "$@"',
    )
    with pytest.raises(DeviceError, match=r"^[^\n]*sudo apt install python3-venv[^\n]*\Z"):
        give(board, wheelhouse=tmp_path / "wheels")


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (replace(PI, bits=32), "64-bit"),
        (replace(PI, machine="riscv64"), "riscv64"),
        (replace(PI, glibc=""), "Alpine"),
    ],
)
def test_a_system_no_runtime_is_built_for_is_refused(
    system: Interpreter, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match=words):
        environments(system, None, ("onnxruntime",), tmp_path)


def test_an_unknown_runtime_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="onnxruntime"):
        environments(PI, None, ("onnxruntme",), tmp_path)


def test_a_board_gets_the_wheels_of_its_lock_and_numpy_1_apart(tmp_path: Path) -> None:
    lock = lock_for(PI, PI4, None)
    assert lock == read_lock(lock_path("bookworm"))
    chosen = ("onnxruntime", "tflite_runtime")
    made = {item.place: item for item in environments(PI, lock, chosen, tmp_path)}
    names = {
        place: {(wheel.name, wheel.version.split(".")[0]) for wheel in item.wheels}
        for place, item in made.items()
    }
    assert {name for name, _ in names["main"]} == {"onnxruntime", "numpy", "pillow"}
    assert {name for name, _ in names["numpy1"]} == {"tflite-runtime", "numpy", "pillow"}
    assert ("numpy", "2") in names["main"] and ("numpy", "1") in names["numpy1"]
    assert made["main"].folder != made["numpy1"].folder
    other = replace(PI, version="3.12.3", glibc="2.39")
    assert lock_for(other, PI4, None) is None, "its wheels are another Python's"


@pytest.mark.parametrize("claimed", [None, "rpi4", "rpi4-trixie"])
def test_a_board_with_trixie_gets_trixies_lock_and_no_tflite_runtime(
    claimed: str | None, tmp_path: Path
) -> None:
    found = replace(PI, version="3.13.5", glibc="2.41")
    facts = replace(PI4, os="Debian GNU/Linux 13 (trixie)")
    lock = lock_for(found, facts, load_target(claimed) if claimed else None)
    assert lock == read_lock(lock_path("trixie"))
    [made] = environments(found, lock, ("onnxruntime", "ncnn"), tmp_path)
    assert {wheel.name for wheel in made.wheels} == {"onnxruntime", "ncnn", "numpy", "pillow"}
    with pytest.raises(
        DeviceError, match=r"^tflite-runtime has no wheel for Python 3\.13 [^\n]*\Z"
    ):
        environments(found, lock, ("tflite_runtime",), tmp_path)
    assert lock_for(found, replace(facts, board="Jetson"), None) is None


def test_a_lock_of_ones_own_holds_every_install_to_what_the_index_had(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("edgekit.devices.emulator.relock.SUPPORT", ("main",))
    monkeypatch.setattr(
        "edgekit.devices.emulator.relock.requirements", lambda *_: ["numpy", "onnxruntime"]
    )
    shipped = lock_path("bookworm")
    relock(load_target("rpi4").software, own_lock_path("bookworm"))
    assert lock_path("bookworm") == own_lock_path("bookworm") != shipped
    lock = read_lock(lock_path("bookworm"))
    assert [(w.name, w.version) for w in lock.wheels] == [("numpy", "2.9"), ("onnxruntime", "1.99")]
    assert lock.packages == read_lock(shipped).packages
    wheels.fetch(lock, tmp_path / "fetched")
    make_wheel(index, "numpy", "2.9", "import os  # not what it was")
    with pytest.raises(DeviceError, match=r"(?i)hash"):
        wheels.fetch(lock, tmp_path / "again")
    assert not list((tmp_path / "again").glob("numpy*"))
    for gone in index.glob("numpy*"):
        gone.unlink()
    with pytest.raises(DeviceError, match="edgekit device relock"):
        wheels.fetch(lock, tmp_path / "gone")
    done = run_cli("device", "relock", "rpi4", "--shipped")
    assert done.returncode == 0, done.stderr
    assert lock_path("bookworm") == shipped


def test_pips_own_wheel_is_one_and_no_other(index: Path, tmp_path: Path) -> None:
    got = wheels.pip_wheel("3.11", "2.36", tmp_path / "store")
    assert sha256(got) == wheels.PIP.sha256
    got.write_bytes(b"another")
    assert sha256(wheels.pip_wheel("3.11", "2.36", tmp_path / "store")) == wheels.PIP.sha256
