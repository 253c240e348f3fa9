"""Whatever goes wrong in a command is one line; the traceback goes to a log file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import one_line_error

from edgekit.unexpected import KEPT, report

BREAK = """
import sys
import edgekit.cli
def broken(*args, **options):
    raise {error}
sys.modules["edgekit.cli.doctor"].version_lines = broken
sys.argv = ["edgekit", "--version"]
import edgekit.__main__
edgekit.__main__.main()
"""


def run_broken(error: str, cache: Path) -> subprocess.CompletedProcess[str]:
    code = BREAK.format(error=error)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )


@pytest.mark.parametrize(
    "error",
    [
        "KeyError('path')", "RecursionError()", "AssertionError", "OSError('of Pillow')",
        r"ValueError('two\nlines \x1b[2J')", "UnicodeDecodeError('utf-8', b'', 0, 1, 'x')",
    ],
)  # fmt: skip
def test_an_unexpected_exception_is_one_line_and_a_log(tmp_path: Path, error: str) -> None:
    line = one_line_error(run_broken(error, tmp_path), code=1)
    (log,) = (tmp_path / "edgekit" / "logs").iterdir()
    assert "please report" in line and str(log) in line and "\x1b" not in line
    text = log.read_text()
    assert "Traceback (most recent call last)" in text and "edgekit --version" in text
    assert error.partition("(")[0] in text


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"), (errno.EACCES, "may read and write"),
        (errno.EROFS, "read-only: choose another"), (errno.ENOENT, "check the path"),
        (errno.EXDEV, "check the path, its disk"),
    ],
)  # fmt: skip
def test_the_systems_errors_come_with_their_own_remedy(
    tmp_path: Path, number: int, remedy: str
) -> None:
    done = run_broken(f"OSError({number}, 'its words', '/a/file')", tmp_path)
    line = one_line_error(done)
    assert "its words (/a/file)" in line and remedy in line
    assert not (tmp_path / "edgekit").exists()


def test_where_no_log_can_be_written_the_line_comes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edgekit").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "edgekit"))
    assert "send the command and this line" in report(KeyError("x"))


def test_an_exception_whose_own_text_fails_is_reported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worse(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "unexpected Worse" in report(Worse())


def test_the_logs_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(KEPT + 5):
        report(KeyError("x"))
    assert len(list((tmp_path / "edgekit" / "logs").iterdir())) == KEPT


def test_ctrl_c_while_the_command_is_imported_ends_it(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "--version"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert "interrupted" in one_line_error(done, code=130)
