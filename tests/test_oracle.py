"""The install oracle: which wheels fit which board, and why not. No network, no emulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.devices.emulator.profile import Board, board_of
from edgekit.devices.emulator.sysroot import Record, Tried, lock_of
from edgekit.devices.emulator.wheel_check import check
from edgekit.errors import BadTarget
from edgekit.runtimes.locks import lock_path, read_lock
from edgekit.runtimes.table import deployed
from edgekit.runtimes.wheel_fit import fit
from edgekit.targets import load_target, target_names

BOARDS = [name for name in target_names() if load_target(name).emulation]


@pytest.fixture
def rpi4() -> Board:
    return board_of(load_target("rpi4"))


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", ""),
        ("openvino-2026.4.1-22982-cp311-cp311-manylinux_2_35_aarch64.whl", ""),
        ("flatbuffers-25.12.19-py2.py3-none-any.whl", ""),
        ("cryptography-45.0-cp37-abi3-manylinux2014_aarch64.whl", ""),
        (
            "openvino-2026.4.1-22982-cp311-cp311-manylinux_2_38_aarch64.whl",
            "needs glibc 2.38; the board has 2.36",
        ),
        (
            "numpy-2.4.6-cp312-cp312-manylinux_2_27_aarch64.whl",
            "built for cp312-cp312; the board has Python 3.11",
        ),
        (
            "cryptography-50.0-cp312-abi3-manylinux_2_28_aarch64.whl",
            "built for cp312-abi3; the board has Python 3.11",
        ),
        (
            "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl",
            "built for manylinux_2_28_x86_64; the board is aarch64 Linux",
        ),
        (
            "numpy-2.4.6-cp311-cp311-musllinux_1_2_aarch64.whl",
            "built for musl (Alpine); the board has glibc 2.36",
        ),
        ("numpy-2.4.6.tar.gz", "not a wheel's file name"),
    ],
)
def test_a_wheel_is_judged_by_its_tags(wheel: str, reason: str) -> None:
    answer = fit(wheel, "3.11", "2.36")
    assert answer.fits == (not reason)
    assert answer.reasons == ((reason,) if reason else ())


def test_a_wheel_wrong_in_two_ways_gives_both_reasons() -> None:
    answer = fit("x-1-cp313-cp313-manylinux_2_39_aarch64.whl", "3.11", "2.36")
    assert answer.reasons == (
        "needs glibc 2.39; the board has 2.36",
        "built for cp313-cp313; the board has Python 3.11",
    )


@pytest.mark.parametrize("name", BOARDS)
def test_every_locked_wheel_fits_the_board_it_is_locked_for(name: str) -> None:
    board = board_of(load_target(name))
    lock = lock_of(board)
    assert (lock.debian, lock.python, lock.glibc) == (board.debian, board.python, board.glibc)
    answers = check(board, lock)
    assert len(answers) == len(lock.wheels)
    assert [answer for answer in answers if not answer.fits] == []


@pytest.mark.parametrize("name", BOARDS)
def test_a_lock_holds_every_runtime_its_profile_promises(name: str) -> None:
    promised = load_target(name).software.runtimes
    assert promised is not None
    lock = lock_of(board_of(load_target(name)))
    locked = {wheel.name for wheel in lock.wheels}
    assert set(promised.value) == {r.name for r in deployed() if r.distribution in locked}


def test_a_board_that_claims_another_python_than_its_system_has_is_one_line() -> None:
    board = replace(board_of(load_target("rpi4-trixie")), python="3.12")
    with pytest.raises(BadTarget, match=r"^rpi4-trixie has python 3\.12, but trixie has 3\.13\Z"):
        lock_of(board)
    with pytest.raises(
        BadTarget, match=r"bullseye\.json, which says what a board of that system has"
    ):
        lock_of(replace(board, debian="bullseye"))


def test_what_died_on_the_emulated_cpu_does_not_fit(rpi4: Board) -> None:
    lock = read_lock(lock_path("bookworm"))
    died = "illegal instruction at 0x1000 in x.so: sdot, of dot product (asimddp)"
    record = Record(
        board=rpi4,
        lock=lock.digest,
        packages=(),
        runtimes=(Tried("onnxruntime", "1", died), Tried("openvino", "1", "")),
        bytes=0,
    )
    answers = {answer.wheel.split("-")[0]: answer for answer in check(rpi4, lock, record)}
    assert not answers["onnxruntime"].fits
    assert answers["onnxruntime"].reasons == (died,)
    assert answers["openvino"].fits and answers["openvino"].tried
    assert not answers["numpy"].tried, "only what was imported there counts as tried"


def test_given_files_follow_the_lock(rpi4: Board) -> None:
    lock = read_lock(lock_path("bookworm"))
    answers = check(rpi4, lock, wheels=["downloads/x-1-cp310-cp310-linux_aarch64.whl"])
    assert len(answers) == len(lock.wheels) + 1
    assert answers[-1].wheel == "x-1-cp310-cp310-linux_aarch64.whl"
    assert answers[-1].reasons == ("built for cp310-cp310; the board has Python 3.11",)
