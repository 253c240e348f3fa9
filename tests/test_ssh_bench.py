"""Measuring over SSH: the same rules, through lost connections, restarts and Ctrl-C."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Cli, one_line_error
from null_artifacts import null_artifact
from pictures import few
from raspberry_pi4 import PI
from sshd import Board, children
from waiting import wait_gone

from edgekit.devices import open_device
from edgekit.devices import ssh as ssh_device
from edgekit.errors import BadTarget, DeviceError, DeviceLost
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.measurement.summary import verdict
from edgekit.records import Measurement
from edgekit.results import load_results
from edgekit.session import entry, probe, put_runner
from edgekit.targets import load_target

HOST = load_target("host")


@pytest.fixture
def ready(board: Board) -> Board:
    """A board whose Python has NumPy and the runtimes."""
    board.has_our_python()
    return board


@pytest.fixture
def device(ready: Board) -> Iterator[ssh_device.SshDevice]:
    opened = open_device(ready.address, HOST)
    assert isinstance(opened, ssh_device.SshDevice)
    yield opened
    opened.close()


@pytest.fixture
def request_(tmp_path: Path, pictures: Path) -> BenchRequest:
    """Two artifacts that answer zeros, three short rounds."""
    entries = tuple(entry(null_artifact(tmp_path / name, name)) for name in ("one", "two"))
    results = tmp_path / "results"
    return BenchRequest(
        entries=entries,
        target=HOST,
        images=few(pictures),
        results=results,
        min_seconds=0.0,
        warmup_max_seconds=0.1,
    )


def check_complete(rows: list[Measurement], results: Path) -> None:
    """Every round is there, once."""
    assert [len(row.rounds) for row in rows] == [3, 3]
    assert [row.error for row in rows] == [None, None]
    samples = [item.invoke_s for row in rows for item in row.rounds]
    assert len(set(samples)) == len(samples), "no round is counted twice"
    assert load_results(results) == (rows, [])


def test_a_bench_survives_a_cut_connection_and_a_restart(
    ready: Board, device: ssh_device.SshDevice, request_: BenchRequest,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(ssh_device, "_PAUSE_S", (0.05, 0.2))
    back: list[threading.Timer] = []

    def disturb(row: str, text: str) -> None:
        if text == "round 2 of 3":
            ready.cut()
        if text == "round 3 of 3" and not back:
            ready.stop()
            back.append(threading.Timer(1.0, ready.start))
            back[0].start()

    with caplog.at_level(logging.WARNING):
        rows = bench(request_, device, disturb)
    back[0].join()
    check_complete(rows, request_.results)
    assert {row.run for row in rows} == {rows[0].run}
    assert rows[0].provenance == "measured" and rows[0].device == ready.address
    assert all("trying again for" in line for line in caplog.messages) and caplog.messages


def test_a_board_that_stays_away_loses_nothing_and_the_same_bench_goes_on(
    ready: Board, device: ssh_device.SshDevice, request_: BenchRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ssh_device, "_PAUSE_S", (0.05, 0.2))
    monkeypatch.setattr(ssh_device, "RECONNECT_S", 0.5)

    def stop(row: str, text: str) -> None:
        if text == "round 2 of 3":
            ready.stop()

    with pytest.raises(DeviceLost, match=r"^[^\n]*\Z"):
        bench(request_, device, stop)
    first = load_results(request_.results)[0]
    assert [len(row.rounds) for row in first] == [1, 1]
    ready.start()
    again = open_device(ready.address, HOST)
    rows = bench(request_, again)
    again.close()
    check_complete(rows, request_.results)
    assert [row.rounds[0] for row in rows] == [row.rounds[0] for row in first]
    assert rows[0].run == first[0].run


def test_what_a_lost_connection_left_running_is_ended_on_return(
    ready: Board, device: ssh_device.SshDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_device, "_PAUSE_S", (0.05, 0.2))
    # It has left its group before it says who it is: the end of its parent ends that group.
    code = "import os, time; os.setsid(); open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    stray = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {code!r}], "
    stray += "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
    stray += "import os\nwhile not (os.path.exists('pid') and os.path.getsize('pid')): pass"
    assert device.run(["-c", stray], timeout=60).exit_code == 0
    (pid,) = ready.home.glob(".edgekit/work/*/pid")
    assert not wait_gone(int(pid.read_text()), seconds=0.1), "it left its group: it still runs"
    ready.cut()
    device.run(["-c", "pass"], timeout=60)
    assert wait_gone(int(pid.read_text()))


def test_the_pis_own_word_of_throttling_makes_a_bench_inconclusive(
    ready: Board, device: ssh_device.SshDevice, request_: BenchRequest
) -> None:
    ready.has("vcgencmd", "echo throttled=0x50005")
    (row,) = bench(replace(request_, entries=request_.entries[:1]), device)
    assert row.facts.throttled == "0x50005"
    assert "round 1, 2, 3 throttled" in verdict(row)


def test_a_claimed_target_is_held_to_what_the_board_says(
    ready: Board, cli: Cli, tmp_path: Path
) -> None:
    null_artifact(tmp_path / "model")
    for command in (
        ("bench", tmp_path / "model", "--target", "rpi4", "--device", ready.address),
        ("device", "probe", ready.address, "--target", "rpi4"),
    ):
        error = one_line_error(cli(*command, cwd=tmp_path))
        assert "'x86_64'" in error and "rpi4 is 'aarch64'" in error
    row = json.loads(cli("device", "probe", ready.address, "--json").stdout)["rows"][0]
    assert (row["machine"], row["provenance"]) == ("x86_64", "measured")
    assert row["runtimes"]["onnxruntime"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 127", "sudo apt install python3"),
        ("echo no such module >&2; exit 1", "no such module"),
        ("""echo '{"version": "3.8.1", "machine": "aarch64", "bits": 64, "glibc": "2.31",
                  "kernel": "", "modalias": "", "parent": ""}'""", "3.9 or newer"),
        ("echo '[]'", "does not work"),
    ],
)  # fmt: skip
def test_a_board_without_a_python_of_use_is_one_line(
    board: Board, cli: Cli, script: str, words: str
) -> None:
    board.has("python3", script)
    assert words in one_line_error(cli("device", "probe", board.address), code=1)
    assert not list(board.home.glob(".edgekit/work/*"))


def test_a_bare_board_can_be_probed_and_its_bench_names_the_remedy(
    board: Board, request_: BenchRequest
) -> None:
    board.has("python3", f'exec {sys.executable} -I -S "$@"')  # without site-packages
    device = open_device(board.address, HOST)
    put_runner(device)
    assert probe(device).runtimes == {}
    (row,) = bench(replace(request_, entries=request_.entries[:1]), device)
    device.close()
    assert f"edgekit device provision {board.address}" in str(row.error)


def test_ctrl_c_leaves_nothing_running_and_nothing_lying(ready: Board, tmp_path: Path) -> None:
    null_artifact(tmp_path / "model")
    command = [sys.executable, "-m", "edgekit", "bench", str(tmp_path / "model")]
    command += ["--device", str(ready.address), "--min-seconds", "60", "--rounds", "3"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "round 1" in line:
            break
    (work,) = ready.home.glob(".edgekit/work/*")
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert not work.exists()
    assert all(wait_gone(pid) for served in ready.connections() for pid in children(served))


@pytest.mark.parametrize(
    ("changes", "emulated"),
    [
        ({}, False),
        ({"kernel": "aarch64", "modalias": "cpu:type:aarch64:feature:,0000"}, False),
        ({"kernel": "", "modalias": ""}, False),
        ({"machine": "armv7l", "bits": 32}, False),  # 32-bit programs on a 64-bit kernel are real
        ({"kernel": "x86_64"}, True),
        ({"kernel": "", "modalias": "cpu:type:x86,ven0002fam0019mod0001"}, True),
        ({"kernel": "", "modalias": "", "parent": "/usr/bin/qemu-aarch64-static"}, True),
    ],
)
def test_a_cpu_that_is_emulated_gives_itself_away(
    changes: dict[str, object], emulated: bool
) -> None:
    assert replace(PI, **changes).emulated is emulated  # type: ignore[arg-type]


def test_a_bench_on_an_emulated_cpu_measures_nothing(ready: Board, request_: BenchRequest) -> None:
    look = {
        "version": "3.11.2", "machine": "aarch64", "bits": 64, "glibc": "2.36",
        "kernel": "x86_64", "modalias": "", "parent": "",
    }  # fmt: skip
    ready.has(
        "python3",
        f"case \"$*\" in *modalias*) echo '{json.dumps(look)}' ;; "
        f'*) exec {sys.executable} "$@" ;; esac',
    )
    device = open_device(ready.address, HOST)
    assert device.provenance == "emulated"
    with pytest.raises(BadTarget, match="emulated and has no times"):
        bench(request_, device)
    device.close()
    with pytest.raises(DeviceError, match="outside the work folder"):
        device.sha256("../x")


def test_edgekits_own_folder_is_all_it_touches(ready: Board, cli: Cli, tmp_path: Path) -> None:
    null_artifact(tmp_path / "model")
    before = {path.name for path in ready.home.iterdir()}
    done = cli("bench", tmp_path / "model", "--device", str(ready.address), "--min-seconds", "0",
               "--json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["provenance"], row["device"], row["rounds"]) == ("measured", ready.address, 3)
    assert {path.name for path in ready.home.iterdir()} == before | {".edgekit"}
    assert not list(ready.home.glob(".edgekit/work/*"))
    done = cli("device", "clean", ready.address)
    assert done.returncode == 0 and "removed" in done.stdout
    assert {path.name for path in ready.home.iterdir()} == before
