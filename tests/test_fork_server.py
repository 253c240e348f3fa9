"""Steps are processes of their own: how they end is told, and none of them outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from waiting import appears, wait_gone

from edgekit.conversion.fork_server import Step, Wanted
from edgekit.conversion.steps import Children, run_step
from edgekit.errors import BuildFailed

STEPS = {
    "adds": "def run(request, report): return {'sum': request['a'] + request['b']}",
    "crashes": "import os, signal\ndef run(*_): os.kill(os.getpid(), signal.SIGSEGV)",
    "dies_as_it_is_imported": (
        "import os, signal, time\ntime.sleep(0.5)\nos.kill(os.getpid(), signal.SIGILL)"
    ),
    "leaves": "import os\ndef run(*_): os._exit(7)",
    "sleeps": (
        "import os, pathlib, subprocess, time\n"
        "def run(request, report):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    path = pathlib.Path(request['pids'])\n"
        "    path.with_suffix('.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "    path.with_suffix('.new').rename(path)\n"
        "    time.sleep(60)\n"
    ),
    "counts_threads": (
        "import os, torch\n"
        "def run(request, report):\n"
        "    return {'torch': torch.get_num_threads(), 'omp': os.environ['OMP_NUM_THREADS'],\n"
        "            'waits': os.environ['OMP_WAIT_POLICY']}\n"
    ),
}


@pytest.fixture(autouse=True)
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of these tests, where a fresh Python finds them."""
    for name, code in STEPS.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


def run(children: Children, tmp_path: Path, module: str, **request: object) -> dict[str, Any]:
    wanted = Wanted(module=module)
    return run_step(wanted, lambda: request, tmp_path / f"{module}.log", print, children)


def sleeping(pids: Path) -> list[int]:
    """Wait for the step that sleeps; the process numbers of it and of what it started."""
    appears(pids)
    return [int(pid) for pid in pids.read_text().split()]


def test_steps_run_side_by_side_and_a_crash_costs_one(tmp_path: Path) -> None:
    with Children(("no_such_module",)) as children:
        with pytest.raises(BuildFailed, match="crashes's process was ended by SIGSEGV"):
            run(children, tmp_path, "crashes")
        with pytest.raises(BuildFailed, match="imported's process was ended by SIGILL"):
            run(children, tmp_path, "dies_as_it_is_imported", much="x" * 1_000_000)
        titled = Wanted(module="dies_as_it_is_imported", title="the converter of ncnn")
        log = tmp_path / "titled.log"
        with pytest.raises(
            BuildFailed, match=r"^the converter of ncnn was ended by SIGILL \(signa"
        ):
            run_step(titled, lambda: {}, log, print, children)
        with pytest.raises(BuildFailed, match="leaves's process ended with exit code 7"):
            run(children, tmp_path, "leaves")
        with pytest.raises(BuildFailed, match="ModuleNotFoundError: No module named 'nowhere'"):
            run(children, tmp_path, "nowhere")
        assert run(children, tmp_path, "adds", a=2, b=40) == {"sum": 42}


def test_a_step_has_one_thread_of_torch_which_sleeps_when_it_waits(tmp_path: Path) -> None:
    with Children(("torch",)) as children:
        reply = run(children, tmp_path, "counts_threads")
        assert reply == {"torch": 1, "omp": "1", "waits": "PASSIVE"}


def test_giving_up_ends_a_step_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    failed: list[BaseException] = []

    def asks() -> None:
        try:
            run(children, tmp_path, "sleeps", pids=str(pids))
        except BuildFailed as error:
            failed.append(error)

    with Children() as children:
        thread = threading.Thread(target=asks)
        thread.start()
        step, its_child = sleeping(pids)
        children.give_up()
        thread.join(timeout=20)
        assert not thread.is_alive() and failed
        assert wait_gone(step) and wait_gone(its_child)
        with pytest.raises(BuildFailed, match="given up"):
            run(children, tmp_path, "adds", a=1, b=1)


def test_a_server_that_was_killed_is_no_wait_without_end(tmp_path: Path) -> None:
    with Children() as children:
        assert run(children, tmp_path, "adds", a=1, b=1) == {"sum": 2}
        children._server.kill()
        with pytest.raises(BuildFailed, match="was ended by SIGKILL"):
            run(children, tmp_path, "adds", a=1, b=1)


def test_no_step_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import json, sys, pathlib\n"
        "from edgekit.conversion.fork_server import Wanted\n"
        "from edgekit.conversion.steps import Children, run_step\n"
        "with Children() as children:\n"
        "    request = json.loads(sys.argv[1])\n"
        "    log = pathlib.Path(sys.argv[2])\n"
        "    run_step(Wanted(module='sleeps'), lambda: request, log, print, children)\n"
    )
    request = json.dumps({"pids": str(pids)})
    parent = subprocess.Popen([sys.executable, "-c", code, request, str(tmp_path / "log")])
    step, its_child = sleeping(pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_gone(step)
    os.kill(its_child, signal.SIGKILL)  # a step's own children are its own to put on a leash


def test_a_step_is_ended_before_it_has_a_group_of_its_own() -> None:
    """Between its fork and its setsid: a conversion whose export failed would wait for ever."""
    process = subprocess.Popen(["sleep", "60"])
    assert os.getpgid(process.pid) != process.pid
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.send(str(process.pid).encode())
        step = Step(ours)
        step.kill()
        assert process.wait(10) == -signal.SIGKILL
    step.end()
