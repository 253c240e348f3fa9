"""A forked runner is what `python runner.py JOB.json` is: words, folder, output, end."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from runner_server import start
from waiting import ASLEEP, ends_with_who_asked, wait_gone

from edgekit.devices.local import LocalDevice, start_python
from edgekit.errors import DeviceTimeout
from edgekit.paths import ONBOARD
from edgekit.session import RUNNER, put_runner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RUNNER).write_bytes((ONBOARD / RUNNER).read_bytes())
    return tmp_path


def said(way: Callable[..., Any], folder: Path) -> tuple[int, bytes, bytes]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = way([RUNNER, "job.json"], folder, out, err).wait(60)
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


@pytest.mark.parametrize(
    "job", [{"task": "no such task"}, {"task": "bench", "artifact": "nowhere"}, None]
)
def test_it_says_what_the_runner_says(job: object, folder: Path) -> None:
    if job:
        (folder / "job.json").write_text(json.dumps(job))
    assert said(start, folder) == said(start_python, folder)


def test_it_is_forked_and_is_the_file_in_its_folder(folder: Path) -> None:
    (folder / RUNNER).write_text(
        "import json, os, sys\n"
        "print(json.dumps([__name__, __file__, sys.argv, os.getcwd(), sys.path[0],\n"
        "                  os.environ['OWN'], os.getpid() == os.getpgid(0), sys.stdin.read()]))\n"
        "print('numpy' in sys.modules)\n"
        "sys.exit(7)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OWN", "own")
        (forked, real) = said(start, folder), said(start_python, folder)
    (facts, has_numpy), (real_facts, _) = forked[1].splitlines(), real[1].splitlines()
    assert (forked[0], facts) == (real[0], real_facts)
    assert has_numpy == b"True"


def test_what_is_read_at_the_start_has_a_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / RUNNER).write_text("import sys; print('numpy' in sys.modules)\n")
    assert said(start, folder)[1] == b"True\n"
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    assert said(start, folder)[1] == b"False\n"


def test_it_is_ended_at_its_time(folder: Path) -> None:
    with closing(LocalDevice()) as device:
        put_runner(device)
        (device.path / RUNNER).write_text(ASLEEP)
        began = time.monotonic()
        with pytest.raises(DeviceTimeout):
            device.run([RUNNER], timeout=1)
        assert time.monotonic() - began < 20
        assert wait_gone(int((device.path / "pid").read_text()))


def test_it_ends_with_who_asked_for_it(folder: Path) -> None:
    (folder / RUNNER).write_text(ASLEEP)
    code = (
        "import pathlib\n"
        "import runner_server\n"
        "with open('out', 'wb') as out:\n"
        "    runner_server.start(['runner.py'], pathlib.Path.cwd(), out, out).wait()\n"
    )
    assert ends_with_who_asked(code, folder)
