"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgekit.errors import OutputExists
from edgekit.files import folder_whole, write_whole


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_aside(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    write_whole(target, "old")
    code = (
        "import resource, signal; from pathlib import Path\n"
        "from edgekit.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_whole(Path({str(target)!r}), b'x' * 5000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_an_existing_folder_is_kept_unless_forced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("mine")
    with pytest.raises(OutputExists, match="--force"), folder_whole(out):
        raise AssertionError("never entered")
    assert (out / "precious").read_text() == "mine"
    with folder_whole(out, force=True) as aside:
        (aside / "new").write_text("new")
        assert (out / "precious").exists(), "the old folder stands until the new one is complete"
    assert os.listdir(out) == ["new"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with folder_whole(out) as aside:
        (aside / "a").write_text("1")
    with pytest.raises(RuntimeError), folder_whole(out, force=True) as aside:
        (aside / "b").write_text("2")
        raise RuntimeError
    assert os.listdir(out) == ["a"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_killed_run_leaves_no_output_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from edgekit.files import folder_whole\n"
        f"with folder_whole(Path({str(out)!r})) as aside:\n"
        "    (aside / 'half').write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    time.sleep(0.05)
    with folder_whole(out) as aside:
        (aside / "whole").write_text("whole")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["whole"]


def test_the_later_of_two_runs_keeps_what_the_other_has_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputExists, match="filled by another run"), folder_whole(out) as aside:
        (aside / "late").write_text("late")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "first").write_text("first")
        (tmp_path / "other").rename(out)
    assert os.listdir(out) == ["first"]
    assert os.listdir(tmp_path) == ["out"]
    with folder_whole(out, force=True) as aside:
        (aside / "late").write_text("late")
    assert os.listdir(out) == ["late"]


def test_force_into_a_folder_that_a_program_stands_in_keeps_it_whole(tmp_path: Path) -> None:
    """Two names change places in one instant: whoever looks finds one of the two, whole."""
    out = tmp_path / "out"
    with folder_whole(out) as aside:
        (aside / "number").write_text("0")
    missed: list[Exception] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                int((out / "number").read_text())
            except (OSError, ValueError) as error:
                missed.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(200):
        with folder_whole(out, force=True) as aside:
            (aside / "number").write_text(str(number))
    stop.set()
    looking.join()
    # A path is resolved in steps: the folder that was found may be gone when the file is opened.
    assert len(missed) < 20


@pytest.mark.parametrize("exchanges", [True, False])
def test_killed_at_every_rename_the_folder_is_there_or_comes_back(
    tmp_path: Path, exchanges: bool
) -> None:
    code = """
import os, sys
from pathlib import Path
from edgekit import files
left = int(sys.argv[2])
if sys.argv[3] == "False":
    files._exchange = lambda one, other: False
def count(event, arguments):
    global left
    if event in {"os.rename", "shutil.rmtree", "ctypes.dlsym", "os.rmdir"}:
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(count)
with files.folder_whole(Path(sys.argv[1]), force=True) as aside:
    (aside / "new").write_text("new")
"""
    out = tmp_path / "out"
    killed = 0
    while True:
        with folder_whole(out, force=True) as aside:
            (aside / "old").write_text("old")
        command = [sys.executable, "-c", code, str(out), str(killed), str(exchanges)]
        ended = subprocess.run(command, check=False).returncode
        if exchanges:
            assert os.listdir(out) in (["old"], ["new"]), "there at every moment"
        if ended == 0:
            break
        assert ended == 9
        with pytest.raises(OutputExists), folder_whole(out):
            raise AssertionError("never entered")
        assert os.listdir(out) in (["old"], ["new"]), killed
        assert os.listdir(tmp_path) == ["out"], killed
        killed += 1
    assert killed > 2


def test_a_name_that_looks_like_a_pattern_sweeps_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / ".ab.partial-99999999").mkdir()
    with folder_whole(tmp_path / "a?") as aside:
        (aside / "x").write_text("x")
    assert (tmp_path / ".ab.partial-99999999").is_dir()
