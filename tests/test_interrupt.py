"""Ctrl-C in the long commands: one line, exit code 130, and the same command goes on.

`edgekit convert` is in test_convert.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_cli
from null_artifacts import null_artifact
from pictures import draw_pictures

from edgekit.results import load_results
from edgekit.spec import ADIENCE_AGE_LABELS, GENDER_LABELS

GRACE_S = 30


def interrupted(arguments: list[object], when: str, cwd: Path) -> str:
    """Start a command, press Ctrl-C once it has said `when`, and return what it said after."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=os.environ | {"XDG_CACHE_HOME": str(cwd / "cache")},
        # A shell's background job ignores Ctrl-C, and would hand that on to what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if when in line:
            break
    else:
        raise AssertionError(f"it never said {when!r}: {''.join(seen)}")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=GRACE_S)
    assert process.returncode == 130, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("edgekit: interrupted") and "Traceback" not in errors
    return errors


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of a few labelled pictures, with all three splits."""
    folder = draw_pictures(tmp_path / "labelled", 24, seed=3)
    rows = ["file,age,gender,split"]
    for index, path in enumerate(sorted(folder.iterdir())):
        split = ("train", "train", "val", "test")[index % 4]
        rows.append(
            f"{path.name},{ADIENCE_AGE_LABELS[index % 8]},{GENDER_LABELS[index % 2]},{split}"
        )
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_bench_goes_on_with_the_rounds_that_are_missing(tmp_path: Path, pictures: Path) -> None:
    null_artifact(tmp_path / "made" / "one", "one")
    command = [
        "bench", tmp_path / "made", "--images", pictures, "--min-seconds", "0.5", "--percentile",
        "p50", "--results", tmp_path / "results",
    ]  # fmt: skip
    interrupted(command, "round 3 of 3", tmp_path)
    (before,), problems = load_results(tmp_path / "results")
    assert len(before.rounds) == 2 and not problems
    done = run_cli(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (after,), _ = load_results(tmp_path / "results")
    assert after.run == before.run and after.rounds[:2] == before.rounds
    assert len(after.rounds) == 3


def test_train_goes_on_with_the_epoch_it_was_in(tmp_path: Path, labelled: Path) -> None:
    command = [
        "train", "multitask-cnn", "--data", labelled, "--set", "epochs=9999", "--set", "batch=4",
        "-o", tmp_path / "run", "--threads", "1",
    ]  # fmt: skip
    interrupted(command, "epoch 2 of", tmp_path)
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(log) >= 2
    interrupted(command, f"epoch {len(log)} of", tmp_path)
    assert (tmp_path / "run" / "log.csv").read_text().splitlines()[: len(log)] == log


@pytest.mark.slow
def test_evaluate_ends_what_runs_and_keeps_nothing_half(
    tmp_path: Path, labelled: Path, converted: Path
) -> None:
    command = [
        "evaluate", converted, "--data", labelled, "--results", tmp_path / "results",
    ]  # fmt: skip
    interrupted(command, "run: 1 of", tmp_path)
    assert not (tmp_path / "results").exists()
    assert run_cli(*command, "--limit", "2", cwd=tmp_path).returncode == 0
