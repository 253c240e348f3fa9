"""The Python of a version: the board's own where it has what is locked, else one made for it."""

from __future__ import annotations

import ensurepip
import hashlib
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgekit.onboard.receiver import Refused
from edgekit.onboard.receiver.environment import prepare

LOCK = "requirements/here.txt"


def tiny_wheel(folder: Path) -> str:
    """Write a wheel of one module and return its line of a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tinything-1.0-py3-none-any.whl"
    about = "tinything-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinything.py", "ANSWER = 42\n")
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return f"tinything==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def unpacked(tmp_path: Path, lock: str, **platform_: str) -> tuple[dict[str, Any], Path]:
    """Return the index and folder of a version with a lock for this machine."""
    version = tmp_path / "app" / "aside"
    (version / "requirements").mkdir(parents=True)
    (version / LOCK).write_text(lock)
    here = {
        "machine": platform.machine(),
        "python": "{}.{}".format(*sys.version_info[:2]),
        "glibc": "2.17",
        "requirements": LOCK,
    }
    index = {"files": [{"name": LOCK}], "platforms": [here | platform_]}
    return index, version


def test_a_python_that_has_what_is_locked_is_taken(tmp_path: Path) -> None:
    lock = f"numpy=={metadata.version('numpy')} --hash=sha256:{'0' * 64}\n"
    index, version = unpacked(tmp_path, lock)
    assert prepare(sys.executable, index, version, tmp_path / "environments") == sys.executable
    assert not (tmp_path / "environments").exists()
    (version / "runner.py").write_text("import sys; print(sys.executable, *sys.argv[1:])")
    said = subprocess.check_output([version / "run", "a b"], text=True, cwd="/")
    assert said == f"{sys.executable} a b\n"


@pytest.mark.parametrize(
    "other", [{"machine": "riscv64"}, {"python": "2.7"}, {"glibc": "99.1"}, {"requirements": "x"}]
)
def test_a_lock_for_another_board_is_passed_over(tmp_path: Path, other: dict[str, str]) -> None:
    index, version = unpacked(tmp_path, "nothing-like-it==1.0 --hash=sha256:00\n", **other)
    assert prepare(sys.executable, index, version, tmp_path / "environments") == sys.executable


def test_what_is_missing_is_installed_from_the_wheelhouse_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, version = unpacked(tmp_path, "")
    (version / LOCK).write_text(tiny_wheel(version / "wheelhouse"))
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    shutil.copy(next(bundled.glob("pip-*.whl")), version / "wheelhouse")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # nobody there
    environments = tmp_path / "environments"
    python = prepare(sys.executable, index, version, environments)
    code = "import sys, tinything; print(tinything.ANSWER, sys.prefix)"
    said = subprocess.check_output([python, "-c", code], text=True).split()
    assert said == ["42", str(Path(python).parent.parent)]
    assert Path(python).is_relative_to(environments)
    before = Path(python).parent.parent.stat().st_mtime_ns
    assert prepare(sys.executable, index, version, environments) == python
    assert Path(python).parent.parent.stat().st_mtime_ns == before, "made once"
    (version / LOCK).write_text(f"tinything==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Refused, match="cannot be installed"):
        prepare(sys.executable, index, version, environments)
    left = {path.name for path in environments.iterdir()}
    assert left == {"lock", Path(python).parent.parent.name}


def test_a_python_that_is_none_is_one_line(tmp_path: Path) -> None:
    index, version = unpacked(tmp_path, "")
    with pytest.raises(Refused, match=r"has no .*missing: give --python"):
        prepare(str(tmp_path / "missing"), index, version, tmp_path / "environments")
    with pytest.raises(Refused, match="does not work here"):
        prepare(str(shutil.which("true")), index, version, tmp_path / "environments")
