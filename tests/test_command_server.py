"""A forked command is what `python -m edgekit` is: words, folder, environment, output, end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_cli
from command_server import run, serves
from waiting import ASLEEP, ends_with_who_asked


@pytest.mark.parametrize(
    "words",
    [["models"], ["--version"], ["convert", "no-such-model"], ["bench", "--no-such-option"], []],
)
def test_it_says_what_the_command_says(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert serves({})
    real = subprocess.run(
        [sys.executable, "-m", "edgekit", *words], capture_output=True, text=True, cwd=tmp_path
    )
    forked = run_cli(*words, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        real.returncode, real.stdout, real.stderr,
    )  # fmt: skip
    assert forked.stdout + forked.stderr


def test_it_sees_its_own_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert f"{tmp_path}/own/edgekit" in "".join(run_cli("cache", "show").stdout.split())
    (tmp_path / "edgekit.toml").write_text("[convert]\nbackends = 3\n")
    assert "edgekit.toml" in run_cli("convert", "multitask-cnn", cwd=tmp_path).stderr


def test_what_is_read_at_the_start_has_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not serves({"COLUMNS": "80"})
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    assert not serves({})


def test_a_command_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text(ASLEEP)
    code = (
        "import pathlib\n"
        "import command_server\n"
        "words = ['convert', 'asleep:net', '-o', 'out']\n"
        "command_server.run(words, pathlib.Path.cwd(), warm=True, timeout=60)\n"
    )
    assert ends_with_who_asked(code, tmp_path)


def test_a_command_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run(["convert", "slow:net", "-o", "out"], tmp_path, warm=True, timeout=0.5)
