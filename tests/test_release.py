"""The release: what the wheel and the sdist hold, and the wheel at work far from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgekit import __version__

ROOT = Path(__file__).parent.parent
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SHIPPED = (
    "edgekit/py.typed",
    "edgekit/report/templates/report.html",
    "edgekit/devices/emulator/plugin.c",
    "edgekit/zoo/systems.toml",
    "edgekit/zoo/weights/multitask-cnn.classification.safetensors",
    "edgekit/zoo/weights/multitask-cnn.classification.md",
    "edgekit/_shelf/targets/rpi4.toml",
    "edgekit/_shelf/targets/systems/trixie.toml",
    "edgekit/_shelf/targets/locks/bookworm.json",
    "edgekit/_shelf/calibration/default.toml",
    "edgekit/_shelf/benchmarks/training/utkface-split.json",
    "edgekit/_shelf/benchmarks/training/multitask-cnn.classification/training.json",
    "edgekit/_shelf/benchmarks/records/accuracy/multitask-cnn.classification/onnx-int8.local.json",
    "edgekit/_shelf/benchmarks/evidence/analytic.json",
    "edgekit/_shelf/benchmarks/evidence/executed/rpi4.json",
    "edgekit/_shelf/benchmarks/evidence/executed/shipped.json",
)


def run(*command: object, cwd: Path) -> str:
    # What is installed there is tried, not the checkout that this run may have been pointed to.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=clean, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist it was built from, as `python -m build` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    # No isolation: the build backend is installed here, and a test fetches nothing.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ".", cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the heavy packages are this one's, the checkout is not.

    A .pth file adds this environment's packages, but the .pth files there, the editable install
    among them, are not read.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).strip()
    Path(site, "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_the_data_and_neither_images_nor_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not set(SHIPPED) - set(names)
    targets = {path.name for path in (ROOT / "targets").glob("*.toml")}
    assert {Path(n).name for n in names if n.startswith("edgekit/_shelf/targets/")} >= targets
    assert not [name for name in names if name.lower().endswith(PICTURES)]
    tops = {name.split("/")[0] for name in names}
    assert tops == {"edgekit", f"edgekit_deploy-{__version__}.dist-info"}
    assert not [name for name in names if "test" in Path(name).stem.split("_")]


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    ours = {path for path in (ROOT / "edgekit").rglob("*") if path.is_file()}
    wanted = {str(path.relative_to(ROOT)) for path in ours if path.suffix != ".pyc"}
    assert not wanted - set(zipfile.ZipFile(wheel).namelist())


def test_the_sdist_can_build_and_test_itself(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "LICENSE", "Makefile", "tests/conftest.py", "targets/rpi4.toml"}
    assert not wanted - inside
    assert not {name.split("/")[0] for name in inside} & {".venv", "dist", "demo-out"}


def test_version_and_changelog_agree_with_the_wheel(wheel: Path) -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__, "the newest version stands first"
    assert wheel.name.startswith(f"edgekit_deploy-{__version__}-")


def test_the_wheel_alone_is_what_runs(elsewhere: Path) -> None:
    code = "import edgekit; print(edgekit.__file__, len(edgekit.load_target('rpi4').title))"
    where, _ = run(elsewhere / "venv" / "bin" / "python", "-c", code, cwd=elsewhere).split()
    assert Path(where).is_relative_to(elsewhere)
    lines = run(elsewhere / "venv" / "bin" / "edgekit", "--version", cwd=elsewhere).splitlines()
    assert lines[0] == f"edgekit {__version__}"


@pytest.mark.slow
def test_the_wheel_converts_its_own_weights_and_answers(elsewhere: Path, pictures: Path) -> None:
    """The demo's way on one backend; the whole demo takes minutes and was run by hand."""
    edgekit = elsewhere / "venv" / "bin" / "edgekit"
    run(
        edgekit, "convert", "multitask-cnn", "--backend", "onnx", "--calibration", pictures, "-o",
        "out", cwd=elsewhere,
    )  # fmt: skip
    picture = min(pictures.iterdir())
    ask = ("predict", picture, "--whole", "-a", "out/onnx-int8", "--json")
    shown = run(edgekit, *ask, cwd=elsewhere)
    assert json.loads(shown)["rows"][0]["gender"] in {"male", "female"}
    run(
        edgekit, "bench", "out", "--images", pictures, "--min-seconds", "0.05", "--percentile",
        "p50", cwd=elsewhere,
    )  # fmt: skip
    assert "report/report.md" in run(edgekit, "report", "-o", "report", cwd=elsewhere)
    assert "onnx-int8" in (elsewhere / "report" / "report.md").read_text()
