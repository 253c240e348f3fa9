"""Devices: the scheme that picks one, and how this machine keeps the protocol."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_gone

from edgekit.devices import Device, open_device
from edgekit.errors import BadTarget, DeviceError, DeviceTimeout
from edgekit.session import probe, put_runner, run_job
from edgekit.targets import load_target

AWKWARD = 'a b/it\'s "quoted"\nand broken.txt'


@pytest.fixture(params=["local", "ssh"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """This machine, and this machine behind a real SSH server: the same promises hold."""
    opened = open_device(address(request), load_target("host"))
    yield opened
    opened.close()


def address(request: pytest.FixtureRequest) -> str:
    if request.param == "local":
        return "local"
    board = request.getfixturevalue("board")
    board.has_our_python()
    return str(board.address)


def work_folder(device: Device) -> Path:
    return Path(
        device.run(["-c", "import os; print(os.getcwd())"], timeout=30).stdout.decode()[:-1]
    )


@pytest.mark.parametrize("text", ["locl", "serial://dev", "", "../local", "__init__"])
def test_an_unknown_scheme_is_one_line(text: str) -> None:
    with pytest.raises(BadTarget, match=r"^unknown device .*local.*\Z"):
        open_device(text, load_target("host"))


def test_real_machines_are_measured(device: Device) -> None:
    assert device.name == "local" or device.name.startswith("ssh://")
    assert device.provenance == "measured"


def test_a_folder_goes_there_and_back(device: Device, tmp_path: Path) -> None:
    source = tmp_path / "source"
    file = source / AWKWARD
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\0pixels\xff")
    device.put(source, "in put")
    assert device.sha256(f"in put/{AWKWARD}") == hashlib.sha256(b"\0pixels\xff").hexdigest()
    code = "import shutil, sys; shutil.copytree('in put', sys.argv[1])"
    assert device.run(["-c", code, "o'ut"], timeout=30).exit_code == 0
    device.fetch("o'ut", tmp_path / "back")
    assert (tmp_path / "back" / AWKWARD).read_bytes() == b"\0pixels\xff"
    device.fetch(f"o'ut/{AWKWARD}", tmp_path / "deep" / "one file")
    assert (tmp_path / "deep" / "one file").read_bytes() == b"\0pixels\xff"


def test_arguments_and_output_arrive_byte_for_byte(device: Device) -> None:
    code = "import sys; sys.stdout.write(sys.argv[1]); sys.stderr.write('no'); sys.exit(7)"
    done = device.run(["-c", code, AWKWARD], timeout=30)
    assert (done.exit_code, done.stdout, done.stderr) == (7, AWKWARD.encode(), b"no")


def test_a_signal_is_a_negative_exit_code(device: Device) -> None:
    code = "import os; os.kill(os.getpid(), 11)"
    assert device.run(["-c", code], timeout=30).exit_code == -11


def test_much_output_does_not_block(device: Device) -> None:
    code = "import sys; sys.stderr.write('e' * 10**6); sys.stdout.write('o' * 10**6)"
    done = device.run(["-c", code], timeout=30)
    assert (len(done.stdout), len(done.stderr)) == (10**6, 10**6)


def test_a_program_cannot_change_what_was_put(device: Device, tmp_path: Path) -> None:
    mine = tmp_path / "model.bin"
    mine.write_text("mine")
    device.put(mine, "model.bin")
    device.run(["-c", "open('model.bin', 'r+').write('THEIRS')"], timeout=30)
    assert mine.read_text() == "mine"
    assert device.sha256("model.bin") == hashlib.sha256(b"THEIRS").hexdigest()


def test_a_time_limit_ends_grandchildren_too(device: Device, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    child = f"import os, time; open({str(pids)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    with pytest.raises(DeviceTimeout) as caught:
        device.run(["-c", code], timeout=1.5)
    assert time.monotonic() - start < 10
    assert "1.5 s" in str(caught.value) and "\n" not in str(caught.value)
    assert wait_gone(int(pids.read_text()))


def test_a_child_left_behind_neither_delays_nor_survives(device: Device) -> None:
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid)"
    done = device.run(["-c", code], timeout=20)
    assert done.exit_code == 0 and done.seconds < 15
    assert wait_gone(int(done.stdout))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/etc/passwd", "../x", "a/../../x", "a/../b", "a\0b"]
)
def test_a_name_that_leaves_the_work_folder_is_refused(
    device: Device, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    attempts = (
        lambda: device.put(file, name),
        lambda: device.sha256(name),
        lambda: device.fetch(name, tmp_path / "out"),
    )
    for attempt in attempts:
        with pytest.raises(DeviceError, match="outside the work folder"):
            attempt()
    assert not (tmp_path / "out").exists()


def test_a_link_that_leaves_the_work_folder_is_refused(device: Device, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    code = (
        "import os, sys; os.symlink(sys.argv[1], 'link'); os.mkdir('folder'); "
        "os.symlink(sys.argv[1] + '/secret', 'folder/file'); os.symlink('loop', 'loop')"
    )
    assert device.run(["-c", code, str(outside)], timeout=30).exit_code == 0
    file = tmp_path / "file"
    file.write_text("text")
    attempts = (
        lambda: device.put(file, "link/planted"),
        lambda: device.put(file, "folder/file"),
        lambda: device.sha256("link/secret"),
        lambda: device.fetch("link", tmp_path / "out"),
        lambda: device.fetch("folder", tmp_path / "out"),
        lambda: device.fetch("loop", tmp_path / "out"),
    )
    for attempt in attempts:
        with pytest.raises(DeviceError):
            attempt()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_one_line(device: Device, tmp_path: Path) -> None:
    os.mkfifo(work_folder(device) / "pipe")
    for name in ("missing", "two\nlines", "pipe"):
        with pytest.raises(DeviceError, match=rf"^{re.escape(device.name)} has no .*\Z"):
            device.sha256(name)
    with pytest.raises(DeviceError, match=r"^[^\n]*missing[^\n]*No such file[^\n]*\Z"):
        device.put(tmp_path / "missing", "missing")
    (tmp_path / "folder").mkdir()
    device.put(tmp_path / "folder", "folder")
    with pytest.raises(DeviceError, match=r"'folder'"):
        device.sha256("folder")


def test_close_removes_the_work_folder(device: Device) -> None:
    folder = work_folder(device)
    assert folder.is_dir()
    device.close()
    assert not folder.exists()


def test_the_runner_reports_this_machine(device: Device) -> None:
    put_runner(device)
    assert probe(device).machine == os.uname().machine


def test_a_failed_job_is_one_line_in_the_runners_words(device: Device) -> None:
    put_runner(device)
    with pytest.raises(DeviceError, match=rf"^{re.escape(device.name)}: FileNotFoundError: .*\Z"):
        run_job(
            device,
            {"task": "bench", "artifact": "none", "runtime": "null", "images": []},
            timeout=30,
        )
