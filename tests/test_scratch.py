"""What a killed command leaves: no process, and no folder after the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run_cli
from null_artifacts import null_artifact
from waiting import wait_gone

from edgekit.devices.local import LocalDevice
from edgekit.scratch import PREFIX, Scratch, leashed, sweep

HOLDS = """
import sys, time
from edgekit.devices.local import LocalDevice
device = LocalDevice()
print(device.path, flush=True)
sleep = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(300)"
device.run(["-c", sleep], timeout=300)
"""


def pid_in(folder: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = (folder / "pid").read_text() if (folder / "pid").exists() else ""
        if text:
            return int(text)
        time.sleep(0.02)
    raise AssertionError("it never started")


def test_kill_9_ends_the_children_and_the_next_start_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    child = pid_in(folder)
    assert sweep(tmp_path, young=0) == [], "it is held"
    process.kill()
    process.wait()
    process.stdout.close()
    assert wait_gone(child), "an orphan"
    assert folder.is_dir() and sweep(tmp_path) == [], "too young to be told from one just made"
    os.utime(folder, (0, 0))
    artifact = null_artifact(tmp_path / "a").folder
    amount = ["--min-seconds", "0", "--percentile", "p50", "--results", tmp_path / "results"]
    done = run_cli("bench", artifact, *amount, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cleans_up_as_ctrl_c_does(tmp_path: Path, number: signal.Signals) -> None:
    artifact = null_artifact(tmp_path / "a")
    command = [
        sys.executable, "-m", "edgekit", "bench", str(artifact.folder), "--rounds", "500",
        "--results", str(tmp_path / "results"),
    ]  # fmt: skip
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "round 1" in line:
            break
    time.sleep(1)  # it is in the middle of the round then
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert f"ended by {number.name}" in errors and "Traceback" not in errors
    assert list(scratch.iterdir()) == []


def test_only_our_own_unheld_folders_are_swept(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / "edgekit-else").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("a file")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "edgekit-else")
    assert sweep(tmp_path, young=0) == [tmp_path / f"{PREFIX}left"]
    assert (tmp_path / "edgekit-else").is_dir() and (tmp_path / f"{PREFIX}link").is_symlink()


def test_a_scratch_folder_is_closed_once_and_again() -> None:
    scratch = Scratch()
    scratch.close()
    scratch.close()
    assert not scratch.path.exists()


def test_a_leashed_program_is_the_program_itself(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getpid(), sys.argv[1:], os.environ['MINE'])"
    process = subprocess.Popen(
        leashed([sys.executable, "-c", code, "a b", "-c"]),
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"MINE": "yes"},
    )
    out, _ = process.communicate()
    assert out.split("\n")[0] == f"{process.pid} ['a b', '-c'] yes"
    device = LocalDevice()
    try:
        assert device.run(["-c", "raise SystemExit(7)"], timeout=60).exit_code == 7
    finally:
        device.close()


def test_two_threads_may_let_go_of_a_folder_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C one ends what another's item still runs, and both clean up."""
    folder = Scratch()
    held, close, closed = vars(folder)["_held"], os.close, 0

    def and_meanwhile_another(handle: int) -> None:
        nonlocal closed
        closed += handle == held
        if handle == held and closed == 1:
            folder.close()
        close(handle)

    monkeypatch.setattr(os, "close", and_meanwhile_another)
    folder.close()
    monkeypatch.undo()
    assert closed == 1 and not folder.path.exists()
