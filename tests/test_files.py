"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    time.sleep(0.05)
    with folder_whole(out) as aside:
        (aside / "whole").write_text("whole")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["whole"]
