"""What the nursery lends is a conversion's own: folder, words, end, and no other converter."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from nursery import PLACE, Borrowed, borrowed
from waiting import appears, wait_gone

from edgekit.backends import imports_of, load_backend
from edgekit.conversion.fork_server import TORCH, ForkServer, Wanted
from edgekit.conversion.steps import Children, run_step

SEEN = """
import os, sys, torch
def run(request, report):
    return {
        "folder": os.getcwd(), "word": os.environ["A_WORD"], "threads": torch.get_num_threads(),
        "converters": sorted({"nncf", "litert_torch", "onnxslim"} & ready),
    }
ready = set(sys.modules)
"""
ASLEEP = """
import os, pathlib, sys, time
sys.path[:0] = sys.argv[1:3]
import edgekit.conversion.steps as steps
from edgekit.conversion.fork_server import TORCH, Wanted
from nursery import borrowed
steps.ForkServer = borrowed
with steps.Children(TORCH) as children:
    wanted = Wanted(module="asleep")
    steps.run_step(wanted, lambda: {}, pathlib.Path("log"), print, children)
"""


def test_a_step_has_what_its_conversion_has_and_no_other_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen.py").write_text(SEEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgekit.conversion.steps.ForkServer", borrowed)
    for word, backend, converter in (("one", "onnx", "onnxslim"), ("two", "openvino", "nncf")):
        monkeypatch.setenv("A_WORD", word)
        ahead = imports_of(load_backend(backend))
        with Children(TORCH) as children:
            wanted = Wanted(module="seen", ahead=ahead)
            seen = run_step(wanted, lambda: {}, tmp_path / "log", print, children)
        assert seen == {
            "folder": str(tmp_path), "word": word, "threads": 1, "converters": [converter],
        }  # fmt: skip


def test_one_that_leaves_before_it_asks_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gone:
            gone.connect(os.environ[PLACE])
    (tmp_path / "fine.py").write_text("def run(request, report):\n    return {'fine': True}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("edgekit.conversion.steps.ForkServer", borrowed)
    with Children(TORCH) as children:
        assert run_step(Wanted(module="fine"), lambda: {}, tmp_path / "log", print, children) == {
            "fine": True
        }


def test_a_step_ends_with_a_conversion_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text(
        "import os, pathlib, time\n"
        "def run(*_):\n"
        "    pathlib.Path('new').write_text(str(os.getpid()))\n"
        "    pathlib.Path('new').rename('pid')\n"
        "    time.sleep(60)\n"
    )
    paths = (str(tmp_path), str(Path(__file__).parent))
    parent = subprocess.Popen([sys.executable, "-c", ASLEEP, *paths], cwd=tmp_path)
    appears(tmp_path / "pid")
    step = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_gone(step)


def test_a_conversion_without_pytorch_has_a_fork_server_of_its_own() -> None:
    assert isinstance(borrowed(TORCH), Borrowed)
    server = borrowed(())
    assert isinstance(server, ForkServer)
    server.close()
