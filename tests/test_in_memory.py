"""tests/in_memory.sh: temporary files are in memory where it has room, and nowhere else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from own_disk import on_its_own_disk

SCRIPT = Path(__file__).parent / "in_memory.sh"


def run(
    place: Path, gigabytes: int, command: str, *prefix: str
) -> subprocess.CompletedProcess[str]:
    """Run a command by the script, with a place and a least room that are not its own."""
    changed = place.parent / "changed.sh"
    text = SCRIPT.read_text().replace("place=/dev/shm", f"place={place}")
    changed.write_text(text.replace("gigabytes=12", f"gigabytes={gigabytes}"))
    return subprocess.run(
        [*prefix, "sh", str(changed), "sh", "-c", command],
        env=os.environ | {"TMPDIR": "/where/it/was"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    return folder


def test_a_command_that_ends_well_leaves_nothing(place: Path) -> None:
    done = run(place, 0, 'touch "$TMPDIR/made" && echo "$TMPDIR"')
    assert done.returncode == 0 and done.stdout.startswith(f"{place}/edgekit."), done.stderr
    assert list(place.iterdir()) == []


def test_of_one_that_fails_the_code_and_the_files_stay(place: Path) -> None:
    assert run(place, 0, 'touch "$TMPDIR/made"; exit 3').returncode == 3
    (left,) = place.iterdir()
    assert [path.name for path in left.iterdir()] == ["made"]


def test_without_room_they_are_where_they_were(place: Path) -> None:
    for done in (run(place, 1_000_000, 'echo "$TMPDIR"'), run(place / "no", 1, 'echo "$TMPDIR"')):
        assert (done.returncode, done.stdout, done.stderr) == (0, "/where/it/was\n", "")


def test_where_no_program_may_run_they_are_not(tmp_path: Path) -> None:
    place = tmp_path / "memory"
    done = run(place, 0, 'echo "$TMPDIR"', *on_its_own_disk(place, "noexec"))
    assert (done.returncode, done.stdout) == (0, "/where/it/was\n"), done.stderr
